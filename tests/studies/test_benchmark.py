"""The benchmark's four studies: who takes part, what is held out, what a row says, how classes are averaged and ranks made sure."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from otad import ledger
from otad.data.drawn import textures
from otad.data.packaged import photographs
from otad.methods import Scores
from otad.metrics import f1_max
from otad.studies import benchmark_arena as arena
from otad.studies import benchmark_flows, names
from otad.studies import benchmark_results as results
from otad.studies.reached import reached
from otad.studies.runner import rows_of

ONCE = [(study, cell) for study in results.STUDIES for cell in study.cells("smoke") if cell["seed"] == arena.FIRST_SEED]  # fmt: skip


def test_all_sixteen_methods_of_the_two_tables_take_part_and_each_in_one_study():
    printed = {
        results.printed_name(key)
        for table, metric in (("Table 1", "image_auroc"), ("Table 2", "pixel_auroc"))
        for key in ledger.numbers(paper="benchmark", table=table, metric=metric)["method"]
    }
    assert set(results.ORDER) == set(results.CONTESTANTS) == set(results.PLANS) == printed
    assert len(results.ORDER) == len(printed) == 16
    assert {study.name for study in results.STUDIES} <= set(names())
    assert not {"benchmark_arena", "benchmark_results"} & set(names())


def test_schools_are_those_of_the_printed_tables():
    for table in ("Table 1", "Table 2"):
        found = ledger.numbers(paper="benchmark", table=table, category="mean")
        for _, row in found.iterrows():
            assert f"family={results.SCHOOL[results.printed_name(row['method'])]}" in row["setting"]


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_cells_are_there_once_and_neither_seeds_nor_classes_that_choose_are_judged(scale):
    cells = [cell for _, cell in results.cells(scale)]
    assert len({json.dumps(cell, sort_keys=True) for cell in cells}) == len(cells)
    judged, chose = ([c for c in cells if (c["phase"] in ("search", "curve")) == held] for held in (False, True))  # fmt: skip
    assert min(c["seed"] for c in judged) >= arena.FIRST_SEED > arena.HELD_OUT
    assert {c["seed"] for c in chose} <= {arena.HELD_OUT}
    assert not {c["class"] for c in chose} & {c["class"] for c in judged}
    score = [c for c in cells if c["phase"] == "score"]
    classes = [c for group in arena.arena(scale).values() for c in group]
    assert len(score) == 16 * len(classes) * arena.n_seeds(scale)


def test_every_method_is_tried_as_often_and_what_was_chosen_was_tried():
    for plan in results.PLANS.values():
        assert len({json.dumps(tried) for tried in plan.tried}) == arena.TRIES
        assert 0 <= plan.chosen < arena.TRIES


def test_at_paper_scale_differnet_and_csflow_see_the_sizes_of_their_papers(monkeypatch):
    """Of pictures of 224 pixels: DifferNet 448, 224 and 112; CS-Flow 768, of which three maps of stride 32 halve."""
    side = arena.setting("paper")["side"]
    plans = {name: plan.settings("paper") for name, plan in benchmark_flows.PLANS.items()}
    assert [side * share for share in plans.pop("DifferNet")["sizes"]] == [448, 224, 112]
    assert plans.pop("CFlow") == {"epochs": 25 * 8}
    assert set(map(str, plans.values())) == {"{}"}
    monkeypatch.setattr(
        benchmark_flows, "efficientnet_b5", lambda *_: lambda x: [torch.nn.functional.avg_pool2d(x, 32)]
    )
    resized = benchmark_flows.BUILDS["CSFlow"]("paper", 0)
    assert resized.side == 768
    maps = resized.method.features(resized._resized(torch.rand(1, 3, side, side)))
    assert [m.shape[-1] for m in maps] == [24, 12, 6]


def test_another_choice_leaves_the_code_of_all_cells_as_it_was_and_a_method_counts_only_in_its_own_study():
    for study in results.STUDIES:
        seen = reached(study.compute.__module__, study.compute.__name__)
        assert not {name for _, name in seen} & {"PLANS", "Plan", "CONTESTANTS", "n_seeds", "SHARES"}
        part = results.PARTS[study.name]
        for name in results.ORDER:
            cls = (
                type(part.BUILDS[name]("smoke", 0, **part.PLANS[name].smoke)) if name in part.BUILDS else None
            )
            if cls is not None and cls.__name__ != "Smaller":
                assert (cls.__module__, cls.__name__) in seen, name
    flows = {where for where, _ in reached("otad.studies.benchmark_flows", "compute")}
    assert "otad.methods.density.padim" not in flows
    assert "otad.methods.flows.csflow" in flows


@pytest.mark.parametrize(("study", "cell"), ONCE, ids=[c["method"] for _, c in ONCE])
def test_each_contestant_learns_and_scores_at_smoke_scale(study, cell):
    (row,) = rows_of(study, "smoke", cell)
    assert cell.items() <= row.items()
    for metric in ("image", "image F1", "pixel", "PRO", "pixel F1"):
        assert 0 <= row[metric] <= 100, metric
    assert row["fit s"] >= 0 <= row["score s"]
    assert bool(row["losses"]) == ("epochs" in json.loads(cell["settings"]))
    assert np.isfinite(row["losses"]).all()
    json.dumps(row, allow_nan=False)


@pytest.mark.parametrize("name", ["PaDiM", "FastFlow", "NSA"])
def test_a_cell_is_the_same_when_it_is_computed_again_and_seeds_differ(name):
    study = next(s for s in results.STUDIES if name in results.PARTS[s.name].BUILDS)
    own = [c for c in study.cells("smoke") if c["method"] == name]
    first, again, other = (rows_of(study, "smoke", c)[0] for c in (own[0], own[0], own[1]))
    timed = ("fit s", "score s")
    assert {k: v for k, v in first.items() if k not in timed} == {
        k: v for k, v in again.items() if k not in timed
    }
    assert first["seed"] != other["seed"]
    assert first["pixel"] != other["pixel"]


def test_real_defects_have_no_pixels_to_be_judged():
    data = arena.pictures(arena.REAL, 3, "smoke")
    assert data.masks is None
    tops = torch.linspace(0, 1, len(data.test))
    row = arena.numbers(data, Scores(torch.rand(len(data.test), 64, 64), tops))
    assert row.keys() == {"image", "image F1"}
    assert row["image F1"] == pytest.approx(100 * f1_max(tops, data.labels)[0])


def test_a_perfect_map_has_all_that_can_be_had():
    data = arena.pictures("tile", 3, "smoke")
    assert data.masks is not None
    row = arena.numbers(data, Scores(data.masks.float(), data.labels.float()))
    assert list(row.values()) == pytest.approx([100.0] * 5)


def test_foreign_textures_are_of_no_class_that_is_judged_or_chooses():
    sources = results.reconstruction.foreign("smoke")
    assert sources.shape == (16, 3, 64, 64)
    there = {c for group in arena.arena("laptop").values() for c in group} | set(arena.SEARCHED)
    assert not there & {"grid", "wood", "grass", "gravel"}
    assert {"grid", "wood"} < set(textures.NAMES)
    assert {"grass", "gravel"} < set(photographs.NAMES)


def test_a_method_shown_smaller_pictures_answers_in_their_own_size():
    class Mean:
        def fit(self, images):
            assert images.shape[-2:] == (32, 32)
            self.losses_ = [3.0]
            return self

        def score(self, images):
            return Scores.of_maps(images.mean(1))

    smaller = arena.Smaller(Mean(), 32)
    images = torch.zeros(3, 3, 64, 48)
    images[1, :, :32] = 1
    said = smaller.fit(images).score(images)
    assert said.maps.shape == (3, 64, 48)
    assert said.maps[1, :24].min() > 0.9
    assert said.image_scores.argmax() == 1
    assert smaller.losses_ == [3.0]


def test_losses_are_thinned_and_the_last_stays():
    assert arena.some([]) == []
    assert arena.some([2.0, 1.0]) == [2.0, 1.0]
    kept = arena.some([float(i) for i in range(100)])
    assert len(kept) == arena.MARKS
    assert (kept[0], kept[-1]) == (0.0, 99.0)


# What the page asks -------------------------------------------------------------------------------


def row(phase, name, seed, method, **found):
    return {"phase": phase, "class": name, "seed": seed, "method": method, **found}


def test_classes_are_averaged_within_a_seed_and_a_seed_that_lacks_a_row_is_not_judged():
    rows = [
        row(
            "score",
            c,
            s,
            m,
            image=10.0 * s + 4 * (c == "b") + (m == "CFlow"),
            pixel=1.0 if c == "a" else None,
        )
        for s in (1, 2, 3)
        for c in ("a", "b")
        for m in ("PaDiM", "CFlow")
    ]
    scores = results.judged([*rows[:-1], row("search", "a", 0, "PaDiM", image=99.0)])
    table = results.by_seed(scores, "image")
    assert table.index.tolist() == [1, 2]  # the third lacks a row
    assert table.columns.tolist() == ["PaDiM", "CFlow"]
    assert table["PaDiM"].tolist() == [12.0, 22.0]
    assert table["CFlow"].tolist() == [13.0, 23.0]
    assert (results.by_seed(scores, "pixel") == 1).all(axis=None)
    with pytest.raises(ValueError, match="make results"):
        results.judged(rows[:3])


def test_the_best_setting_is_that_of_the_best_mean_over_held_out_classes():
    tried = [json.dumps(t) for t in results.PLANS["FastFlow"].tried]
    image = {"carpet": (50, 70, 60, 90), "dish": (50, 70, 90, 55)}
    rows = [row("search", c, 0, "FastFlow", settings=t, image=v, pixel=50.0) for c, vs in image.items() for t, v in zip(tried, vs, strict=True)]  # fmt: skip
    found = results.searched(rows)
    assert results.best(found) == {"FastFlow": 2}
    assert found.set_index("position")["score"].to_dict() == {0: 50, 1: 60, 2: 62.5, 3: 61.25}
    assert results.best(results.searched(rows[:-1])) == {}  # not all were tried on all classes
    assert results.best(results.searched([])) == {}


def test_a_curve_has_the_whole_from_the_search():
    plan = results.PLANS["DFR"]
    chosen = plan.tried[plan.chosen]
    rows = [row("curve", "dish", 0, "DFR", share=s, settings="{}", image=100 * s) for s in arena.SHARES]
    rows += [row("search", "dish", 0, "DFR", settings=json.dumps(t), image=77.0) for t in (chosen,)]
    rows += [
        row("search", "dish", 0, "PaDiM", settings=json.dumps(results.PLANS["PaDiM"].tried[0]), image=1.0)
    ]
    table = results.curves(rows)
    assert table.index.tolist() == ["DFR"]
    assert table.loc["DFR"].to_dict() == {0.25: 25, 0.5: 50, 1.0: 77, 2.0: 200}
    assert results.curves([]).empty
    assert results.curves([r for r in rows if r["phase"] == "search"]).empty  # the search alone is no curve


def test_settings_are_told_in_words():
    assert results.told('{"strides": [4, 8], "lr": 0.001, "clip": null, "epochs": 3}') == (
        "strides 4–8, lr 0.001, clip none, epochs 3"
    )
    assert results.position("PaDiM", "{}") == -1


def test_schools_are_compared_by_mean_and_by_best_in_print_and_by_seed():
    values = pd.Series({"DRAEM": 90.0, "R-D": 80.0, "PaDiM": 100.0, "SPADE": 60.0, "NSA": 71.0})
    counted = ["DRAEM", "R-D", "PaDiM", "SPADE"]
    assert results.schools(values, counted) == {"mean": -5.0, "best": 10.0}
    table = pd.DataFrame([values, values + 3], index=[100, 101])
    found = results.schools(table, counted)
    assert found["mean"].tolist() == [-5.0, -5.0]
    assert found["best"].tolist() == [10.0, 10.0]


def test_the_printed_schools_are_those_of_the_audit():
    old = ledger.printed("benchmark", "Table 1", "mvtec_ad", "image_auroc")["mean"].rename(
        results.printed_name
    )
    found = results.schools(old, old.index)
    assert found["mean"] == pytest.approx(95.95 - 98.25, abs=0.005)
    assert found["best"] == pytest.approx(99.4 - 98.5)


def test_leaders_of_print_meet_all_that_are_neither_bank_nor_flow():
    old = ledger.printed("benchmark", "Table 1", "mvtec_ad", "image_auroc")["mean"].rename(
        results.printed_name
    )
    pairs = results.leads(old, 3)
    assert {m for m, _ in pairs.values()} == {"FastFlow", "PatchCore", "CSFlow"}
    assert {r for _, r in pairs.values()} == {"DRAEM", "R-D", "PaDiM", "FYD", "CutPaste", "NSA"}
    assert min(results.gaps(old, pairs).values()) == pytest.approx(98.7 - 98.5)
    table = pd.DataFrame({"FastFlow": [99.4, 90.0], "R-D": [98.5, 91.0]})
    assert results.gaps(table, {"x": ("FastFlow", "R-D")})["x"] == pytest.approx([0.9, -1.0])


def test_the_best_length_is_none_beyond_the_last_epoch():
    learnt = pd.DataFrame(
        {0.25: [80.0, 10], 0.5: [85.0, 20], 1.0: [70.0, 30], 2.0: [99.0, 5]}, index=["DFR", "R-D"]
    )
    found = results.lengths(learnt)
    assert found["last epoch"].tolist() == [70, 30]
    assert found["best of ¼, ½, 1"].tolist() == [85, 30]
    assert found["twice the epochs"].tolist() == [99, 5]


def test_the_overview_names_every_setting_and_long_runs_stand_beside_their_own_class_and_seed():
    found = results.overview(results.searched([]))
    assert found.index.tolist() == list(results.ORDER)
    assert found.loc["DRAEM", "setting"].startswith("side 64")
    rows = [row("score", c, s, "NSA", image=10.0 * s + (c == "b"), pixel=1.0) for c in "ab" for s in (1, 2)]
    assert results.long_runs(rows).empty
    both = results.long_runs([*rows, row("long", "b", 2, "NSA", image=50.0, pixel=2.0)])
    assert both.index.tolist() == [("NSA", "b")]
    assert both.iloc[0].tolist() == [21.0, 50.0, 1.0, 2.0]


def test_dates_are_a_month_or_a_year_long():
    found = results.dates()
    assert found.loc["PatchCore"].tolist() == pytest.approx([2021 + 5 / 12, 2021.5])
    assert found.loc["CSFlow"].tolist() == [2022, 2023]
    assert ((found["until"] - found["from"]).round(6).isin([round(1 / 12, 6), 1.0])).all()
    assert found["until"].max() <= 2023
