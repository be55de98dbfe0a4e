"""The layout of Real-IAD: what is written comes back, one view at a time; broken layouts are named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from otad.data import Dataset
from otad.data.drawn import textures
from otad.data.readers.realiad import SPLIT, categories, load, read_split, write

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


def _change(root: Path, change) -> None:
    path = root / SPLIT / "tile.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_round_trip(written):
    root, data = written
    back = load(root, "tile")
    assert back.kinds == data.kinds
    assert torch.equal(back.labels, data.labels)
    assert torch.equal(back.masks, data.masks)
    assert (back.test - data.test).abs().max() <= 0.5 / 255 + 1e-6
    assert (back.train - data.train).abs().max() <= 0.5 / 255 + 1e-6
    assert back.name == "tile"
    assert "user-supplied" in back.licence
    assert categories(root) == ["tile"]


def test_one_view_or_all(written):
    root, data = written
    every = read_split(root, "tile")["test"]
    assert len(every) == 2 * len(data.test)
    with pytest.raises(ValueError, match=r"no picture in train with view C2; give view=None"):
        load(root, "tile", view="C2")  # written for the test pictures only
    both = load(root, "tile", view=None)
    assert len(both.test) == 2 * len(data.test)
    assert both.kinds.count("good") == 2 + len(data.test)  # from the side that hides it, a defect is good
    assert torch.equal(both.masks[::2], data.masks)
    assert not both.masks[1::2].any()


def test_a_view_is_a_word_of_the_name(root):
    def rename(content):
        for entry in content["test"]:
            old = entry["image_path"]
            entry["image_path"] = old.replace("_C1_", "_C11_")
            path = root / "realiad_1024" / "tile"
            if old != entry["image_path"]:
                (path / old).rename(path / entry["image_path"])

    _change(root, rename)
    with pytest.raises(ValueError, match="no picture in test with view C1"):
        load(root, "tile")


def test_the_archive_with_a_folder_around_it(root):
    (root / "realiad_jsons").mkdir()
    (root / SPLIT).rename(root / "realiad_jsons" / SPLIT)
    assert len(load(root, "tile").test) == 6


def test_resizing_brings_images_and_masks_to_one_size(written):
    root, data = written
    small = load(root, "tile", (24, 40))
    assert small.train.shape == (2, 3, 24, 40)
    assert small.masks.shape == (6, 24, 40)
    area = data.masks.float().mean((1, 2))
    assert (small.masks.float().mean((1, 2)) - area).abs().max() < 0.01


def test_another_resolution(root):
    (root / "realiad_1024").rename(root / "realiad_256")
    assert len(load(root, "tile", resolution=256).test) == 6
    with pytest.raises(ValueError, match=r"realiad_1024 is missing; .* another resolution="):
        load(root, "tile")


def test_grey_levels_of_a_shrunken_mask_count_as_defect(root, written):
    path = read_split(root, "tile")["test"]
    mask = next(entry.mask for entry in path if entry.mask)
    values = np.asarray(Image.open(mask)) // 3
    Image.fromarray(values).save(mask)
    assert torch.equal(load(root, "tile").masks, written[1].masks)


def test_what_programs_leave_behind_is_not_read_and_the_tilde_is_home(root, monkeypatch):
    (root / SPLIT / "._tile.json").write_bytes(b"left by a program")
    monkeypatch.setenv("HOME", str(root.parent))
    assert categories("~/sets") == ["tile"]
    assert len(load("~/sets", "tile").test) == 6


def test_an_inverted_mask_is_told(root):
    mask = next(entry.mask for entry in read_split(root, "tile")["test"] if entry.mask)
    Image.fromarray(255 - np.asarray(Image.open(mask))).save(mask)
    with pytest.warns(UserWarning, match=r"mask_C1\.png \(9\d%\); if they are inverted"):
        load(root, "tile")


# Broken layouts -------------------------------------------------------------------------------------------


def test_what_is_asked_for_is_checked(written):
    root, _ = written
    with pytest.raises(ValueError, match="view is 'top': expected one of C1"):
        load(root, "tile", view="top")
    with pytest.raises(ValueError, match="no zipper.json; categories here: tile"):
        load(root, "zipper")
    with pytest.raises(ValueError, match="realiad_jsons_fuiad is missing"):
        load(root, "tile", split="realiad_jsons_fuiad")
    with pytest.raises(ValueError, match="too small"):
        load(root, "tile", 4)


def test_a_split_folder_without_files(root):
    (root / SPLIT / "tile.json").unlink()
    with pytest.raises(ValueError, match="has no JSON file such as audiojack.json"):
        categories(root)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"meta": {"prefix": "tile/"}}', '{"meta": 3}', '"\\ud8"', "\x00"]
)
def test_a_file_that_is_no_split(root, content):
    (root / SPLIT / "tile.json").write_text(content)
    with pytest.raises(ValueError, match=r"tile\.json is no split of Real-IAD.*copy it again"):
        load(root, "tile")


def test_an_entry_without_a_key(root):
    _change(root, lambda content: content["test"][0].pop("image_path"))
    with pytest.raises(ValueError, match=r"tile\.json is no split.*image_path"):
        load(root, "tile")


def test_a_defective_picture_without_a_mask(root):
    def forget(content):
        for entry in content["test"]:
            entry["mask_path"] = None

    _change(root, forget)
    with pytest.raises(ValueError, match="has no mask_path; copy the JSON"):
        load(root, "tile")


def test_a_defect_in_train(root):
    def spoil(content):
        content["train"].append(next(e for e in content["test"] if e["mask_path"]))

    _change(root, spoil)
    with pytest.raises(ValueError, match="and in train, where all must be normal"):
        load(root, "tile")


def test_missing_and_damaged_files_are_named(root):
    entries = read_split(root, "tile")
    defective = next(entry for entry in entries["test"] if entry.mask)
    image = defective.image.read_bytes()
    defective.image.unlink()
    with pytest.raises(ValueError, match=r"_C1_.* is missing, and the split needs it"):
        load(root, "tile")
    defective.image.write_bytes(image[: len(image) // 2])
    with pytest.raises(ValueError, match=r"_C1_.* cannot be read as an image"):
        load(root, "tile")
    defective.image.write_bytes(image)
    defective.mask.unlink()
    with pytest.raises(ValueError, match=r"mask_C1\.png is missing, the mask of"):
        load(root, "tile")


def test_masks_that_do_not_fit(root):
    mask = next(entry.mask for entry in read_split(root, "tile")["test"] if entry.mask)
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(mask)
    with pytest.raises(ValueError, match="marks nothing"):
        load(root, "tile")
    Image.fromarray(np.full((10, 10), 255, np.uint8)).save(mask)
    with pytest.raises(ValueError, match=r"is \(10, 10\), its image is \(48, 65\)"):
        load(root, "tile")


def test_images_of_two_sizes(root):
    image = read_split(root, "tile")["train"][1].image
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(image)
    with pytest.raises(ValueError, match="give size="):
        load(root, "tile")
    assert load(root, "tile", 32).train.shape == (2, 3, 32, 32)


def test_only_masks_can_be_written(written, tmp_path):
    data = written[1]
    bare = Dataset(data.name, data.train, data.test, None, data.labels, data.kinds, data.licence)
    with pytest.raises(ValueError, match="image labels only"):
        write(bare, tmp_path, "tile")
