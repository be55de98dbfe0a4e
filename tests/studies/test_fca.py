"""The studies of FCA: their cells, and one of them computed."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from otad import ledger
from otad.studies import fca_code, fca_maps, fca_references, fca_results, runner

STUDIES = (fca_code, fca_maps, fca_references, fca_results)


@pytest.mark.parametrize("module", STUDIES)
@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_cells_are_told_apart_by_their_keys(module, scale):
    keys = [json.dumps(cell, sort_keys=True) for cell in module.STUDY.cells(scale)]
    assert len(set(keys)) == len(keys) > 1


@pytest.mark.parametrize("module", STUDIES)
def test_a_cell_has_rows_with_finite_scores(module):
    cell = module.STUDY.cells("smoke")[-1]
    rows = runner.rows_of(module.STUDY, "smoke", cell)
    assert rows
    assert all(row.items() >= cell.items() for row in rows)
    numbers = [v for row in rows for v in row.values() if isinstance(v, float)]
    assert len(numbers) >= len(rows)
    assert np.isfinite(numbers).all()


def test_the_run_has_the_strides_that_its_stored_search_chose():
    rows = [row for row in ledger.stored("fca_results").value if row["part"] == "search"]
    assert fca_results.best_of(pd.DataFrame(rows)) == fca_results.CHOSEN["laptop"]


def test_the_stored_cells_are_those_of_the_study():
    stored = {(r["part"], r["class"], r["seed"], r["group"]) for r in ledger.stored("fca_results").value}
    cells = {(c["part"], c["class"], c["seed"], c["group"]) for c in fca_results.cells("laptop")}
    assert stored == cells


def test_examples_are_the_last_defect_of_each_and_a_good_one_before_it():
    masks = torch.zeros(3, 20, 20, dtype=torch.bool)
    masks[1:, 6:14, 6:14] = True
    images = torch.arange(3.0)[:, None, None, None].expand(3, 3, 20, 20)
    contest = fca_results.Contest(images, masks, {"A": images[:, 0], "B": -images[:, 0]})
    shown, cropped, maps = fca_results.examples([contest], ["A"], side=20)
    assert shown[:, 0, 0, 0].tolist() == [2]
    assert cropped.shape == (1, 20, 20)
    assert cropped.sum() > masks[2].sum()  # the border is gone
    assert list(maps) == ["A"]
    whole, _, _ = fca_results.examples([contest], ["A"], whole=True, side=20)
    assert whole[:, 0, 0, 0].tolist() == [0, 2]


def test_a_hand_draws_inside_and_outside():
    mask = np.zeros((13, 17), bool)
    mask[4:9, 5:12] = True
    tight, wide = fca_maps.redrawn(mask, -1), fca_maps.redrawn(mask, 2)
    assert (tight & ~mask).sum() == (mask & ~wide).sum() == 0
    assert tight.sum() == 3 * 5
    assert wide[:, 8].sum() == 5 + 2 * 2
    mask[2, 2] = True
    assert fca_maps.redrawn(mask, "hull").sum() > mask.sum()
    assert [fca_maps.hand(d) for d in (-1, 0, 2, "hull")] == ["1 px inside", "exact", "2 px outside", "hull"]


def test_a_borrowed_threshold_is_that_of_the_other_draw():
    masks = np.zeros((2, 4, 4), bool)
    masks[:, 0] = True
    of = {"draw": np.array([0, 1]), "masks": masks, "A": np.stack([1.0 * masks[0], 2.0 * masks[1]])}
    assert list(fca_maps.borrowed(of, "A")) == [
        {"own": 100.0, "borrowed": 0.0},
        {"own": 100.0, "borrowed": 100.0},
    ]
