"""The MVTec LOCO layout: what is written comes back, saturation areas included; broken layouts are named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from otad.data import GOOD
from otad.data.annotations import AnnotatedDataset, Annotation, union
from otad.data.readers.loco import Rule, categories, load, read_rules, write
from otad.metrics import auspro, saturation_area

SIZE = (26, 34)
RULES = (
    Rule("missing_pin", 255, 20.0, False),
    Rule("swapped", 254, 0.5, True),
    Rule("scratch", 7, 1.0, True),
)


def _box(top: int, left: int, height: int, width: int) -> torch.Tensor:
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask


def _data() -> AnnotatedDataset:
    """Two good images, two logical (one with two overlapping defects), one structural."""
    marks = {
        "pin": Annotation(_box(2, 3, 10, 8), 20, "missing_pin"),
        "few": Annotation(_box(20, 20, 3, 4), 12, "missing_pin"),  # absolute, capped by its own area
        "swap": Annotation(_box(6, 6, 9, 15) | _box(20, 3, 5, 5), 80, "swapped"),
        "scratch": Annotation(_box(13, 2, 1, 17), 17, "scratch"),
    }
    defects = [[], [], [marks["pin"], marks["swap"]], [marks["few"]], [marks["scratch"]]]
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(10, 3, *SIZE, generator=generator)
    kinds = [GOOD, GOOD, "missing_pin + swapped", "missing_pin", "scratch"]
    groups = [GOOD, GOOD, "logical", "logical", "structural"]
    labels = torch.tensor([False, False, True, True, True])
    masks = union(defects, SIZE)
    return AnnotatedDataset(
        "pins", images[:3], images[3:8], masks, labels, kinds, "made here", defects, groups, images[8:]
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, AnnotatedDataset]:
    root, data = tmp_path_factory.mktemp("sets"), _data()
    write(data, root, "pins", RULES)
    return root, data


@pytest.fixture
def root(written, tmp_path) -> Path:
    """A copy that a test may break."""
    shutil.copytree(written[0], tmp_path / "sets")
    return tmp_path / "sets"


def test_round_trip(written):
    root, data = written
    back = load(root, "pins")
    assert back.kinds == data.kinds
    assert back.groups == data.groups
    assert torch.equal(back.labels, data.labels)
    assert torch.equal(back.masks, data.masks)
    for one, other in zip((data.train, data.validation, data.test), (back.train, back.validation, back.test), strict=True):  # fmt: skip
        assert (one - other).abs().max() <= 0.5 / 255 + 1e-6
    for ours, theirs in zip(data.defects, back.defects, strict=True):
        assert [(a.kind, a.saturation_area) for a in ours] == [(a.kind, a.saturation_area) for a in theirs]
        assert all(torch.equal(a.mask, b.mask) for a, b in zip(ours, theirs, strict=True))
    assert "user-supplied" in back.licence
    assert categories(root) == ["pins"]


def test_what_is_read_feeds_the_metric(written):
    back = load(written[0], "pins")
    assert auspro(back.masks.float(), back.defects) > 0.99
    assert back.part("logical") == [0, 1, 2, 3]
    assert back.part("structural") == [0, 1, 4]


@pytest.mark.parametrize("relative", [True, False])
def test_saturation_areas_agree_with_the_metric(relative):
    for threshold in (0.3, 0.5, 1.0) if relative else (1.0, 13.0, 400.0):
        for area in (5, 17, 230):
            rule = Rule("x", 1, threshold, relative)
            assert rule.area(area) == saturation_area(area, threshold, relative)
    assert Rule("x", 1, 0.1, True).area(3) == 1  # rounded down it would be nothing


@pytest.mark.parametrize("size", [(13, 17), (52, 68), 40])
def test_a_saturation_area_keeps_its_share_at_every_size(written, size):
    """An absolute threshold counts pixels of the original; resized, it must not."""
    root, data = written
    back = load(root, "pins", (20, 18) if size == 40 else (26, 17) if size == (13, 17) else size)
    assert back.test.shape[2:] == back.masks.shape[1:]
    for ours, theirs in zip(data.defects, back.defects, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            share = a.saturation_area / float(a.mask.sum())
            assert b.saturation_area / float(b.mask.sum()) == pytest.approx(share)
            assert float(a.mask.float().mean()) == pytest.approx(
                float(b.mask.float().mean()), rel=0.5, abs=0.02
            )


def test_a_defect_of_one_pixel_does_not_vanish(root):
    values = np.zeros(SIZE, np.uint8)
    values[24, 30] = 7
    Image.fromarray(values).save(root / "pins" / "ground_truth" / "structural_anomalies" / "004" / "000.png")
    mark = load(root, "pins", 16).defects[4][0]
    assert torch.nonzero(mark.mask).tolist() == [
        [15, 14]
    ]  # rows 24.4 to 26, columns 29.8 to 31.9 of the original
    assert mark.saturation_area == 1


def test_rules_are_read_as_written(root):
    path = root / "pins" / "defects_config.json"
    assert read_rules(path) == {rule.pixel_value: rule for rule in RULES}
    assert json.loads(path.read_text())[0] == {
        "defect_name": "missing_pin",
        "pixel_value": 255,
        "saturation_threshold": 20.0,
        "relative_saturation": False,
    }


def test_what_programs_leave_behind_is_not_read_and_the_tilde_is_home(root, written, monkeypatch):
    truth = "pins/ground_truth/logical_anomalies"
    for place in ("", "pins/train/good", "pins/test/logical_anomalies", truth, f"{truth}/002"):
        for name in (".ipynb_checkpoints/000.png", "__MACOSX/000.png", "._000.png", "Thumbs.db"):
            path = root / place / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"left by a program")
    monkeypatch.setenv("HOME", str(root.parent))
    assert categories("~/sets") == ["pins"]
    assert torch.equal(load("~/sets", "pins").masks, written[1].masks)
    assert read_rules("~/sets/pins/defects_config.json") == read_rules(root / "pins" / "defects_config.json")


def test_a_phones_picture_agrees_with_masks_that_were_drawn_upright(root, written):
    exif = Image.Exif()
    exif[274] = 6
    path = root / "pins" / "test" / "structural_anomalies" / "004.png"
    with Image.open(path) as picture:
        seen = picture.convert("RGB")
    seen.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    assert torch.equal(load(root, "pins").test[4], load(written[0], "pins").test[4])


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
    return lambda folder: Image.fromarray(values).save(folder.joinpath(*parts))


def _rules(**changes):
    def change(folder: Path) -> None:
        entries = [vars(rule) | changes for rule in RULES]
        (folder / "defects_config.json").write_text(json.dumps(entries))

    return change


def _text(parts, text):
    return lambda folder: folder.joinpath(*parts).write_text(text)


def _left_over(folder: Path) -> None:
    (folder / "ground_truth" / "logical_anomalies" / "099").mkdir()


MASK = ("ground_truth", "structural_anomalies", "004", "000.png")
CONFIG = ("defects_config.json",)
TWO = np.zeros(SIZE, np.uint8)
TWO[3, :5], TWO[5, :5] = 7, 254


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_remove("train"), "has no category"),
        (_remove("train", "good"), r"pins/train/good is missing"),
        (_empty("train", "good"), r"pins/train/good has no images"),
        (_remove("validation"), r"pins/validation/good is missing"),
        (_remove("test", "good"), r"pins/test/good is missing"),
        (_remove("test", "logical_anomalies"), r"test/logical_anomalies is missing"),
        (_empty("test", "structural_anomalies"), r"test/structural_anomalies has no images"),
        (_remove("ground_truth"), r"ground_truth/logical_anomalies/002 is missing, .*002\.png"),
        (_remove("ground_truth", "logical_anomalies", "003"), r"logical_anomalies/003 is missing"),
        (_empty("ground_truth", "structural_anomalies", "004"), r"structural_anomalies/004 has no images"),
        (_remove("test", "logical_anomalies", "003.png"), r"logical_anomalies/003 belongs to no test image"),
        (_left_over, r"logical_anomalies/099 belongs to no test image"),
        (_paint(MASK, np.zeros((9, 9), np.uint8)), r"004/000\.png is L \(9, 9\), its image is \(26, 34\)"),
        (_paint(MASK, np.zeros((*SIZE, 3), np.uint8)), r"004/000\.png is RGB"),
        (_paint(MASK, np.zeros(SIZE, np.uint8)), r"004/000\.png has the values \[\]"),
        (_paint(MASK, TWO), r"004/000\.png has the values \[7, 254\]"),
        (_paint(MASK, np.full(SIZE, 9, np.uint8)), r"the values \[9\] beside 0; expected exactly one of \[7, "),
        (_text(MASK, "no image"), r"004/000\.png cannot be read"),
        (_text(("test", "good", "000.png"), ""), r"test/good/000\.png cannot be read"),
        (_paint(("train", "good", "001.png"), TWO[1:]), r"train/good/001\.png is \(25, 34\)"),
        (_paint(("validation", "good", "000.png"), TWO[1:]), r"validation/good/000\.png is \(25, 34\)"),
        (_remove(*CONFIG), r"defects_config\.json is missing"),
        (_text(CONFIG, "{"), r"defects_config\.json is not a list of entries"),
        (_text(CONFIG, "[]"), r"defects_config\.json has 0 entries"),
        (_text(CONFIG, '[{"defect_name": "x"}]'), r"KeyError\('pixel_value'\)"),
        (_rules(pixel_value=255), r"has 3 entries with 1 pixel values"),
        (_rules(pixel_value=256), r"pixel_value 256"),
        (_rules(saturation_threshold=0), r"saturation_threshold 0"),
        (_rules(saturation_threshold=1.5), r"saturation_threshold 1\.5"),
        (_rules(relative_saturation="yes"), r"relative_saturation 'yes'"),
    ],
)  # fmt: skip
def test_broken_layouts(root, change, message):
    change(root / "pins")
    with pytest.raises(ValueError, match=message):
        load(root, "pins")


def test_a_missing_root_or_category(root, tmp_path):
    with pytest.raises(ValueError, match="nowhere is no folder"):
        load(tmp_path / "nowhere", "pins")
    with pytest.raises(ValueError, match="pens has no train folder; categories here: pins"):
        load(root, "pens")


def test_other_files_are_ignored(root):
    (root / "pins" / "ground_truth" / "logical_anomalies" / "002" / "._000.png").write_bytes(b"left over")
    (root / "pins" / "train" / "good" / "notes.txt").write_text("a note")
    assert [len(found) for found in load(root, "pins").defects] == [0, 0, 2, 1, 1]


# The data set ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "area", "message"),
    [
        (torch.ones(3, 4), 1, "float32"),
        (torch.ones(1, 3, 4, dtype=torch.bool), 1, r"\(1, 3, 4\)"),
        (torch.zeros(3, 4, dtype=torch.bool), 1, "0 pixels"),
        (torch.ones(3, 4, dtype=torch.bool), 13, "12 pixels and saturation area 13"),
        (torch.ones(3, 4, dtype=torch.bool), 0, "saturation area 0"),
    ],
)
def test_bad_annotations(mask, area, message):
    with pytest.raises(ValueError, match=message):
        Annotation(mask, area, "x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": [GOOD, GOOD, "logical", "logical"]}, "5 test images, 5 lists of defects and 4 groups"),
        ({"groups": [GOOD, GOOD, "logical", "logical", "odd"]}, "image 4 has group 'odd'"),
        ({"groups": [GOOD] * 5}, "image 2 has group 'good', 2 defects"),
        ({"defects": [[]] * 5}, "image 2 has group 'logical', 0 defects"),
        ({"validation": torch.full((1, 3, *SIZE), 2.0)}, "validation"),
    ],
)
def test_bad_data_sets(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(_data(), **changes)
