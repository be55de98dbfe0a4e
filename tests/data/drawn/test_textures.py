"""Procedural textures: any size, seeded, every image different, and stable in what a seed gives."""

import pytest
import torch

from otad.data.drawn import textures
from otad.data.drawn.defects import KINDS
from otad.data.drawn.textures import NAMES, load, render


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(96, 130), (131, 97), 64, (16, 33)])
def test_any_size(name, size):
    image = render(name, size, 0)
    assert image.shape == (3, *(size if isinstance(size, tuple) else (size, size)))
    assert image.dtype == torch.float32
    assert torch.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_seeds_decide_and_differ(name):
    first, again, other = (render(name, (96, 130), seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    difference = (first - other).abs().mean()
    assert difference > 0.02  # more than noise: phase and structure moved
    # Yet the same material: the colour distribution hardly moves.
    assert (first.mean((1, 2)) - other.mean((1, 2))).abs().max() < 0.12


@pytest.mark.parametrize("name", NAMES)
def test_textures_are_neither_flat_nor_saturated(name):
    image = render(name, 128, 4)
    assert image.mean(0).std() > 0.03
    assert ((image <= 0) | (image >= 1)).float().mean() < 0.02


def test_the_five_materials_differ():
    means = torch.stack([render(name, 128, 0).mean((1, 2)) for name in NAMES])
    assert torch.pdist(means).min() > 0.03


def test_a_larger_image_shows_the_same_piece_in_finer_detail():
    """The wire mesh has as many periods at 128 as at 256 pixels: the spectrum peaks at the same cycle count."""

    def cycles(size: int) -> int:
        grey = render("grid", size, 0).mean(0)
        spectrum = torch.fft.fft2(grey - grey.mean()).abs()[: size // 4, : size // 4]
        spectrum[:2, :2] = 0
        return int(spectrum.sum(0).argmax())

    assert abs(cycles(128) - cycles(256)) <= 1


def test_the_split_is_as_asked():
    data = load("wood", (96, 130), n_train=3, n_good=2, n_per_defect=2, defects=("cut", "blur"), seed=1)
    assert data.train.shape == (3, 3, 96, 130)
    assert data.test.shape == (6, 3, 96, 130)
    assert data.masks is not None
    assert data.kinds == ["good", "good", "cut", "cut", "blur", "blur"]
    assert data.labels.tolist() == [False, False, True, True, True, True]
    assert data.masks.flatten(1).any(1).tolist() == data.labels.tolist()
    assert data.licence == textures.LICENCE
    images = torch.cat([data.train, data.test]).flatten(1)
    assert len(torch.unique(images, dim=0)) == 9


def test_a_data_set_is_a_function_of_its_seed():
    first, again, other = (load("carpet", 48, 1, 1, 1, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.test, again.test)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.test, other.test)
    assert len(first.test) == 1 + len(KINDS)


def test_defects_of_two_textures_are_at_different_places():
    first, second = (load(name, 48, 1, 0, 1, seed=0) for name in ("carpet", "tile"))
    assert not torch.equal(first.masks, second.masks)


def test_more_images_do_not_change_the_first():
    few, many = load("grid", 48, 1, 1, 1, ("cut",)), load("grid", 48, 3, 1, 1, ("cut",))
    assert torch.equal(few.train[0], many.train[0])
    assert torch.equal(few.test, many.test)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "velvet"}, "unknown texture 'velvet'; choose from carpet"),
        ({"name": "wood", "size": 8}, "too small"),
        ({"name": "wood", "n_train": 0}, "empty"),
        ({"name": "wood", "n_good": 0, "n_per_defect": 0}, "empty"),
        (
            {"name": "wood", "size": 32, "n_train": 1, "n_good": 0, "defects": ("rust",)},
            "unknown defect 'rust'",
        ),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(**arguments)
