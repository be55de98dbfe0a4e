"""The rule of verdicts: its parts against scipy and statsmodels, its words on hand-made margins, its errors by simulation."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from otad.judgement import holm, judge, needed, ranks, t_interval

FIVE = np.array([0.5, 0.6, 0.4, 0.5, 0.6])


def test_interval_and_p_values_agree_with_scipy():
    x = np.random.default_rng(0).normal(0.3, 1.0, 13)
    mean, low, high = t_interval(x)
    interval = stats.ttest_1samp(x, 0.0).confidence_interval(0.95)
    assert mean == pytest.approx(x.mean())
    assert (low, high) == pytest.approx((interval.low, interval.high))
    found = judge({"a": x})
    assert found.p == pytest.approx(stats.ttest_1samp(x, 0.0).pvalue)
    assert found.inequalities["a"].p_for == pytest.approx(
        stats.ttest_1samp(x, 0.0, alternative="greater").pvalue
    )


def test_holm_agrees_with_statsmodels():
    p = np.random.default_rng(1).uniform(0, 0.2, 17) ** 2
    p[3] = p[5]
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([]) == []


@pytest.mark.parametrize(
    ("margins", "word"),
    [
        ({"a": FIVE}, "holds"),
        ({"a": -FIVE}, "fails"),
        ({"a": [0.5, -0.6, 0.4, -0.5, 0.6]}, "inconclusive"),
        ({"a": FIVE[:4]}, "inconclusive"),  # too few seeds
        ({"a": np.ones(5)}, "holds"),  # no spread at all
        ({"a": np.zeros(5)}, "inconclusive"),
        ({"a": FIVE, "b": FIVE + 1}, "holds"),
        ({"a": FIVE, "b": [0.5, -0.6, 0.4, -0.5, 0.6]}, "inconclusive"),
        ({"a": FIVE, "b": -FIVE}, "fails"),
    ],
)
def test_the_word_follows_the_intervals(margins, word):
    assert judge(margins).word == word


def test_a_reversal_must_survive_holm_over_the_inequalities():
    weak = -np.array([0.1, 0.5, 0.3, 0.9, 0.4])
    assert judge({"weak": weak}).word == "fails"
    crowd = {str(i): FIVE for i in range(17)}
    found = judge({"weak": weak, **crowd})
    assert (found.word, found.worst, found.n_hold, found.n_reversed) == ("inconclusive", "weak", 17, 0)


def test_negligible_needs_every_interval_within_the_smallest_effect():
    near = np.array([0.1, -0.1, 0.05, -0.05, 0.02])
    assert judge({"a": near}, smallest_effect=0.5).word == "negligible"
    assert judge({"a": near}, smallest_effect=0.05).word == "inconclusive"
    assert judge({"a": near, "b": 20 * near}, smallest_effect=0.5).word == "inconclusive"
    assert judge({"a": FIVE}, smallest_effect=2.0).word == "holds"  # small, but there
    equal = judge({"a": near}, smallest_effect=0.5)
    low, high = (
        stats.ttest_1samp(near, b, alternative=a).pvalue for b, a in ((-0.5, "greater"), (0.5, "less"))
    )
    assert equal.p == pytest.approx(2 * max(low, high))


@pytest.mark.parametrize(
    ("centre", "word"), [(0.0, "holds"), (3.0, "fails"), (-3.0, "fails"), (1.0, "inconclusive")]
)
def test_closeness_is_judged_by_a_band(centre, word):
    values = centre + np.array([0.1, -0.1, 0.05, -0.05, 0.02])
    found = judge({"difference": values}, band=(-1.0, 1.0))
    assert found.word == word
    e = found.inequalities["difference"]
    assert (e.low > -1 and e.high < 1) == (word == "holds")
    assert (e.low > 1 or e.high < -1) == (word == "fails")


@pytest.mark.parametrize(
    ("margins", "more", "said"),
    [
        ({}, {}, "margins must map"),
        ([0.1, 0.2], {}, "margins must map"),
        ({"a": [0.1]}, {}, "at least two finite numbers"),
        ({"a": [0.1, math.nan]}, {}, "at least two finite numbers"),
        ({"a": [[0.1, 0.2]]}, {}, "at least two finite numbers"),
        ({"a": "ab"}, {}, "at least two finite numbers"),
        ({"a": [1.0, 2.0], "b": [1.0, 2.0, 3.0]}, {}, "each of the same seeds"),
        ({"a": [1.0, 2.0]}, {"smallest_effect": 0}, "positive number"),
        ({"a": [1.0, 2.0]}, {"band": (1, 1)}, "low < high"),
        ({"a": [1.0, 2.0]}, {"band": (0, 1), "smallest_effect": 1.0}, "got both"),
    ],
)
def test_what_cannot_be_judged_is_refused(margins, more, said):
    with pytest.raises(ValueError, match=said):
        judge(margins, **more)


def test_a_single_inequality_is_detected_as_its_power_says():
    from statsmodels.stats.power import TTestPower

    x = np.random.default_rng(2).normal(0, 1.7, 11)
    effect = judge({"a": x}).detectable / x.std(ddof=1)
    # One-sided at 2.5 %: what the interval's lower end does.
    power = TTestPower().power(effect, 11, 0.025, alternative="larger")
    assert power == pytest.approx(0.8, abs=1e-3)


def test_more_inequalities_need_a_larger_margin():
    x = np.random.default_rng(3).normal(0, 1, (8, 9))
    one, eight = judge({"a": x[0]}).detectable, judge({str(i): v for i, v in enumerate(x)}).detectable
    assert 0 < one < eight


@pytest.mark.parametrize("n", [5, 10, 20])
def test_a_far_more_certain_inequality_costs_no_power(n):
    x = np.random.default_rng(4).normal(0, 1, n)
    assert judge({"a": x, "b": x / 1e4}).detectable == pytest.approx(judge({"a": x}).detectable)


# The rule by simulation: false words at most as often as promised


RUNS, N = 500, 5


@pytest.mark.parametrize(
    ("signs", "shift", "rule", "expected"),
    [
        ((1,), 0.0, {}, "holds"),
        ((1, -1), 0.0, {}, "fails"),
        ((1,), -0.383, {"smallest_effect": 0.6}, "negligible"),
    ],
)
def test_so_many_seeds_decide_an_inconclusive_claim_in_four_runs_of_five(signs, shift, rule, expected):
    x = np.array([0.9, -0.4, 1.1, 0.2, -0.3, 0.8]) + shift
    claim = {f"{s:+d}": s * x for s in signs}
    assert judge(claim, **rule).word == "inconclusive"
    n, word = needed(claim, **rule)
    assert word == expected
    noise = x.std(ddof=1) * np.random.default_rng(0).standard_normal((1500, len(signs), n))
    again = [
        {s: m + e for s, m, e in zip(claim, np.array(signs) * x.mean(), one, strict=True)} for one in noise
    ]
    assert np.mean([judge(one, **rule).word == word for one in again]) == pytest.approx(0.8, abs=0.035)


def test_no_number_of_seeds_decides_what_is_nothing():
    x = np.array([0.9, -0.4, 1.1, 0.2, -0.3, 0.8])
    assert needed({"a": x - x.mean()}) is None
    assert needed({"a": x - x.mean() + 0.01}) is None
    assert needed({"a": 10 + x}, band=(9.5, 12.5))[1] == "holds"
    assert needed({"a": 10 + x}, band=(10.9, 12.5))[1] == "fails"
    assert needed({"a": np.ones(3)}) == (5, "holds")  # what never varies needs the least that the rule allows


def _words(truth, k, rho, seed, smallest_effect=None):
    """Share of each word in RUNS claims of k inequalities, standard deviation 1, correlation rho between them."""
    rng = np.random.default_rng(seed)
    noise = math.sqrt(rho) * rng.normal(size=(RUNS, 1, N)) + math.sqrt(1 - rho) * rng.normal(
        size=(RUNS, k, N)
    )
    words = [
        judge({str(i): m for i, m in enumerate(x)}, smallest_effect).word for x in np.asarray(truth) + noise
    ]
    return {w: words.count(w) / RUNS for w in ("holds", "fails", "negligible", "inconclusive")}


def _at_most(share, promised):
    """Within three standard errors of simulation."""
    return share <= promised + 3 * math.sqrt(promised * (1 - promised) / RUNS)


@pytest.mark.parametrize("rho", [0.0, 0.7])
@pytest.mark.parametrize("k", [1, 4, 8, 18])
def test_false_words_are_as_rare_as_promised(k, rho):
    true = _words(np.full((1, k, 1), 0.5), k, rho, seed=k)
    assert _at_most(true["fails"], 0.025)  # the smallest margin of a seed said it in 24 to 99 % of cases
    false = _words(np.full((1, k, 1), -0.5), k, rho, seed=k + 100)
    assert _at_most(false["holds"], 0.025)
    neutral = _words(np.zeros((1, k, 1)), k, rho, seed=k + 200)
    assert _at_most(neutral["holds"], 0.025)
    assert _at_most(neutral["fails"], 0.025)


@pytest.mark.parametrize("k", [1, 4])
def test_one_reversed_inequality_among_true_ones_is_never_called_true(k):
    truth = np.full((1, k, 1), 3.0)
    truth[0, 0] = -0.01
    assert _at_most(_words(truth, k, 0.3, seed=5)["holds"], 0.025)


def test_an_effect_at_the_edge_is_rarely_called_negligible():
    words = _words(np.full((1, 1, 1), 1.0), 1, 0.0, seed=6, smallest_effect=1.0)
    assert _at_most(words["negligible"], 0.025)


# Ranks ----------------------------------------------------------------------------------------------


def test_ranks_are_sure_only_where_differences_are():
    noise = np.array([0.0, 0.3, -0.2, 0.1, -0.2])
    seeds = np.array([5.0, -4, 2, -3, 0])  # what all rivals share does not count
    values = {"d": 60 + seeds, "a": 90 + seeds, "b": 80 + seeds + noise, "c": 80.1 + seeds - noise}
    assert list(ranks(values)) == ["a", "c", "b", "d"]
    assert ranks(values) == {"a": (1, 1, 1), "c": (2, 2, 3), "b": (3, 2, 3), "d": (4, 4, 4)}
    rng = np.random.default_rng(0)
    wild = {name: x + rng.normal(0, 40, 5) for name, x in values.items()}
    assert {(r.low, r.high) for r in ranks(wild).values()} == {(1, 4)}
    assert ranks({"alone": [1.0, 2.0]}) == {"alone": (1, 1, 1)}


def test_intervals_of_ranks_cover_the_true_rank():
    rng, missed = np.random.default_rng(1), 0
    for _ in range(200):
        values = {
            name: truth + rng.normal(0, 0.7, 5) for name, truth in zip("abcd", (3, 2, 1, 0), strict=True)
        }
        missed += not ranks(values)["b"].low <= 2 <= ranks(values)["b"].high
    assert missed <= 20  # 5 % and what chance allows


def test_ranks_need_two_seeds():
    with pytest.raises(ValueError, match="two finite numbers"):
        ranks({"a": [1.0], "b": [2.0]})
