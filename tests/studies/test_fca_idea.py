"""Pictures of page 10: what is too much is no stranger by its value than what belongs there."""

import json

import numpy as np
import pytest

from otad.studies import fca_idea, load


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_every_cell_is_there_once_and_no_seed_that_designed_the_pictures(scale):
    cells = load("fca_idea").cells(scale)
    assert len({json.dumps(cell) for cell in cells}) == len(cells)
    assert min(cell["seed"] for cell in cells) == fca_idea.FIRST_SEED
    assert len(cells) == fca_idea.setting(scale)["n_seeds"] * (3 + len(fca_idea.setting(scale)["levels"]))


def test_extra_dots_are_as_bright_as_regular_ones_may_be():
    for seed in range(20):
        picture, mask = fca_idea.contextual(seed, "laptop")
        assert picture.shape == mask.shape == (63, 77)
        assert mask.sum() == 3 * 2 * 2
        assert picture[mask].min() > 0.55
        assert picture[mask].max() <= 1
        assert picture[~mask].max() > picture[mask].min()


def test_missing_dots_look_like_ground_and_a_level_is_kept():
    picture, mask = fca_idea.contextual(3, "laptop", extra=False)
    assert np.abs(picture[mask] - 0.25).max() < 0.06
    picture, mask = fca_idea.contextual(3, "laptop", level=0.8)
    assert np.abs(picture[mask] - 0.8).max() < 0.06


def test_a_ring_is_brighter_than_all_around_it():
    picture, mask = fca_idea.isolated(5, "laptop")
    assert picture[mask].mean() > picture[~mask].max() - 0.05
    assert 0 < mask.sum() < 60


def test_a_cell_has_a_row_a_method():
    rows = list(fca_idea.compute({"picture": "lattice", "seed": 100, "level": 0.6}, "smoke"))
    assert [row["method"] for row in rows] == ["FCA", "Hist (large)", "Hist (small)"]
    assert rows[0]["AP"] > rows[1]["AP"]
    assert all(0 <= row["AUROC"] <= 1 for row in rows)
