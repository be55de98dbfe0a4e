"""One map under many labels: what a label hides, where a map points, and what mending is worth by an identity."""

import json

import numpy as np
import pytest
import torch

from otad.data import doubtful
from otad.metrics import pixel_auroc
from otad.studies import benchmark_flows, benchmark_memories, names
from otad.studies import doubtful_labels as study
from otad.studies.runner import rows_of


@pytest.fixture(scope="module")
def given():
    return study.pictures("bottle", 3, "smoke")


@pytest.fixture(scope="module")
def ideal(given):
    return study.maps_of(study.IDEAL, given, "smoke", 3)


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_cells_are_there_once_and_maps_of_a_class_follow_each_other(scale):
    cells = study.cells(scale)
    assert "doubtful_labels" in names()
    assert len({json.dumps(c, sort_keys=True) for c in cells}) == len(cells)
    assert min(c["seed"] for c in cells) == study.FIRST_SEED
    pairs = [(c["class"], c["seed"]) for c in cells]
    assert pairs == [p for p in dict.fromkeys(pairs) for _ in study.MAPS]


def test_settings_are_those_that_the_arena_chose():
    padim, fastflow = benchmark_memories.PLANS["PaDiM"], benchmark_flows.PLANS["FastFlow"]
    assert study.SETTINGS["PaDiM"] == padim.tried[padim.chosen]
    assert study.SETTINGS["FastFlow"] == fastflow.tried[fastflow.chosen]


def test_each_defective_picture_has_two_defects_and_one_of_them_is_missing(given):
    assert given.parts.flatten(2).any(2).sum(1).tolist() == [0] * 3 + [2] * 6
    assert given.bad.tolist() == list(range(3, 9))
    for which in (given.missing, given.fainter):
        assert (which[:3] == -1).all()
        assert set(which[3:].tolist()) <= {0, 1}
    assert sorted(given.lot.tolist()) == list(range(9))


def test_every_label_is_wrong_in_its_own_way(given):
    found = study.labels(given)
    fine, areas = found[study.EXACT], {k: int(m.sum()) for k, m in found.items()}
    assert not any(masks[:3].any() for masks in found.values())
    for name in (study.MISSING, study.FAINT, *map(study.called_good, study.CALLED_GOOD)):
        assert (found[name] <= fine).all()
        assert areas[name] < areas[study.EXACT]
    wider = [f"wider by {by}" for by in study.WIDER]
    for name in ("boxes", "hulls", study.MIXED, *wider):
        assert (found[name] >= fine).all()
        assert areas[name] > areas[study.EXACT]
    assert [areas[name] for name in wider] == sorted(areas[name] for name in wider)
    alike = [torch.equal(a, b) for a, b in zip(found[study.MIXED][3:], fine[3:], strict=True)]
    assert alike == [True, False] * 3
    empty = ~found[study.called_good(0.3)].flatten(1).any(1)
    assert int(empty[3:].sum()) == 2


def test_the_fainter_defect_is_the_one_that_changes_its_pixels_less(given):
    whole = study.scenes.load("bottle", 64, 4, 9, 0, seed=3).test
    change = (given.test - whole).abs().mean(1)
    for n in given.bad.tolist():
        strengths = [float(change[n][part].mean()) for part in given.parts[n]]
        assert int(given.fainter[n]) == int(np.argmin(strengths))
        assert min(strengths) >= study.SEEN - 1e-6


def test_a_doubtful_label_keeps_an_ideal_map_from_full_marks(given, ideal):
    rows = list(study.rows(given, ideal))
    of = {(r["label"], r["mended"], r["share"]): r for r in rows}
    assert len(of) == len(rows)
    pointed = of[study.MISSING, study.POINTED, 0.0]
    exact, doubted = of[study.EXACT, "nothing", 0.0], of[study.MISSING, "nothing", 0.0]
    assert 0 < pointed["found"] < 1
    assert doubted["pixel"] < pointed["pixel"]
    assert exact["pixel"] > 99
    assert exact["image"] == doubted["image"] == 100
    assert doubted["pixel"] < exact["pixel"]
    assert doubted["PRO"] < exact["PRO"]
    assert of[study.called_good(0.3), "nothing", 0.0]["pixel"] < exact["pixel"]
    assert of[study.called_good(0.3), study.POINTED, 0.0]["image"] == 100


def test_a_blind_map_gains_by_selection_what_it_loses_by_mending_the_rest(given):
    """Eight draws of noise: the best half mended leads the worst half in all of them, by chance once in 256."""
    gaps = []
    for seed in range(8):
        maps = study.maps_of(study.BLIND, given, "smoke", seed)
        turn = study.orders(maps, given)
        first, last = (
            pixel_auroc(maps, study.mended(given, given.missing, turn[order][:3])) for order in (study.ORDERS[0], study.ORDERS[-1])
        )  # fmt: skip
        assert sorted(turn[study.ORDERS[1]].tolist()) == given.bad.tolist()
        assert turn[study.ORDERS[0]].tolist() == turn[study.ORDERS[-1]].tolist()[::-1]
        gaps.append(first - last)
    assert min(gaps) > 0


def test_what_one_label_is_worth_follows_from_how_well_its_defect_is_found(given):
    maps = study.maps_of("PaDiM", given, "smoke", 3)
    found = study.alone(maps, given)
    assert [row["picture"] for row in found] == given.bad.tolist()
    for row in found:
        assert row["gain"] == pytest.approx(row["foretold"], abs=1e-9)
    masks = doubtful.unmarked(given.parts, given.missing)
    assert found[0]["before"] == pytest.approx(100 * pixel_auroc(maps, masks))
    one = study.mended(given, given.missing, torch.tensor([3]))
    assert found[0]["gain"] == pytest.approx(100 * (pixel_auroc(maps, one) - pixel_auroc(maps, masks)))
    assert int((one ^ masks).flatten(1).any(1).sum()) == 1


def test_the_chance_by_hand():
    assert study.apart(torch.tensor([2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0])) == pytest.approx(4.5 / 6)


def test_height_is_the_median_over_the_missing_defect_and_the_level_over_what_is_marked(given):
    maps = torch.zeros(given.parts[:, 0].shape)
    maps[0, 0, 0] = 7.0
    assert study.limit(maps, given) == 7.0
    for height, n in enumerate(given.bad.tolist()):
        maps[n][given.parts[n, 1 - given.missing[n]]] = float(height)
    assert study.level(maps, given, given.missing) == 2.0  # the lower of the two in the middle of 0 to 5
    n = int(given.bad[0])
    maps[n][given.parts[n, given.missing[n]]] = 9.0
    found = study.height(maps, given, given.missing)
    assert found[n] == 9.0
    assert (found[:3] == -torch.inf).all()


@pytest.mark.parametrize("name", study.MAPS)
def test_a_cell_says_the_same_when_it_is_computed_again(name):
    cell = {"class": "bottle", "seed": study.FIRST_SEED, "map": name}
    first, again = (rows_of(study.STUDY, "smoke", cell) for _ in range(2))
    assert first == again
    assert len(first) == 12 + 4 + 9
    for row in first:
        assert cell.items() <= row.items()
        assert all(0 <= row[k] <= 100 for k in ("image", "pixel", "PRO"))
    json.dumps(first, allow_nan=False)
