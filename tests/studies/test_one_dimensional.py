import numpy as np
import pytest

from otad.studies.one_dimensional import (
    draw,
    gain_of_nudges,
    gain_over_median,
    identity_gap,
    least_sum,
    sorting_gaps,
)
from otad.transport import wasserstein_1d


def rng():
    return np.random.default_rng(0)


def test_sorting_meets_both_referees():
    assert max(sorting_gaps(rng(), 3)) < 1e-12


def test_the_identity_is_tried_under_both_tie_rules():
    worst, tried = identity_gap(rng(), 4)
    assert worst < 1e-12
    assert tried % 2 == 0
    assert tried >= 8


def test_referees_see_an_error_in_what_they_judge(monkeypatch):
    monkeypatch.setattr(
        "otad.studies.one_dimensional.wasserstein_1d", lambda x, y: wasserstein_1d(x, y) + 0.1
    )
    assert sorting_gaps(rng(), 2) == pytest.approx((0.1, 0.1))
    monkeypatch.setattr("numpy.median", lambda patches, axis: patches.mean(axis))
    assert gain_over_median(rng(), 5) > 0.01


def test_draws_come_in_five_kinds():
    seen = [draw(np.random.default_rng(k), 2, 13) for k in range(40)]
    assert {x.shape for x in seen} == {(2, 13)}
    assert any((x == 0).sum() > 5 for x in seen)  # rectified
    assert any(np.allclose(15 * x, np.round(15 * x)) for x in seen)  # grey levels


def test_nothing_sorted_beats_the_median_and_the_mean_is_beaten():
    tiles = np.sort(rng().exponential(size=(7, 13)), axis=1)

    def cost(references):
        return wasserstein_1d(tiles[:, None], np.atleast_2d(references)).sum(0).numpy()

    assert gain_of_nudges(rng(), np.median(tiles, axis=0), cost, 3) < 1e-12
    assert gain_of_nudges(rng(), tiles.mean(axis=0), cost, 3) > 1e-3
    assert gain_over_median(rng(), 3) < 1e-9


def test_the_linear_program_knows_a_sum_done_by_hand():
    assert least_sum(np.array([[0.0, 1.0], [0.0, 3.0], [2.0, 4.0]])) == pytest.approx(2 + 3)
