"""The studies of FCA: their cells, and one of them computed."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from otad import ledger
from otad.studies import fca_code, fca_maps, fca_maps_asked, fca_references, fca_results, runner

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
    tight, wide = fca_maps_asked.redrawn(mask, -1), fca_maps_asked.redrawn(mask, 2)
    assert (tight & ~mask).sum() == (mask & ~wide).sum() == 0
    assert tight.sum() == 3 * 5
    assert wide[:, 8].sum() == 5 + 2 * 2
    mask[2, 2] = True
    assert fca_maps_asked.redrawn(mask, "hull").sum() > mask.sum()
    assert [fca_maps_asked.hand(d) for d in (-1, 0, 2, "hull")] == [
        "1 px inside",
        "exact",
        "2 px outside",
        "hull",
    ]


def test_a_borrowed_threshold_is_that_of_the_other_draw():
    masks = np.zeros((2, 4, 4), bool)
    masks[:, 0] = True
    of = {"draw": np.array([0, 1]), "masks": masks, "A": np.stack([1.0 * masks[0], 2.0 * masks[1]])}
    assert list(fca_maps_asked.borrowed(of, "A")) == [
        {"own": 100.0, "borrowed": 0.0},
        {"own": 100.0, "borrowed": 100.0},
    ]


@pytest.fixture
def pool():
    """One texture, two draws of a good and a damaged picture: FCA finds one corner of each defect, Aota all of it."""
    masks = np.zeros((4, 13, 17), bool)
    masks[[1, 3], 4:9, 5:12] = True
    fca = 0.1 + np.zeros((4, 13, 17))
    fca[1, 4:6, 5:7] = fca[3, 4, 5] = 2.0
    fca[0, 0, 0] = 3.0
    of = {"masks": masks, "FCA": fca, "Aota": 1.0 * masks, "draw": np.array([0, 0, 1, 1])}
    return {"brick": of | {"images": torch.zeros(4, 3, 13, 17), "kinds": ["good", "hole", "good", "hole"]}}


def _single(pool):
    return pd.DataFrame([{"texture": "brick"} | row for row in fca_maps.rows(pool["brick"])])


def test_spots_are_of_pictures_that_all_methods_have_found(pool):
    single = _single(pool)
    found = fca_maps_asked.spots(pool, single, ["FCA", "Aota"])
    assert found["FCA"].tolist() == [4 / 35, 1 / 35]
    assert found["Aota"].tolist() == [1.0, 1.0]
    pool["brick"]["FCA"][3, 0, 0] = 9.0  # beside the defect
    assert len(fca_maps_asked.spots(pool, single, ["FCA", "Aota"])) == 1


def test_an_alarm_is_the_worst_good_picture_against_the_best_threshold(pool):
    limits = {("brick", "FCA"): 2.0, ("brick", "Aota"): 1.0}
    (alarm,) = fca_maps_asked.alarms(pool, limits).to_dict("records")
    assert alarm["i"] == 0
    assert alarm["ratio"] == 1.5
    assert alarm["flagged"] == pytest.approx(100 / (13 * 17))
    flagged = fca_maps_asked.contours(pool, list(_single(pool).itertuples()), limits)
    assert [int(masks.sum()) for masks in flagged.values()] == [70, 5, 70]


def test_the_same_maps_are_scored_against_each_hand_that_leaves_a_mask(pool, monkeypatch):
    monkeypatch.setattr(fca_maps_asked, "inner", lambda scale: (...,))  # nothing is cut off
    pool["brick"]["full"] = torch.from_numpy(pool["brick"]["masks"])
    drawn, regions = fca_maps_asked.redrawings(pool, (-3, 0, "hull"), "smoke")
    assert regions == {-3: 0, 0: 2, "hull": 2}
    found = fca_maps_asked.rescored(pool, drawn)
    assert list(found.index) == [(0, "brick"), ("hull", "brick")]
    assert found.loc[(0, "brick"), ("F1-max", "Aota")] == 100
    assert found.loc[(0, "brick"), ("F1-max", "FCA")] < 50


def test_of_all_hands_the_best_the_true_one_and_the_span_are_told():
    own = pd.Series({-1: 10.0, 0: 30.0, 2: 50.0})
    told = {"best": "2 px outside", "truth": 30.0, "peak": 50.0, "worst": 10.0, "span": 40.0}
    assert fca_maps_asked.by_hand(own) == told
