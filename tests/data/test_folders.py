"""The MVTec AD layout: what is written comes back, and every broken layout is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from otad.data import Dataset, solar, textures
from otad.data.folders import categories, load, read_image, write

SIZE = (48, 65)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, Dataset]:
    root = tmp_path_factory.mktemp("sets")
    data = textures.load("tile", SIZE, n_train=2, n_good=2, n_per_defect=2, defects=("hole", "cut"), seed=0)
    write(data, root, "tile")
    return root, data


@pytest.fixture
def root(written, tmp_path) -> Path:
    """A copy that a test may break."""
    shutil.copytree(written[0], tmp_path / "sets")
    return tmp_path / "sets"


def test_round_trip(written):
    root, data = written
    back = load(root, "tile")
    order = [0, 1, 4, 5, 2, 3]  # types are read by name: cut before hole
    assert back.kinds == ["good", "good", "cut", "cut", "hole", "hole"]
    assert torch.equal(back.labels, data.labels[order])
    assert torch.equal(back.masks, data.masks[order])
    assert (back.test - data.test[order]).abs().max() <= 0.5 / 255 + 1e-6
    assert (back.train - data.train).abs().max() <= 0.5 / 255 + 1e-6
    assert back.name == "tile"
    assert "user-supplied" in back.licence


def test_resizing_brings_images_and_masks_to_one_size(written):
    root, data = written
    small = load(root, "tile", (24, 40))
    assert small.test.shape == (6, 3, 24, 40)
    assert small.masks.shape == (6, 24, 40)
    area = data.masks[[0, 1, 4, 5, 2, 3]].float().mean((1, 2))
    assert (small.masks.float().mean((1, 2)) - area).abs().max() < 0.01
    assert (small.test.mean((2, 3)) - load(root, "tile").test.mean((2, 3))).abs().max() < 0.01


def test_a_mask_pixel_stays_where_it_is(root):
    path = root / "tile" / "ground_truth" / "cut" / "004_mask.png"
    quarter = np.zeros(SIZE, np.uint8)
    quarter[:24, 33:] = 255
    Image.fromarray(quarter).save(path)
    mask = load(root, "tile", (24, 40)).masks[2]
    assert mask[:12, 21:].all()
    assert not mask[12:].any()
    assert not mask[:, :20].any()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "I;16", "1"])
def test_kinds_of_png(root, mode):
    path = root / "tile" / "train" / "good" / "000.png"
    values = np.tile(np.linspace(0, 255, SIZE[1]).round(), (SIZE[0], 1)).astype(np.uint8)
    if mode == "I;16":
        Image.fromarray(values.astype(np.uint16) * 257).save(path)
    else:
        picture = Image.fromarray(values).convert("RGB" if mode in ("RGBA", "P") else "L")
        picture.convert(mode, palette=Image.Palette.ADAPTIVE).save(path)
    image = load(root, "tile").train[0]
    assert torch.equal(image[0], image[1])
    expected = torch.from_numpy(values).float() / 255
    if mode == "1":
        assert set(image.unique().tolist()) == {0.0, 1.0}
    else:
        assert (image[2] - expected).abs().max() < (0.03 if mode == "P" else 1e-6)


def test_colour_order_and_alpha(root):
    path = root / "tile" / "train" / "good" / "000.png"
    pixels = np.zeros((*SIZE, 4), np.uint8)
    pixels[..., 0], pixels[..., 2], pixels[..., 3] = 255, 51, 10
    Image.fromarray(pixels).save(path)
    image = load(root, "tile").train[0]
    assert image[:, 3, 5].tolist() == pytest.approx([1.0, 0.0, 0.2])


def test_masks_of_zero_and_one_and_sixteen_bits(root):
    truth = root / "tile" / "ground_truth" / "cut"
    before = load(root, "tile").masks
    for name, top, kind in (("004_mask.png", 1, np.uint8), ("005_mask.png", 65535, np.uint16)):
        values = np.asarray(Image.open(truth / name)) > 0
        Image.fromarray(values.astype(kind) * kind(top)).save(truth / name)
    assert torch.equal(load(root, "tile").masks, before)


def test_other_files_are_ignored(root):
    (root / "license.txt").write_text("terms")
    (root / "tile" / "train" / "good" / "notes.txt").write_text("a note")
    (root / "tile" / "train" / "good" / "._000.png").write_bytes(b"left by a file manager")
    assert len(load(root, "tile").train) == 2


def test_a_test_set_without_good_images_is_read(root):
    shutil.rmtree(root / "tile" / "test" / "good")
    assert load(root, "tile").labels.all()


def test_categories(root):
    assert categories(root) == ["tile"]


# Broken layouts -------------------------------------------------------------------------------------------


def _remove(*parts):
    def change(folder: Path) -> None:
        path = folder.joinpath(*parts)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def _empty(*parts):
    def change(folder: Path) -> None:
        for path in folder.joinpath(*parts).iterdir():
            path.unlink()

    return change


def _paint(parts, values):
    def change(folder: Path) -> None:
        Image.fromarray(values).save(folder.joinpath(*parts))

    return change


def _bytes(parts, keep):
    def change(folder: Path) -> None:
        path = folder.joinpath(*parts)
        path.write_bytes(path.read_bytes()[:keep])

    return change


def _loco(folder: Path) -> None:
    (folder / "ground_truth" / "cut" / "004").mkdir()


def _only_files_in_test(folder: Path) -> None:
    shutil.rmtree(folder / "test")
    (folder / "test").mkdir()


GREY = np.full(SIZE, 100, np.uint8)
MASK = ("ground_truth", "cut", "004_mask.png")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_remove("train"), "has no category"),
        (_remove("train", "good"), r"train/good is missing"),
        (_empty("train", "good"), r"train/good has no images"),
        (_remove("test"), r"tile/test is missing"),
        (_only_files_in_test, r"tile/test has no folders"),
        (_empty("test", "cut"), r"test/cut has no images"),
        (_remove("ground_truth"), r"ground_truth/cut is missing"),
        (_remove("ground_truth", "hole"), r"ground_truth/hole is missing"),
        (_remove(*MASK), r"004_mask\.png is missing, the mask of .*test/cut/004\.png"),
        (_remove("test", "cut", "004.png"), r"004_mask\.png belongs to no test image"),
        (_loco, r"MVTec LOCO"),
        (
            _paint(MASK, np.zeros((SIZE[1], SIZE[0]), np.uint8)),
            r"004_mask\.png is \(65, 48\), its image is \(48, 65\)",
        ),
        (_paint(MASK, GREY), r"004_mask\.png has 1 levels"),
        (_paint(MASK, np.arange(48 * 65, dtype=np.int64).reshape(SIZE).astype(np.uint8)), r"has 256 levels"),
        (_paint(MASK, np.tile(np.array([255, 0, 0], np.uint8), (*SIZE, 1))), r"004_mask\.png is coloured"),
        (
            _paint(("train", "good", "001.png"), GREY[:-1]),
            r"001\.png is \(47, 65\), .*000\.png is \(48, 65\)",
        ),
        (_paint(("test", "cut", "005.png"), GREY[:, 1:]), r"005\.png is \(48, 64\), .*is \(48, 65\)"),
        (_bytes(("train", "good", "001.png"), 200), r"train/good/001\.png cannot be read"),
        (_bytes(("test", "good", "000.png"), 0), r"test/good/000\.png cannot be read"),
        (_bytes(MASK, 20), r"004_mask\.png cannot be read"),
    ],
)
def test_broken_layouts(root, change, message):
    change(root / "tile")
    with pytest.raises(ValueError, match=message):
        load(root, "tile")


def test_a_missing_root(tmp_path):
    with pytest.raises(ValueError, match="nowhere is no folder"):
        load(tmp_path / "nowhere", "tile")


def test_a_missing_category_lists_what_is_there(root):
    with pytest.raises(ValueError, match=r"velvet has no train folder; categories here: tile"):
        load(root, "velvet")


def test_mixed_sizes_can_be_resized(root):
    _paint(("train", "good", "001.png"), GREY[:-1])(root / "tile")
    assert load(root, "tile", 32).train.shape == (2, 3, 32, 32)


def test_the_writer_needs_masks(tmp_path):
    with pytest.raises(ValueError, match="image labels only"):
        write(solar.load("mono", 32, 1, 1, 1), tmp_path, "mono")


def test_one_image_is_read_alone_and_a_missing_one_named(tmp_path):
    grey = np.arange(13 * 17, dtype=np.uint8).reshape(13, 17)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    image = read_image(tmp_path / "grey.png")
    assert image.shape == (3, 13, 17)
    assert torch.equal(image[0], image[2])
    assert torch.allclose(image[0] * 255, torch.from_numpy(grey).float())
    with pytest.raises(ValueError, match="nothing.png"):
        read_image(tmp_path / "nothing.png")
