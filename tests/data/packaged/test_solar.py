"""ELPV cells: labels, splits without copies and sisters, the notice."""

from collections import Counter

import numpy as np
import pytest
import torch

from otad.data.packaged import solar
from otad.data.packaged.solar import SISTERS, fingerprints, index, load, read, sisters, split


def test_the_index_is_the_published_data_set():
    assert len(index()) == 2624
    count = Counter((cell.cell, round(3 * cell.probability)) for cell in index())
    assert sum(n for (cell, _), n in count.items() if cell == "mono") == 1074
    assert (count["mono", 0], count["mono", 3], count["poly", 0], count["poly", 3]) == (588, 313, 920, 402)


def test_no_two_files_hold_the_same_pixels():
    pictures = (read([cell])[0] for cell in index())
    assert len({hash(picture.tobytes()) for picture in pictures}) == len(index())


def test_thick_busbars_go_with_the_label():
    """The confound that designs="shared" removes: nearly all cells of the first modules are defective."""
    first = [c for c in index()[: solar.THICK_BARS] if c.cell == "mono" and c.probability in (0, 1)]
    rest = [c for c in index()[solar.THICK_BARS :] if c.cell == "mono" and c.probability in (0, 1)]
    assert np.mean([c.probability for c in first]) > 0.85
    assert np.mean([c.probability for c in rest]) < 0.2


@pytest.mark.parametrize("cell", solar.CELLS)
def test_a_split_is_disjoint_and_rightly_labelled(cell):
    chosen = split(cell, 12, 7, 9, seed=3)
    assert (len(chosen.train), len(chosen.good), len(chosen.defective)) == (12, 7, 9)
    everything = chosen.train + chosen.good + chosen.defective
    assert len(set(everything)) == 28
    assert {index()[i].cell for i in everything} == {cell}
    assert {index()[i].probability for i in chosen.train + chosen.good} == {0.0}
    assert {index()[i].probability for i in chosen.defective} == {1.0}
    if cell == "mono":
        assert min(everything) >= solar.THICK_BARS
    assert split(cell, 12, 7, 9, seed=3) == chosen
    assert split(cell, 12, 7, 9, seed=4) != chosen


def test_no_training_cell_has_a_sister_in_the_test_set():
    chosen = split("poly", 60, 40, 40, seed=0)
    kept = split("poly", 60, 40, 40, seed=0, keep_sisters=True)
    assert chosen.good == kept.good
    assert chosen.turned_away > 0
    assert kept.turned_away == 0

    def closest(s: solar.Split) -> np.ndarray:
        train, test = (
            fingerprints(read([index()[i] for i in ids])) for ids in (s.train, s.good + s.defective)
        )
        return sisters(train, test).max(1)

    assert closest(chosen).max() <= SISTERS
    assert (closest(kept) > SISTERS).sum() > 5


def test_sisters_are_found_however_they_lie():
    cell = read([next(c for c in index() if c.cell == "poly")])[0]
    laid = np.stack([cell, np.rot90(cell), cell[::-1], cell[:, ::-1], np.rot90(cell, 2)[:, ::-1]])
    assert sisters(fingerprints(cell[None]), fingerprints(laid)).min() > 0.95
    noise = np.random.default_rng(0).integers(0, 256, (3, 300, 300)).astype(np.uint8)
    assert sisters(fingerprints(noise), fingerprints(cell[None])).max() < 0.3
    brighter = (cell * 0.7 + 20).astype(np.uint8)
    assert sisters(fingerprints(cell[None]), fingerprints(brighter[None])).item() > 0.95


def test_loaded_images():
    data = load("mono", (48, 64), 3, 2, 2, seed=1)
    assert data.train.shape == (3, 3, 48, 64)
    assert data.test.shape == (4, 3, 48, 64)
    assert data.masks is None
    assert data.labels.tolist() == [False, False, True, True]
    assert data.kinds == ["good", "good", "defective", "defective"]
    assert torch.equal(data.test[:, 0], data.test[:, 2])
    original = load("mono", 300, 1, 1, 0, seed=1)
    expected = read([index()[i] for i in split("mono", 1, 1, 0, seed=1).train])
    assert torch.equal(original.train[0, 0], torch.from_numpy(expected[0]).float() / 255)


def test_designs_all_brings_thick_busbars_back():
    assert min(split("mono", 5, 0, 60, designs="all").defective) < solar.THICK_BARS


def test_the_notice_names_authors_source_and_licence():
    for word in (
        "Buerhop-Lutz",
        "Deitsch",
        "github.com/zae-bayern/elpv-dataset",
        "CC BY-NC-SA 4.0",
        "resized",
    ):
        assert word in solar.NOTICE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "amorphous"}, "cell='amorphous'"),
        ({"cell": "mono", "designs": "none"}, "designs='none'"),
        ({"cell": "mono", "n_train": 0}, "empty"),
        ({"cell": "mono", "n_defective": 105}, "104 defective cells"),
        ({"cell": "mono", "n_train": 562, "n_good": 1}, "562 normal"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(**arguments)


def test_too_many_sisters_are_an_error(monkeypatch):
    few = tuple(c for c in index()[:120] if c.cell == "poly" and c.probability in (0, 1))
    monkeypatch.setattr(solar, "index", lambda: few)
    monkeypatch.setattr(solar, "SISTERS", -2.0)
    with pytest.raises(ValueError, match=r"only 0 of \d+ normal cells are neither copies nor sisters"):
        split("poly", 2, 3, 3)


def test_planted_defects_stand_on_good_cells_and_masks_say_where():
    kinds = ["good", "cut", "hole"]
    data = solar.planted("mono", (40, 48), 2, kinds, seed=3)
    clean = solar.load("mono", (40, 48), 2, 3, 0, seed=3)
    assert torch.equal(data.train, clean.train)
    assert data.kinds == kinds
    assert data.labels.tolist() == [False, True, True]
    changed = (data.test != clean.test).any(dim=1)
    assert not changed[0].any()
    assert not (changed & ~data.masks).any()
    assert changed[1:].flatten(1).any(dim=1).all()
    assert not torch.equal(solar.planted("mono", (40, 48), 2, kinds, 3, salt=1).masks, data.masks)
    with pytest.raises(ValueError, match="scratch"):
        solar.planted("mono", 40, 2, ["scratch"])
