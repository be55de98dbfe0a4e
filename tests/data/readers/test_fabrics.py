"""DTD-Synthetic, WFT and Aitex: tiny copies of the layouts come back, and what is missing is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from otad.data.readers.fabrics import CLASSES, SIDES, bare_columns, load

SIDE = 24  # of a strip of Aitex here; 256 there


def _save(values, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)


def _noise(height, width, seed) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 200, (height, width))


def _dot(height, width, y, x) -> np.ndarray:
    mask = np.zeros((height, width))
    mask[y : y + 6, x : x + 5] = 255
    return mask


# DTD-Synthetic and WFT ------------------------------------------------------------------------------------


@pytest.fixture
def dtd(tmp_path) -> Path:
    """One class; images of three sizes, colour and grey; masks without `_mask`, one of 0 and 1."""
    folder = tmp_path / "Woven_001"
    _save(np.dstack([_noise(20, 31, c) for c in range(3)]), folder / "train" / "good" / "003.png")
    _save(_noise(26, 26, 3), folder / "test" / "good" / "000.png")
    _save(_noise(40, 26, 4), folder / "test" / "bad" / "000.png")
    _save(_noise(26, 52, 5), folder / "test" / "bad" / "001.jpg")
    _save(_dot(40, 26, 2, 20), folder / "ground_truth" / "bad" / "000.png")
    _save(_dot(26, 52, 18, 1) / 255, folder / "ground_truth" / "bad" / "001.png")
    return tmp_path


def test_dtd_is_brought_to_one_size_and_masks_stay_in_place(dtd):
    data = load(dtd, "dtd_synthetic", "Woven_001", (32, 40))
    assert data.train.shape == (1, 3, 32, 40)
    assert data.test.shape == (3, 3, 32, 40)
    assert data.kinds == ["good", "bad", "bad"]
    assert data.labels.tolist() == [False, True, True]
    assert not data.masks[0].any()
    for mask, rows, columns in ((data.masks[1], (2, 6), (31, 38)), (data.masks[2], (22, 30), (1, 5))):
        where = mask.nonzero()
        assert (where[:, 0].min(), where[:, 0].max() + 1) == pytest.approx(rows, abs=1)
        assert (where[:, 1].min(), where[:, 1].max() + 1) == pytest.approx(columns, abs=1)
    assert (data.train[0, 0] != data.train[0, 2]).any()
    assert torch.equal(data.test[1, 0], data.test[1, 1])


def test_the_papers_sides_are_the_default(dtd):
    assert load(dtd, "dtd_synthetic", "Woven_001").test.shape[2:] == (320, 320)
    shutil.move(dtd / "Woven_001", dtd / "texture_2")
    assert load(dtd, "wft", "texture_2").test.shape[2:] == (512, 512)
    assert SIDES == {"dtd_synthetic": 320, "wft": 512, "aitex": 320}


def test_masks_may_carry_mask_in_their_name(dtd):
    before = load(dtd, "dtd_synthetic", "Woven_001", 30).masks
    truth = dtd / "Woven_001" / "ground_truth" / "bad"
    (truth / "000.png").rename(truth / "000_mask.png")
    assert torch.equal(load(dtd, "dtd_synthetic", "Woven_001", 30).masks, before)


def test_a_class_without_good_test_images_is_read(dtd):
    shutil.rmtree(dtd / "Woven_001" / "test" / "good")
    assert load(dtd, "dtd_synthetic", "Woven_001", 30).labels.all()


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("Woven_001", r"Woven_001/train/good is missing"),
        ("Woven_001/train/good/003.png", r"train/good has no images"),
        ("Woven_001/test", r"Woven_001/test is missing"),
        ("Woven_001/test/good/000.png", r"test/good has no images"),
        ("Woven_001/ground_truth", r"ground_truth/bad is missing"),
        (
            "Woven_001/ground_truth/bad/001.png",
            r"bad/001_mask\.png is missing, the mask of .*, and so is 001\.png",
        ),
    ],
)
def test_what_dtd_lacks_is_named(dtd, gone, message):
    path = dtd / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ValueError, match=message):
        load(dtd, "dtd_synthetic", "Woven_001", 30)


def test_an_empty_test_folder_is_named(dtd):
    shutil.rmtree(dtd / "Woven_001" / "test")
    (dtd / "Woven_001" / "test").mkdir()
    with pytest.raises(ValueError, match=r"test/good is missing"):
        load(dtd, "dtd_synthetic", "Woven_001", 30)


def test_masks_and_images_must_agree_in_size(dtd):
    _save(_dot(26, 40, 2, 2), dtd / "Woven_001" / "ground_truth" / "bad" / "000.png")
    with pytest.raises(ValueError, match=r"000\.png is \(26, 40\), its image is \(40, 26\)"):
        load(dtd, "dtd_synthetic", "Woven_001", 30)


def test_leftovers_and_empty_and_inverted_masks(dtd):
    for place in ("", "Woven_001/test", "Woven_001/test/bad", "Woven_001/ground_truth/bad"):
        for name in (".ipynb_checkpoints/000.png", "__MACOSX/000.png", "._000.png"):
            path = dtd / place / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"left by a program")
    assert load(dtd, "dtd_synthetic", "Woven_001", 30).kinds == ["good", "bad", "bad"]
    truth = dtd / "Woven_001" / "ground_truth" / "bad" / "000.png"
    _save(255 - _dot(40, 26, 2, 20), truth)
    with pytest.warns(UserWarning, match=r"bad/000\.png \(97%\); if they are inverted"):
        load(dtd, "dtd_synthetic", "Woven_001", 30)
    _save(np.zeros((40, 26)), truth)
    with pytest.raises(ValueError, match=r"bad/000\.png marks nothing"):
        load(dtd, "dtd_synthetic", "Woven_001", 30)


# Aitex ----------------------------------------------------------------------------------------------------

# Squares of the strip: 0 half table, 1 intact, 2 and 4 with a defect, 3 with a defect of the second mask, and a rest.
WIDTH = 5 * SIDE + 7


@pytest.fixture
def aitex(tmp_path) -> Path:
    strip = _noise(SIDE, WIDTH, 0)
    strip[:, : SIDE - 5] = 30
    first = _dot(SIDE, WIDTH, 4, SIDE - 3) + _dot(SIDE, WIDTH, 9, 2 * SIDE + 10)
    first += _dot(SIDE, WIDTH, 1, 4 * SIDE + 2) + _dot(SIDE, WIDTH, 3, 5 * SIDE + 1)
    first[:, SIDE : 2 * SIDE] = 0
    _save(strip, tmp_path / "Defect_images" / "0044_019_04.png")
    _save(first, tmp_path / "Mask_images" / "0044_019_04_mask1.png")
    _save(_dot(SIDE, WIDTH, 7, 3 * SIDE), tmp_path / "Mask_images" / "0044_019_04_mask2.png")
    _save(_noise(SIDE, 3 * SIDE, 1), tmp_path / "Defect_images" / "0050_006_04.png")
    _save(_dot(SIDE, 3 * SIDE, 2, 3), tmp_path / "Mask_images" / "0050_006_04_mask.png")
    _save(_noise(SIDE, SIDE, 2), tmp_path / "Defect_images" / "0002_002_00.png")
    _save(_noise(SIDE, WIDTH, 3), tmp_path / "NODefect_images" / "2311694-2040n7u" / "0117_000_04.png")
    return tmp_path


def test_strips_are_cut_and_only_covered_squares_with_a_defect_are_kept(aitex):
    data = load(aitex, "aitex", "t_04", SIDE)
    assert data.kinds == ["019", "019", "019", "006"]
    assert data.labels.all()
    strip = np.asarray(Image.open(aitex / "Defect_images" / "0044_019_04.png"))
    for image, number in zip(data.test, (2, 3, 4), strict=False):
        square = torch.from_numpy(strip[:, number * SIDE : (number + 1) * SIDE].astype(np.float32) / 255)
        assert torch.allclose(image[1], square)
    corners = [tuple(mask.nonzero().min(dim=0).values.tolist()) for mask in data.masks]
    assert corners == [(9, 10), (7, 0), (1, 2), (2, 3)]
    assert data.train.shape == (5, 3, SIDE, SIDE)


def test_squares_are_resized(aitex):
    data = load(aitex, "aitex", "t_04", 60)
    assert data.test.shape == (4, 3, 60, 60)
    area = load(aitex, "aitex", "t_04", SIDE).masks.float().mean((1, 2))
    assert (data.masks.float().mean((1, 2)) - area).abs().max() < 0.02
    assert load(aitex, "aitex", "t_04").test.shape[2:] == (320, 320)


def test_masks_are_cut_at_half_their_maximum(aitex):
    mask = _dot(SIDE, 3 * SIDE, 2, 3)
    mask[10:, :] = 90  # as an image editor may leave it
    _save(mask, aitex / "Mask_images" / "0050_006_04_mask.png")
    assert load(aitex, "aitex", "t_04", SIDE).masks[3].sum() == 30


@pytest.mark.parametrize(
    ("gone", "category", "message"),
    [
        ("Defect_images", "t_04", r"Defect_images is missing"),
        ("Mask_images", "t_04", r"Mask_images is missing"),
        ("NODefect_images", "t_04", r"NODefect_images is missing"),
        ("Mask_images/0050_006_04_mask.png", "t_04", r"0050_006_04_mask\.png is missing"),
        ("NODefect_images/2311694-2040n7u/0117_000_04.png", "t_04", r"NODefect_images/\*_04\.png is missing"),
        (None, "t_00", r"0002_002_00_mask\.png is missing"),
        (None, "t_05", r"Defect_images/\*_05\.png is missing"),
        (None, "t_08", r"no class 't_08'; choose from t_00"),
    ],
)
def test_what_aitex_lacks_is_named(aitex, gone, category, message):
    if gone:
        path = aitex / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ValueError, match=message):
        load(aitex, "aitex", category, SIDE)


def test_a_fabric_without_a_visible_defect_is_refused(aitex):
    for name in ("0044_019_04_mask1", "0044_019_04_mask2", "0050_006_04_mask"):
        path = aitex / "Mask_images" / f"{name}.png"
        _save(np.zeros_like(np.asarray(Image.open(path))), path)
    with (
        pytest.warns(UserWarning, match="marks nothing: its strip is left out"),
        pytest.raises(ValueError, match="no square of fabric 04 with a defect"),
    ):
        load(aitex, "aitex", "t_04", SIDE)


def test_leftovers_beside_strips_are_not_read(aitex):
    for place in ("Defect_images", "NODefect_images/2311694-2040n7u"):
        for name in (".ipynb_checkpoints", "__MACOSX"):
            (aitex / place / name).mkdir()
            (aitex / place / name / "0001_000_04.png").write_bytes(b"left by a program")
    assert load(aitex, "aitex", "t_04", SIDE).kinds == ["019", "019", "019", "006"]


@pytest.mark.parametrize("level", [0, 30, 250])
@pytest.mark.parametrize("table", [slice(0, 37), slice(90, 127), slice(0, 0)])
def test_bare_columns_are_the_table(level, table):
    strip = torch.from_numpy(_noise(SIDE, 127, 5)) / 255
    strip[:, table] = level / 255
    strip[:, 60:64] = 0.5  # four flat columns are a fault in the fabric
    strip += 0.01 * torch.rand(strip.shape, generator=torch.Generator().manual_seed(0)).double()
    expected = torch.zeros(127, dtype=torch.bool)
    expected[table] = True
    wrong = (bare_columns(strip.float().expand(3, -1, -1)) != expected).nonzero().flatten()
    edges = torch.tensor([table.start, table.stop])
    assert all((index - edges).abs().min() <= 6 for index in wrong), wrong


def test_unknown_names_and_roots(tmp_path):
    with pytest.raises(ValueError, match="unknown data set 'dtd'; choose from dtd_synthetic, wft, aitex"):
        load(tmp_path, "dtd", "Woven_001")
    with pytest.raises(ValueError, match="nowhere is no folder"):
        load(tmp_path / "nowhere", "wft", "texture_1")
    assert [len(classes) for classes in CLASSES.values()] == [12, 2, 7]
