"""Photographs: train and test never share a pixel of the source picture."""

import pytest
import torch

from otad.data.packaged.photographs import NAMES, SIDE, corners, load, picture


@pytest.mark.parametrize("name", NAMES)
def test_the_source_pictures(name):
    source = picture(name)
    assert source.shape == (SIDE, SIDE)
    assert source.dtype == torch.float32
    assert source.min() >= 0
    assert source.max() <= 1
    assert source.std() > 0.05


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [(96, 130), (256, 200), 256])
def test_train_and_test_crops_share_no_pixel(seed, size):
    height, width = size if isinstance(size, tuple) else (size, size)
    counts = torch.zeros(2, SIDE, SIDE)
    for split, drawn in enumerate(corners("gravel", size, 30, 30, seed)):
        assert len(drawn) == 30
        for y, x in drawn:
            assert 0 <= y <= SIDE - height
            assert 0 <= x <= SIDE - width
            counts[split, y : y + height, x : x + width] += 1
    assert not ((counts[0] > 0) & (counts[1] > 0)).any()


def test_which_half_is_for_testing_depends_on_the_seed():
    sides = set()
    for seed in range(12):
        train, test = (torch.tensor(drawn).float().mean(0) for drawn in corners("brick", 128, 40, 40, seed))
        sides.add(tuple((train > test + 150).tolist() + (test > train + 150).tolist()))
    assert len(sides) == 4


def test_images_are_the_crops_and_defects_are_grey():
    data = load("grass", (96, 130), n_train=3, n_good=2, n_per_defect=1, seed=5)
    train_corners, test_corners = corners("grass", (96, 130), 3, 8, 5)
    for image, (y, x) in zip(data.train, train_corners, strict=True):
        assert torch.equal(image, picture("grass")[y : y + 96, x : x + 130].expand(3, -1, -1))
    assert data.masks is not None
    for image, mask, (y, x) in zip(data.test, data.masks, test_corners, strict=True):
        source = picture("grass")[y : y + 96, x : x + 130].expand(3, -1, -1)
        assert torch.equal(image[:, ~mask], source[:, ~mask])
        if mask.any():
            assert (image != source).any(0)[mask].float().mean() > 0.9
    assert (data.test[:, 0] - data.test[:, 1]).abs().max() < 1e-6
    assert data.kinds[:3] == ["good", "good", "cut"]


def test_a_data_set_is_a_function_of_its_seed():
    first, again, other = (load("brick", 64, 2, 1, 1, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.test, again.test)
    assert torch.equal(first.train, again.train)
    assert not torch.equal(first.train, other.train)


def test_the_cached_picture_is_not_handed_out():
    before = picture("brick").clone()
    load("brick", 64, 1, 1, 0).test.zero_()
    assert torch.equal(picture("brick"), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "sand"}, "unknown photograph 'sand'; choose from brick"),
        ({"name": "brick", "size": 257, "seed": 0}, "does not fit into half a picture"),
        ({"name": "brick", "n_train": 0}, "empty"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(**arguments)
