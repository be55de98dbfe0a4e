"""What page 15 measures: every sweep is of its own size alone, and a clock counts calls."""

import time

import pytest
import torch

from otad.studies import clocks, names


def test_a_short_call_is_repeated_until_enough_time_has_passed():
    calls = []
    spent = clocks.seconds(lambda: calls.append(sum(range(1000))), least=0.01)
    assert len(calls) > 10
    assert 0 < spent < 0.01
    calls.clear()
    clocks.seconds(lambda: calls.append(0), least=0.0, repeats=3)
    assert len(calls) == 3


def test_sleep_costs_no_processor_time():
    assert clocks.seconds(lambda: time.sleep(0.05), least=0.0) < 0.04


def test_in_a_sweep_one_size_grows_and_all_else_stands_still():
    points = clocks.settings("laptop")
    for variable, methods in clocks.SWEEPS.items():
        swept = "n" if variable == "N" else variable
        for method in methods:
            of = [p for p in points if (p["in"], p["method"]) == (variable, method)]
            values = [p.pop(swept) for p in of]
            assert values == sorted(set(values))
            assert len(values) >= 4
            assert all(p == of[0] for p in of)
            assert {"n", "T", "C"} <= of[0].keys() | {swept}


def test_every_method_runs_on_a_map_that_is_not_square():
    f = clocks.noise(17, 3)[:, :13]
    assert {m: tuple(work(f, 3).shape) for m, work in clocks.METHODS.items()} == dict.fromkeys(
        clocks.METHODS, (13, 17)
    )
    assert torch.equal(
        clocks.METHODS["FCA + KNN"](f, 3, K=55), clocks.METHODS["FCA + KNN"](f, 3)
    )  # 13·17 // 4


def test_the_kernel_gives_what_the_plain_version_gives():
    f = clocks.noise(15, 4)
    assert clocks.fca(f, 5, engine="kernel") == pytest.approx(clocks.fca(f, 5), abs=1e-6)


def test_times_are_no_study_to_be_stored():
    assert "clocks" not in names()
    found = clocks.swept("smoke", 2, 0.0)
    assert (found["seconds"] > 0).all()
    assert len(found) == 2 * len(clocks.settings("smoke"))
    assert clocks.duel(9, 2, 3, ("FCA", "Aota"), 0.0).keys() == {"FCA", "Aota"}
