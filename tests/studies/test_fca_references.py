"""What page 12 asks of its scores, maps and times."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from otad.studies import fca_reference_clocks as clocks
from otad.studies import fca_references as study
from otad.studies import names

NAMES, KS = study.NAMES, study.KS


def test_each_claim_is_asked_of_a_number_and_of_a_series_alike():
    v = {(n, r): 10.0 * i for n in NAMES for i, r in enumerate(study.REFERENCES)}
    asked = study.inequalities(v)
    assert {claim: len(of) for claim, of in asked.items()} == {"fca-04": 8, "fca-06": 15, "fca-08": 2}
    assert asked["fca-04"]["SWW: median over random 1"] == 50
    assert asked["fca-06"]["FCA: random 10 over 3"] == 10
    assert asked["fca-06"]["FCA: gain to random 3 over gain to random 10"] == 0  # equal steps do not shrink
    assert asked["fca-08"]["histogram: all over average"] == -10
    many = study.inequalities({key: pd.Series([x, 2 * x]) for key, x in v.items()})
    assert many["fca-04"]["SWW: median over random 1"].tolist() == [50, 100]


def test_maps_of_a_statistic_share_a_scale_that_the_border_has_no_part_in():
    maps = {
        (n, r): torch.full((20, 24), 10.0 * k + i) for k, n in enumerate(NAMES) for i, r in enumerate("ab")
    }
    maps["SWW", "a"][0] = 99.0  # half a patch from the edge
    shown = study.side_by_side(maps, ["a", "b"], "smoke")
    assert {r: tuple(m.shape) for r, m in shown["methods"].items()} == {"a": (3, 64, 64), "b": (3, 64, 64)}
    assert shown["methods"]["b"][:, 30, 30].tolist() == [1, 11, 21]
    assert shown["scales"] == {r: [[0, 1], [10, 11], [20, 21]] for r in "ab"}


@pytest.fixture
def times():
    """Three seeds, on which each statistic takes a second and half a second a reference."""
    one = {(n, k): 1 + 0.5 * k for n in NAMES for k in {*KS, *clocks.STEP[n]}}
    one |= {(n, label): 1.5 for n in NAMES for label in ("aggregate", "package")}
    one |= {(n, "exact"): 3.0 for n in NAMES}
    return pd.DataFrame([pd.Series(one)] * 3)


def test_a_line_is_found_and_all_cannot_cost_less_than_a_hundred(times):
    found = clocks.lines(times, 10_000)
    assert found.loc["SWW", ["a", "b", "R2"]].to_numpy() == pytest.approx(np.array([[1, 0.5, 1]] * 3))
    assert found["all"].tolist() == pytest.approx([5001] * 9)
    assert clocks.lines(times, 10)["all"].tolist() == pytest.approx([51] * 9)


def test_the_rows_of_the_table_are_those_of_print_and_the_package_s_own(times):
    took = clocks.took(times, clocks.lines(times, 10_000))
    assert list(took.index[:6]) == study.REFERENCES[:6]
    assert took["FCA"].to_numpy() == pytest.approx([1.5, 2.5, 6, 51, 5001, 1.5, 3, 1.5])


def test_what_is_drawn_ends_at_all(times):
    drawn = clocks.curves(times, clocks.lines(times, 10_000), 10_000)["FCA"]
    assert list(drawn["loop"].columns) == list(KS)
    assert drawn["loop, by the line"][10_000].tolist() == pytest.approx([5001])
    assert drawn["all, exact"][10_000].tolist() == [3, 3, 3]


def test_on_a_line_the_exponent_is_one_and_a_root_is_found_out(times):
    assert {n: p.tolist() for n, p in clocks.powers(times).items()} == {
        n: pytest.approx([1] * 3) for n in NAMES
    }
    for k in KS:
        times["FCA", k] = 1 + 0.5 * (k - 1) ** 0.7
    assert clocks.powers(times)["FCA"].tolist() == pytest.approx([0.7] * 3)
    margins = clocks.margins(times, clocks.lines(times, 10_000), close=1.25, straight=0.1, many=1000)
    assert margins["fca-07"]["FCA: exponent above 0.9"] == pytest.approx([-0.2] * 3)
    assert margins["fca-07"]["SWW: exponent below 1.1"] == pytest.approx([0.1] * 3)
    assert margins["fca-07"]["SWW: shared cost above zero"] == pytest.approx([1 / 1.5] * 3)


def test_margins_of_ratios_are_logarithms_and_vanish_at_their_bound(times):
    times["SWW", "aggregate"] = 1.25 * times["SWW", 1]
    found = clocks.margins(times, clocks.lines(times, 10_000), close=1.25, straight=0.1, many=1000)["fca-05"]
    assert len(found) == 6
    assert found["SWW: median at most 1.25 times one reference"] == pytest.approx([0] * 3, abs=1e-12)
    assert found["SWW: one reference at most 1.25 times the median"] == pytest.approx(
        [2 * math.log(1.25)] * 3
    )
    assert found["FCA: all over 1000 times the median"] == pytest.approx([math.log(5001 / 1500)] * 3)


def test_parts_of_a_picture_are_added_up():
    part = {"network": 2.0, "sort": 1.0, "a reference": 1.0, "N": 10, "selection": 3.0}
    parts = pd.DataFrame([part | {"FCA, T = 3": 1.0, "FCA, T = 9": 2.0}] * 2)
    assert clocks.with_one(parts).tolist() == [4, 4]
    assert clocks.with_all(parts).tolist() == [16, 16]
    assert {T: x.tolist() for T, x in clocks.network_shares(parts).items()} == {3: [2 / 3] * 2, 9: [0.5] * 2}
    assert clocks.budget(parts).loc["loop: 10 references, by the line", "seconds"] == 10


def test_a_map_that_is_too_large_is_scaled_up_from_a_few_channels(monkeypatch):
    monkeypatch.setattr(clocks, "everybody", lambda channels, side: 2.0 * channels)
    monkeypatch.setattr(clocks, "one_reference", lambda side: 0.5)
    assert clocks.largest(3, 100, 300) == {"exact": 200, "ran": 100, "loop": 450}
    assert clocks.largest(3, 100, 10) == {"exact": 200, "ran": 4, "loop": 450}


def test_a_clock_that_is_given_is_read_before_and_after_each_run():
    ticks = iter([0.0, 5.0, 5.0, 8.0])
    assert clocks.clocks.seconds(lambda: None, 0.0, 2, lambda: next(ticks)) == 3


def test_times_are_no_study_to_be_stored():
    assert "fca_reference_clocks" not in names()
    found = clocks.over(range(300, 302), 32, 1)
    assert len(found) == 2
    assert (found.to_numpy() >= 0).all()
    assert {*KS, "aggregate", "exact", "package"} <= set(found["SWW"].columns)
