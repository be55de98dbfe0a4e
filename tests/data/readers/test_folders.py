"""The MVTec AD layout: what is written comes back, and every broken layout is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from otad.data import Dataset
from otad.data.drawn import textures
from otad.data.packaged import solar
from otad.data.readers import files
from otad.data.readers.folders import categories, load, read_image, write
from otad.metrics import image_auroc, pixel_auroc

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


def test_only_some_normal_images_are_read_where_asked(written):
    root, data = written
    one = load(root, "tile", n_train=1)
    assert torch.equal(one.train, load(root, "tile").train[:1])
    assert len(one.test) == len(data.test)
    assert len(load(root, "tile", n_train=9).train) == 2
    with pytest.raises(ValueError, match="n_train is 0: expected 1 or more normal images"):
        load(root, "tile", n_train=0)


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


LEFT = ("._000.png", ".DS_Store", "Thumbs.db", ".ipynb_checkpoints/000-checkpoint.png", "__MACOSX/._000.png")


@pytest.mark.parametrize(
    "folder", ["", "tile", "tile/train", "tile/test", "tile/test/cut", "tile/ground_truth"]
)
def test_what_programs_leave_behind_is_not_read(root, written, folder):
    for name in LEFT:
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left by a program")
    (root / "__MACOSX" / "train").mkdir(parents=True, exist_ok=True)
    assert categories(root) == ["tile"]
    assert torch.equal(load(root, "tile").masks, load(written[0], "tile").masks)


def test_the_tilde_is_the_home_folder(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert categories("~/sets") == ["tile"]
    assert len(load("~/sets", "tile").train) == 2


def test_masks_without_mask_in_their_name_and_with_another_suffix(root, written):
    truth = root / "tile" / "ground_truth"
    (truth / "cut" / "004_mask.png").rename(truth / "cut" / "004.PNG")
    with Image.open(truth / "hole" / "002_mask.png") as picture:
        picture.save(truth / "hole" / "002_mask.bmp")
    (truth / "hole" / "002_mask.png").unlink()
    assert torch.equal(load(root, "tile").masks, load(written[0], "tile").masks)
    (truth / "cut" / "009.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"cut/009\.png belongs to no test image"):
        load(root, "tile")


def test_black_masks_of_good_images_are_read_and_others_refused(root):
    path = root / "tile" / "ground_truth" / "good" / "000_mask.png"
    path.parent.mkdir()
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(path)
    assert not load(root, "tile").masks[0].any()
    Image.fromarray(np.eye(*SIZE, dtype=np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"good test images \[0\] have a mask"):
        load(root, "tile")


def test_without_any_mask_there_are_image_labels_only(root):
    shutil.rmtree(root / "tile" / "ground_truth")
    data = load(root, "tile", (24, 40))
    assert data.masks is None
    assert data.labels.tolist() == [False, False, True, True, True, True]
    scores = torch.arange(6.0)
    assert image_auroc(scores, data.labels) == 1
    with pytest.raises(ValueError, match=r"masks is None.*image labels only.*image_auroc"):
        pixel_auroc(torch.rand(6, 24, 40), data.masks)
    (root / "tile" / "ground_truth" / "cut").mkdir(parents=True)
    assert load(root, "tile").masks is None  # an empty folder holds no mask either


def test_what_has_no_masks_is_written_without(tmp_path):
    data = solar.load("mono", 32, 1, 1, 1)
    write(data, tmp_path, "mono")
    back = load(tmp_path, "mono")
    assert back.masks is None
    assert torch.equal(back.labels, data.labels)
    assert not (tmp_path / "mono" / "ground_truth").exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\0b", "x" * 300])
def test_what_is_written_has_a_name_that_a_folder_can_have(written, tmp_path, name):
    with pytest.raises(ValueError, match="is no name of a file or folder"):
        write(written[1], tmp_path, name)
    assert not list(tmp_path.iterdir())


def test_an_empty_mask_is_a_defect_lost(root):
    path = root / "tile" / "ground_truth" / "cut" / "004_mask.png"
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(path)
    with pytest.raises(
        ValueError, match=r"cut/004_mask\.png marks nothing, and its image is called defective"
    ):
        load(root, "tile")
    data = load(root, "tile", empty_masks=True)
    assert data.labels[2]
    assert not data.masks[2].any()


def test_inverted_masks_are_told(root):
    truth = root / "tile" / "ground_truth"
    for path in (truth / "cut" / "004_mask.png", truth / "hole" / "003_mask.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    with pytest.warns(
        UserWarning, match=r"004_mask\.png \(99%\), .*003_mask\.png \(\d+%\); if they are inverted"
    ):
        assert load(root, "tile").masks[2].float().mean() > 0.9


def test_no_defect_vanishes_by_resizing(root):
    values = np.zeros(SIZE, np.uint8)
    values[0, 0] = 255
    Image.fromarray(values).save(root / "tile" / "ground_truth" / "cut" / "004_mask.png")
    assert load(root, "tile", 16).masks[2].nonzero().tolist() == [[0, 0]]


def test_a_phones_picture_agrees_with_a_mask_that_was_drawn_upright(root):
    exif = Image.Exif()
    exif[274] = 6
    path = root / "tile" / "test" / "cut" / "004.png"
    with Image.open(path) as picture:
        seen = picture.convert("RGB")
    seen.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    data = load(root, "tile")
    assert (data.test[2].permute(1, 2, 0) * 255 - torch.from_numpy(np.array(seen))).abs().max() < 1e-3
    lying = np.zeros(SIZE[::-1], np.uint8)
    lying[3, 4] = 255
    Image.fromarray(lying).save(root / "tile" / "ground_truth" / "cut" / "004_mask.png")
    with pytest.raises(
        ValueError, match=r"is \(65, 48\), its image is \(48, 65\), when upright, as its EXIF"
    ):
        load(root, "tile")


def test_bits_and_pages_are_passed_on(root):
    for path in (root / "tile").glob("t*/*/*.png"):
        values = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 16
        pages = [Image.fromarray(values // 2), Image.fromarray(values)]
        pages[0].save(path.with_suffix(".tif"), save_all=True, append_images=pages[1:])
        path.unlink()
    with pytest.raises(ValueError, match=r"train/good/000\.tif holds 2 pages"):
        load(root, "tile")
    with pytest.raises(ValueError, match=r"pass bits=12"):
        load(root, "tile", page=1)
    assert load(root, "tile", page=1, bits=12).test.max() > 0.7


def test_large_scans_and_their_masks_stay_together(root, written, monkeypatch):
    monkeypatch.setattr(files, "LARGE", 1000)
    with pytest.warns(UserWarning, match="has 48 × 65 pixels and is read at 24 × 33"):
        data = load(root, "tile")
    assert data.test.shape[2:] == data.masks.shape[1:] == (24, 33)
    area = load(written[0], "tile", (24, 33)).masks
    assert torch.equal(data.masks, area)


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


def test_one_image_is_read_alone_and_a_missing_one_named(tmp_path):
    grey = np.arange(13 * 17, dtype=np.uint8).reshape(13, 17)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    image = read_image(tmp_path / "grey.png")
    assert image.shape == (3, 13, 17)
    assert torch.equal(image[0], image[2])
    assert torch.allclose(image[0] * 255, torch.from_numpy(grey).float())
    with pytest.raises(ValueError, match="nothing.png"):
        read_image(tmp_path / "nothing.png")
