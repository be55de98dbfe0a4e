"""RegAD's study: the class that is judged is not learnt on, splits are those of its rivals, and the rate was chosen on held-out ones."""

from types import SimpleNamespace

import pytest

from otad import ledger
from otad.studies import few_shot, foct_regad, foct_results


@pytest.mark.parametrize("arena", ["aligned", "turned", "textures"])
@pytest.mark.parametrize("name", ["bottle", "carpet"])
def test_what_is_judged_is_not_learnt_on(arena, name, monkeypatch):
    for place in (foct_regad.scenes, foct_regad.textures):
        monkeypatch.setattr(place, "load", lambda which, *more, **own: SimpleNamespace(train=which))
    monkeypatch.setattr(few_shot, "turned", lambda which, *more: SimpleNamespace(train=f"{which}, turned"))
    found = foct_regad.others(arena, name, "laptop")
    classes = {*few_shot.scenes.NAMES, *foct_regad.textures.NAMES}
    assert {one.removesuffix(", turned") for one in found} == classes - {name}
    turned = {one for one in found if one.endswith(", turned")}
    assert len(turned) == (len(set(few_shot.scenes.NAMES) - {name}) if arena == "turned" else 0)


def test_splits_are_those_of_the_rivals():
    cells = foct_regad.cells("laptop")
    judged = [c for c in cells if c["what"] == "score"]
    rivals = [c for c in foct_results.cells("laptop") if c["what"] == "score"]
    mine = {(c["arena"], c["class"], seed) for c in judged for seed in c["splits"]}
    assert mine == {(c["arena"], c["class"], c["seed"]) for c in rivals}
    assert {c["lr"] for c in judged} == {foct_regad.CHOSEN}
    looked = [c for c in cells if c["what"] == "search"]
    assert {seed for c in looked for seed in c["splits"]} == {*few_shot.HELD_OUT}
    assert {c["lr"] for c in looked} == {*foct_regad.RATES, *foct_regad.BEYOND}


def test_a_cell_has_a_row_a_split_and_number_of_shots():
    cell = foct_regad.cells("smoke")[-1]
    rows = list(foct_regad.compute(cell | {"splits": [100]}, "smoke"))
    assert [(row["seed"], row["shots"]) for row in rows] == [(100, k) for k in few_shot.SHOTS]
    assert all(0 <= row[key] <= 100 for row in rows for key in ("image", "image F1", "pixel", "pixel F1"))


def test_the_rate_is_the_one_that_held_out_splits_choose():
    assert foct_regad.best_rate(ledger.stored("foct_regad").value) == foct_regad.CHOSEN
