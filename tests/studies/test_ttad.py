"""TTAD's studies: stored cells are those of the code, rates are those that held-out seeds choose, failures leave what was."""

import json

import pandas as pd
import pytest
import torch

from otad import ledger
from otad.publish import root
from otad.studies import arenas, load, reading, shifted, ttad_ablation, ttad_qualitative, ttad_results

NAMES = ("ttad_results", "ttad_ablation", "ttad_qualitative")


def _text(cell):
    return json.dumps(cell, sort_keys=True)


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_is_there_once_and_stored(name):
    kept = json.loads((root() / "results" / f"{name}.json").read_text(encoding="utf-8"))
    stored = [_text(head["cell"]) for head in kept["cells"]] + [_text(cell) for cell in kept["missing"]]
    cells = [_text(cell) for cell in load(name).cells("laptop")]
    assert len(cells) == len(set(cells))
    assert sorted(stored) == sorted(cells)
    assert load(name).cells("smoke")


@pytest.mark.parametrize("name", ["ttad_results", "ttad_qualitative"])
def test_stored_rows_are_the_methods_that_a_cell_has_today(name):
    kept = json.loads((root() / "results" / f"{name}.json").read_text(encoding="utf-8"))
    rows = iter(kept["rows"])
    for head in kept["cells"]:
        own = [next(rows) for _ in range(head["rows"])]
        if name == "ttad_results":
            pairs = [(r["method"], r["lr"]) for r in own]
            assert pairs == ttad_results.contestants(head["cell"], "laptop")
        else:
            assert {r["method"] for r in own} == {head["cell"]["method"]}


def test_the_learning_rates_are_those_that_held_out_seeds_choose():
    rows = pd.DataFrame(ledger.stored("ttad_results").value)
    tried = rows[rows["phase"] == "held out"]
    assert ttad_results.best_rates(tried) == ttad_results.CHOSEN
    assert set(tried["seed"]) == set(ttad_results.HELD_OUT)
    assert rows[rows["phase"] == "judged"]["seed"].min() == ttad_results.FIRST_SEED


def test_an_adaptation_that_fails_leaves_the_unadapted_scores_and_says_so():
    data, ttad = ttad_results.fitted(shifted.FIRST, 100, "smoke")
    cell = {"condition": "brightness", "severity": 5, "seed": 100}
    images = ttad_results.shifted(data, cell)
    start = ttad_results.aurocs(ttad, images, data)
    wild = ttad_results.replace(ttad, **ttad_results.METHODS["TTT++"], lr=1e30, epochs=3)
    found = ttad_results.adapt(wild, images, data, start, every=False)
    assert found["failed"]
    assert found["curve"] == [start, start]
    tame = ttad_results.adapt(ttad, images, data, start, every=True)
    assert not tame["failed"]
    assert len(tame["curve"]) == 1 + ttad.epochs


def test_cells_of_the_smallest_size_have_their_rows():
    cell = {
        "phase": "judged",
        "class": shifted.FLAGGED[0],
        "seed": 100,
        "condition": "contrast",
        "severity": 4,
    }
    rows = list(ttad_results.compute(cell, "smoke"))
    assert [row["method"] for row in rows] == list(ttad_results.RIVALS)
    assert all("pixel" not in row and 0 <= row["image"] <= 100 for row in rows)  # real defects have no masks
    (row, *_) = ttad_ablation.compute({"class": shifted.FIRST, "seed": 100, "condition": "contrast"}, "smoke")
    assert (row["method"], len(row["curve"])) == ("moments", 2)  # before, and after the first of two epochs
    assert row["pixel"] == row["curve"][-1][1]


def test_students_answer_twice_and_nothing_adapts_to_clean_pictures():
    cell = {"class": shifted.FIRST, "seed": 100}
    student = list(ttad_qualitative.compute({**cell, "method": "RD"}, "smoke"))
    assert [row["EFDM"] for row in student] == [False, True] * 6
    memory, ttad = (
        list(ttad_qualitative.compute({**cell, "method": m}, "smoke")) for m in ("PatchCore", "TTAD")
    )
    assert memory[0] == ttad[0]  # clean
    assert memory[1:] != ttad[1:]


def test_views_put_aside_what_decides_nothing():
    levels = {"contrast": 4}
    rows = pd.DataFrame(
        [
            {"class": c, "condition": k, "severity": s}
            for c in shifted.SHIFTED
            for k, s in (("clean", 0), ("contrast", 4), ("contrast", 5))
        ]
    )
    found = reading.views(rows, levels)
    assert [len(part) for part in found.values()] == [2, 1, 2]
    assert set(found[""]["class"]) == {shifted.FIRST}


def test_leads_and_curves_are_by_seed():
    rows = pd.DataFrame(
        [
            {
                "condition": "blur",
                "seed": s,
                "method": m,
                "class": c,
                "x": x + s,
                "failed": s == 2,
                "curve": [[x], [x + s]],
            }
            for s in (1, 2, 3)
            for c, off in (("a", 0), ("b", 10))
            for m, x in (("A", 5.0 + off), ("B", 3.0))
        ]
    )
    wide = reading.by_seed(rows, "x")
    assert reading.lead(wide, "A", "B", ["blur"]) == {"blur: A > B": [7.0, 7.0, 7.0]}
    found = reading.curve(rows[rows["method"] == "A"], 0, at=(0, 10))
    assert found.loc[3].to_dict() == {0: 10.0, 10: 13.0}
    assert list(found.index) == [1, 3]  # the failed run is left out
    assert reading.means(rows, "x", ("B", "A", "C"), ("blur",)).index.tolist() == ["B", "A"]


def test_solar_cells_are_known_by_name():
    with pytest.raises(
        ValueError, match="there are no solar cells 'moon'; there are 'mono, planted defects', "
    ):
        shifted.solar_cells("moon", 64, 4, 1, 1, 0)
    data = shifted.solar_cells(shifted.FIRST, 64, 4, 2, 1, seed=0)
    assert data.kinds == ["good", "good", *shifted.PLANTED]
    assert torch.equal(data.labels, torch.tensor([False, False, True, True, True]))


def test_data_sets_that_a_folder_holds_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("OTAD_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="mvtec_ad is missing"):
        arenas.holding(("mvtec_ad", "realiad"))
    (tmp_path / "realiad").mkdir()
    assert arenas.holding(("mvtec_ad", "realiad")) == ("realiad",)


def test_severities_and_classes_are_those_that_page_30_has_chosen():
    accepted = json.loads((root() / "tests" / "expected" / "laptop.json").read_text(encoding="utf-8"))
    assert accepted["p30_severities"]["value"] == shifted.MATCHED
    assert tuple(accepted["p30_arena"]["value"]) == shifted.SHIFTED
