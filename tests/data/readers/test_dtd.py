"""DTD: a small copy of the layout comes back as textures of one size, in one order; a choice is spread over the classes, and what is missing is named."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from otad.data.readers.dtd import texture_files, textures
from otad.data.readers.files import read_image

COUNTS = {"banded": 5, "grid": 3, "zigzagged": 1}


@pytest.fixture
def root(tmp_path) -> Path:
    """Three classes, written last first, of sizes and colours of their own; beside them what the archive holds and programs leave."""
    place = tmp_path / "dtd"
    for k, (name, count) in enumerate(reversed(COUNTS.items())):
        (place / "images" / name).mkdir(parents=True)
        for number in range(count, 0, -1):
            shape = (30 + 10 * k, 50 - number, 3)[: 2 if k == 1 else 3]
            values = np.random.default_rng([k, number]).integers(0, 256, shape, np.uint8)
            Image.fromarray(values).save(place / "images" / name / f"{name}_{number:04d}.jpg")
    for extra in ("images/banded/.directory", "images/notes.txt", "labels/train1.txt", "images/__MACOSX/banded/a.jpg"):  # fmt: skip
        (place / extra).parent.mkdir(parents=True, exist_ok=True)
        (place / extra).write_text("no picture")
    return place


def named(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


def test_all_are_read_by_class_and_name_at_one_size(root):
    paths = texture_files(root)
    assert named(paths) == [f"{name}_{k:04d}" for name, count in COUNTS.items() for k in range(1, count + 1)]
    found = textures(root, (20, 33))
    assert found.shape == (9, 3, 20, 33)
    assert found.dtype == torch.float32
    assert 0 <= found.min() < 0.4 < 0.6 < found.max() <= 1
    for texture, path in zip(found, paths, strict=True):
        assert torch.equal(texture, read_image(path, (20, 33)))  # squeezed, not cut
    assert torch.equal(found[5:8, 0], found[5:8, 2])  # grey is repeated
    assert not torch.equal(found[:5, 0], found[:5, 2])
    assert textures(root, 16).shape == (9, 3, 16, 16)


def test_a_choice_is_spread_over_the_classes(root):
    counts = [
        Counter(path.parent.name for path in texture_files(root, limit, seed=1)) for limit in range(1, 10)
    ]
    assert [sum(found.values()) for found in counts] == list(range(1, 10))
    assert counts[2] == {"banded": 1, "grid": 1, "zigzagged": 1}
    assert counts[4] == {"banded": 2, "grid": 2, "zigzagged": 1}
    assert counts[6] == {"banded": 3, "grid": 3, "zigzagged": 1}
    assert counts[8] == COUNTS
    assert texture_files(root, 1000) == texture_files(root)


def test_the_same_seed_chooses_the_same_and_a_larger_limit_keeps_it(root):
    chosen = {seed: texture_files(root, 4, seed) for seed in range(20)}
    for seed, found in chosen.items():
        assert found == texture_files(root, 4, seed) == sorted(found)
        assert set(texture_files(root, 3, seed)) < set(found) < set(texture_files(root, 6, seed))
    assert len({tuple(found) for found in chosen.values()}) > 10
    assert len({path for found in chosen.values() for path in found}) == 9  # each has its chance
    firsts = {texture_files(root, 1, seed)[0].parent.name for seed in range(20)}
    assert firsts == set(COUNTS)  # and no class comes first by its name
    assert torch.equal(textures(root, 16, 4, 3), torch.stack([read_image(p, (16, 16)) for p in chosen[3]]))


def test_only_what_is_chosen_is_opened(root):
    (chosen,) = texture_files(root, 1, seed=2)
    for path in set(texture_files(root)) - {chosen}:
        path.write_bytes(b"")
    assert textures(root, 16, 1, seed=2).shape == (1, 3, 16, 16)


def test_where_the_copy_lies_and_how_it_was_written_change_nothing(root, tmp_path):
    shutil.copytree(root, tmp_path / "ä b" / "textures")
    assert torch.equal(textures(str(tmp_path / "ä b" / "textures"), 16, 5, 1), textures(root, 16, 5, 1))


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("", r"dtd/images is missing; the Describable Textures Dataset \(for research only\) has images/CLASS/NAME.jpg\.$"),
        ("images", r"dtd/images is missing; .* has images/CLASS/NAME.jpg\.$"),
        ("images/*", r"dtd/images has no folders; .* such as .*dtd/images/banded"),
        ("images/grid/*", r"dtd/images/grid has no images"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(root, gone, message):
    for path in root.glob(gone) if gone else [root]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for call in (lambda: texture_files(root, 2), lambda: textures(root, 16, 2)):
        with pytest.raises(ValueError, match=message):
            call()


def test_an_archive_that_was_unpacked_inside_a_folder_of_its_name_is_told(root):
    (root / "dtd").mkdir()
    for name in ("images", "labels"):
        shutil.move(root / name, root / "dtd" / name)
    with pytest.raises(ValueError, match=r"dtd/images is missing; .*; \S+dtd/dtd has it: move up"):
        textures(root, 16)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty, 0 bytes"),
        (b"<html>404</html>", "download it again"),
        (None, "it is damaged"),
    ],
)
def test_a_broken_picture_is_named(root, content, message):
    path = root / "images" / "banded" / "banded_0004.jpg"
    path.write_bytes(path.read_bytes()[:600] if content is None else content)
    with pytest.raises(ValueError, match=rf"banded_0004\.jpg cannot be read as an image: .*{message}"):
        textures(root, 16)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"limit": 0}, "limit is 0: expected 1 or more textures, or None for all"),
        ({"limit": -3}, "limit is -3"),
        ({"size": 8}, "too small; give at least 16 pixels a side"),
        ({"seed": -1}, "seed is -1: expected 0 or more"),
        ({"size": 2**15}, "the textures asks for 9 × 3 × 32768 × 32768 values"),
        ({"root": 3}, "root is 3"),
    ],
)
def test_bad_arguments_are_refused(root, given, message):
    with pytest.raises(ValueError, match=message):
        textures(**({"root": root, "size": 16} | given))
