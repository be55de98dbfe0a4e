"""Rivals of TTAD's and PRADOT's tables: all that are printed take part, with settings that were tried, and a row says what its page needs."""

import json

import pandas as pd
import pytest

from otad import ledger
from otad.studies import pradot_results, pradot_rivals, rivals, ttad_rivals
from otad.studies.benchmark_arena import HELD_OUT, SEARCHED, TRIES
from otad.studies.runner import rows_of
from otad.studies.shifted import MATCHED

ONCE = [
    (part.STUDY, cell)
    for part, first in ((pradot_rivals, "transistor"), (ttad_rivals, None), (rivals, "tile"))
    for cell in part.cells("smoke")
    if (first is None or cell["class"] == first) and cell["seed"] == 100
]


def test_all_that_print_names_and_pages_did_not_measure_take_part():
    printed = set(ledger.numbers(paper="pradot", table="Table 1")["method"])
    assert {name.lower() for name in pradot_rivals.NAMES.values()} == printed - {"pradot", "patchcore"}
    printed = set(ledger.numbers(paper="ttad", table="Table 1")["method"])
    measured = {"patchcore", "tttpp", "ttac", "ttad", "gnl"}  # on pages 33 and 36
    assert set(ttad_rivals.NAMES.values()) == printed - measured - {
        "vitad"
    }  # needs weights that no package has


def test_the_search_is_as_large_as_the_benchmarks_and_on_its_held_out_classes():
    cells = rivals.cells("laptop")
    assert (
        len({json.dumps(cell) for cell in cells}) == len(cells) == len(rivals.PLANS) * TRIES * len(SEARCHED)
    )
    assert {cell["class"] for cell in cells} == set(SEARCHED)
    assert {cell["seed"] for cell in cells} == {HELD_OUT}


@pytest.mark.parametrize("study", [pradot_rivals, ttad_rivals])
def test_settings_are_those_that_were_chosen(study):
    for cell in study.cells("laptop"):
        plan = rivals.ALL_PLANS[cell["method"]]
        assert json.loads(cell["settings"]) == json.loads(json.dumps(plan.tried[plan.chosen]))


@pytest.mark.parametrize(("study", "cell"), ONCE, ids=[f"{s.name} {c['method']}" for s, c in ONCE])
def test_each_rival_learns_and_scores_at_smoke_scale(study, cell):
    rows = rows_of(study, "smoke", cell)
    assert all(0 <= row["image"] <= 100 and 0 <= row["pixel"] <= 100 for row in rows)
    if study.name == "pradot_rivals":
        (row,) = rows
        assert row["method"] == pradot_rivals.NAMES[cell["method"]]
        assert {"image logical", "sPRO mean"} <= row.keys()
    if study.name == "ttad_rivals":
        assert [row["condition"] for row in rows] == ["clean", *MATCHED]


def test_rivals_see_the_pictures_that_pradot_sees():
    rows = {(c["class"], c["seed"]) for c in pradot_rivals.cells("laptop")}
    assert rows <= {(c["class"], c["seed"]) for c in pradot_results.cells("laptop") if c["what"] == "score"}


def test_a_seed_that_lacks_a_cell_counts_for_no_method():
    rows = [
        {"class": c, "seed": s, "method": m, "image": v}
        for s, v in ((100, 80.0), (101, 90.0))
        for c in ("a", "b")
        for m in ("STPM", "SPADE")
    ]
    whole = pd.DataFrame([row for row in rows if (row["seed"], row["method"]) != (101, "SPADE")])
    assert pradot_rivals.means(pd.DataFrame(rows))["image"].to_dict() == {"STPM": 85.0, "SPADE": 85.0}
    assert pradot_rivals.means(whole)["image"].to_dict() == {"STPM": 80.0, "SPADE": 80.0}


def test_rivals_that_do_not_adapt_stand_in_the_papers_order_and_under_its_names():
    rows = [
        {"method": m, "condition": c, "seed": s, "image": 10.0 * i + s}
        for i, m in enumerate(ttad_rivals.NAMES)
        for c in ("clean", "contrast")
        for s in (1, 3)
    ]
    found = ttad_rivals.means(rows, "image", ["contrast", "clean"])
    assert list(found.index) == ["KDAD", "RD4AD", "UniAD", "CFLOW"]
    assert found["contrast"].tolist() == [2.0, 12.0, 22.0, 32.0]
