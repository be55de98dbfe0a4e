"""The rules of page 90, by hand and against what is known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from otad import ledger, methods
from otad.judgement import t_interval
from otad.metrics import image_auroc
from otad.studies import choosing, ttad_qualitative, which_method


def test_every_method_has_a_school():
    assert {choosing.school(m) for m in methods.METHODS} == set(choosing.SCHOOLS)
    assert choosing.school("R-D") == "distillation"
    with pytest.raises(ValueError, match="there is no method 'Delphi'"):
        choosing.school("Delphi")


def _scores(n=40, k=3):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2 == 1
    return pd.DataFrame(
        rng.normal(size=(n, 3))[:, :k] + labels[:, None] * [2.0, 1.9, 0.0][:k], columns=list("abc")[:k]
    ), labels


def test_auroc_is_that_of_the_package_and_its_error_that_of_many_draws():
    scores, labels = _scores()
    mean, covariance = choosing.delong(scores.to_numpy(), labels)
    assert mean == pytest.approx([100 * image_auroc(scores[c].to_numpy(), labels) for c in scores])
    rng, drawn = np.random.default_rng(1), []
    bad, good = np.flatnonzero(labels), np.flatnonzero(~labels)
    for _ in range(2000):
        some = np.concatenate([rng.choice(bad, len(bad)), rng.choice(good, len(good))])
        drawn.append(choosing.delong(scores.to_numpy()[some], labels[some])[0])
    assert np.sqrt(covariance.diagonal()) == pytest.approx(np.std(drawn, axis=0), rel=0.15)
    with pytest.raises(ValueError, match="1 defective pictures and 3 good ones"):
        choosing.delong(np.ones((4, 2)), np.array([True, False, False, False]))


def test_two_good_methods_are_alike_and_a_guesser_is_not():
    found = choosing.over_pictures([_scores(), _scores()])
    assert list(found.index[found["slack"] <= 0]) == ["a", "b"]
    single = choosing.over_pictures([_scores()])
    width = lambda t: t["high"] - t["low"]  # noqa: E731
    assert width(found)["c"] == pytest.approx(width(single)["c"] / np.sqrt(2))  # two classes, alike
    chosen = choosing.choose(found, pd.Series({"a": 3.0, "b": 1.0, "c": 0.0}))
    assert (chosen.name, chosen.alike) == ("b", ("a", "b"))
    assert chosen.low < chosen.score == found.loc["b", "score"] < chosen.high


def test_ties_are_alike_and_the_same_scores_have_no_lead():
    scores, labels = _scores(k=1)
    found = choosing.over_pictures([(scores.assign(b=scores["a"]), labels)])
    assert found["slack"].tolist() == [0, 0]


def test_seeds_are_paired():
    level = np.array([60.0, 70, 80, 90, 75])
    noise = np.array([0.1, -0.1, 0.0, 0.1, -0.1])
    values = pd.DataFrame({"a": level, "b": level - 1 + noise, "c": level[::-1] - 2})
    found = choosing.over_seeds(values)
    assert found.loc["b", "slack"] > 0  # a point behind, always
    assert found.loc["c", "slack"] < 0  # two points behind, in most other seeds not
    mean, low, high = t_interval(level)
    assert found.loc["a", ["score", "low", "high"]].tolist() == pytest.approx([mean, low, high])
    with pytest.raises(ValueError, match="expected two seeds or more"):
        choosing.over_seeds(values[:1])


def test_nobody_is_recommended_who_may_be_guessing():
    found = pd.DataFrame(
        {"score": [55.0, 52], "low": [48.0, 45], "high": [62.0, 59], "slack": [0.0, -4]}, ["a", "b"]
    )
    cost = pd.Series({"a": 2.0, "b": 1.0})
    assert choosing.choose(found, cost).name == "none"
    assert choosing.choose(found, cost, floor=0).name == "b"
    with pytest.raises(ValueError, match="no cost is known of b"):
        choosing.choose(found, cost[:1])


def test_a_cheap_method_far_behind_is_not_recommended_though_nothing_is_proven():
    found = pd.DataFrame(
        {"score": [90.0, 84, 86], "low": [80.0, 70, 75], "high": [99.0, 95, 97], "slack": [0.0, -9, -9]},
        ["a", "b", "c"],
    )
    chosen = choosing.choose(found, pd.Series({"a": 3.0, "b": 1.0, "c": 2.0}))
    assert (chosen.name, chosen.best, chosen.alike) == ("c", "a", ("a", "b", "c"))


def test_words():
    ends = {"finds": (76, 99), "fails": (40, 74), "?": (60, 90)}
    assert {choosing.word(*pair) for pair in ends.values()} == set(ends)
    assert all(choosing.word(*pair) == told for told, pair in ends.items())


def _rows():
    known = [[], [], ["logical"], ["structural", "tiny"], ["structural"], ["logical"]]
    pictures = [{"what": "pictures", "class": "x", "groups": g} for g in known]
    of = {"PaDiM": [0, 1, 9, 8, 7, 6], "FCA": [0, 5, 1, 1, 9, 2]}
    common = {"what": "board", "class": "x", "n": 4, "fit s": 1.0, "picture ms": 2.0, "kept": 10}
    few = [
        {"what": "few", "class": c, "seed": s, "method": "PaDiM", "n": n, "image logical": 50.0 + n * s}
        for c in "xy"
        for s in (1, 2)
        for n in (1, 4)
    ]
    return pictures + [common | {"method": m, "tops": t} for m, t in of.items()] + few


def test_rows_as_tables():
    rows = _rows()
    assert list(choosing.board(rows).index) == ["FCA", "PaDiM"]  # by school
    kinds = choosing.by_kind(rows, ("structural", "logical", "tiny", "texture"))
    assert list(kinds) == ["structural", "logical"]  # a single tiny one is too few
    assert kinds["logical"].loc["PaDiM", "score"] == 100
    assert kinds["structural"].loc["FCA", "score"] == 75
    said = choosing.words(kinds)
    assert said.loc["PaDiM", "finds"] == "structural, logical"
    ((scores, labels),) = choosing.tops(rows)
    assert len(scores) == 6
    assert labels.sum() == 4
    other = [{"what": "pictures", "class": "y", "groups": g} for g in ([], [], ["texture"], ["texture"])]
    more = {"what": "board", "class": "y", "method": "FCA", "tops": [0, 1, 2, 3]}
    assert [list(scores) for scores, _ in choosing.tops([*rows, *other, more])] == [["FCA"], ["FCA"]]


def test_seeds_with_gaps_are_left_out():
    rows = _rows()
    assert choosing.whole(rows) == [r for r in rows if r["what"] == "few"]
    third = [r | {"seed": 3} for r in choosing.whole(rows) if r["seed"] == 1]
    assert {r["seed"] for r in choosing.whole([*rows, *third[:-1]])} == {1, 2}
    assert choosing.whole(rows[:-1]) == []  # a single seed has no interval


def test_fewer_pictures_by_seed():
    table = choosing.fewer(_rows(), "PaDiM")
    assert table.loc[2].to_dict() == {1: 52.0, 4: 58.0}
    rising = pd.DataFrame({1: [50.0, 52, 51], 4: [80.0, 81, 83], 16: [80.5, 80.5, 83.2]})
    assert choosing.enough(rising) == 4


def test_rows_of_other_pages_have_a_column_a_method():
    tables = {
        "alone": choosing.alone(ledger.stored("fca_results").value),
        "one": choosing.few_shots(ledger.stored("foct_results").value, 1),
        "out of place": choosing.out_of_place(ledger.stored("pradot_results").value),
        "light": choosing.other_light(ledger.stored("ttad_qualitative").value),
    }
    assert {name: table.shape[1] for name, table in tables.items()} == {
        "alone": 5,
        "one": 4,
        "out of place": 2,
        "light": 4,
    }
    for table in tables.values():
        assert len(table) >= 5
        assert not table.isna().any(axis=None)
        assert all(choosing.school(m) for m in table)


def test_a_defect_is_hit_where_it_is_brighter_than_good_pictures():
    mask = np.zeros((8, 12), bool)
    mask[5, 7] = True  # block (2, 2) of a map of 4 × 4
    small = np.full((4, 4), 0.49)
    assert not choosing.hits(small, mask)
    small[2, 2] = 0.6
    assert choosing.hits(small, mask)
    assert not choosing.hits(small[::-1], mask)


def test_hits_are_counted_over_classes():
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[1, 4:, 4:] = True
    small = np.zeros((2, 4, 4))
    small[1, 3, 3] = 0.9
    told = choosing.told_hits(
        {"x": (None, masks, None), "y": (None, masks, None)}, {"a": {"x": small, "y": 0 * small}}
    )
    assert told.startswith("Of 2 defects")
    assert told.endswith(": a 1.")


def test_a_recommendation_is_laid_out_with_its_score_and_those_that_are_alike():
    found = pd.DataFrame(
        {"score": [90.0, 84], "low": [80.0, 70], "high": [99.0, 95], "slack": [0.0, -9]}, ["a", "b"]
    )
    choices = {
        "one": choosing.choose(found, pd.Series({"a": 2.0, "b": 1.0})),
        "none": choosing.choose(found, pd.Series({"a": 2.0, "b": 1.0}), floor=85),
    }
    table = choosing.recommended(choices, dict.fromkeys(choices, found), {"one": range(7)})
    assert table.loc["one"].tolist() == ["a", "90 [80, 99]", "a 90", "1 of 1", "7 seeds"]
    assert table.loc["none", ["recommended", "its score", "over"]].tolist() == ["none", "–", "pictures"]


def test_the_benchmark_says_what_it_lacks():
    def rows(seeds):
        return [
            {"phase": "score", "seed": s, "method": m, "class": "x"}
            for s in seeds
            for m in ("PaDiM", "SPADE")
        ]

    def found(kept):
        def stored(name):
            if name not in kept:
                raise ValueError("nothing")
            return SimpleNamespace(value=kept[name])

        return choosing.contest([which_method.STUDY, ttad_qualitative.STUDY], stored, 5)

    whole = {"which_method": rows(range(1, 5)), "ttad_qualitative": rows([5])}
    table, lacking = found(whole)
    assert (len(table), lacking) == (10, "")
    assert found({"which_method": []})[1] == "there are no rows of ttad_qualitative"
    assert (
        "no seed has a row of every method"
        in found({key: [] for key in whole} | {"which_method": rows([1])[:1] + rows([2])[1:]})[1]
    )
    assert found(whole | {"which_method": []})[1] == "1 of its seeds is whole, and below 5 nothing is judged"
    assert found(whole | {"ttad_qualitative": []})[1].startswith("4 of its seeds are whole")
