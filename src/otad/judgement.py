"""The rule of verdicts: from signed margins, one a seed, to a word. It is pure; `otad.ledger` records what it says."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import special

CONFIDENCE = 0.95
MIN_SEEDS = 5
POWER = 0.8  # of `detectable` and `needed`
MOST_SEEDS = 1000  # that anybody would draw
CERTAIN = (
    40.0  # standard errors: beyond these a t-test finds a margin always, and the non-central t is not needed
)


@dataclass(frozen=True)
class Inequality:
    """One inequality of a claim: mean margin, its own t-interval, and one-sided p-values for it and against it."""

    mean: float
    low: float
    high: float
    p_for: float
    p_against: float


@dataclass(frozen=True)
class Judgement:
    """What the margins say of a claim, with the evidence.

    word: holds, fails, negligible or inconclusive. worst: the name of the inequality with the least in its favour. n_hold, n_reversed:
    inequalities whose interval lies above zero, and below it after Holm. detectable: the true margin of all inequalities that this
    many seeds find with 80 % power. p: two-sided p-value of the word, for Holm's adjustment over claims. n: seeds.
    """

    word: str
    worst: str
    inequalities: dict[str, Inequality]
    detectable: float
    p: float
    n: int
    n_hold: int
    n_reversed: int


def judge(
    margins: Mapping[str, Sequence[float]],
    smallest_effect: float | None = None,
    band: tuple[float, float] | None = None,
    confidence: float = CONFIDENCE,
) -> Judgement:
    """Judge a claim of one or more inequalities, each with one signed margin a seed, positive as claimed.

    holds: every inequality's own interval lies above zero (intersection-union: no adjustment is needed). fails: at least one lies
    below zero after Holm over the inequalities. negligible: neither, and every interval lies within ± smallest_effect. Else
    inconclusive, as is anything below five seeds. With a band (low, high) the margins are the values themselves: the claim holds if
    the intervals lie inside the band, and fails if one lies outside.
    ValueError: no inequality, unequal numbers of seeds, margins that are not finite, a band without width, or both ways at once.
    """
    samples = _samples(margins, smallest_effect, band)
    each = {name: _inequality(x, band, confidence) for name, x in samples.items()}
    level, k, n = (1 - confidence) / 2, len(each), next(iter(samples.values())).degrees + 1
    against = holm([e.p_against for e in each.values()])
    p_for = max(e.p_for for e in each.values())
    p = min(1.0, 2 * min(p_for, k * min(e.p_against for e in each.values())))
    nil = 1.0
    if smallest_effect is not None:
        nil = max(x.p_within(-smallest_effect, smallest_effect) for x in samples.values())
    if n < MIN_SEEDS:
        word = "inconclusive"
    elif p_for < level:
        word = "holds"
    elif min(against) < level:
        word = "fails"
    elif nil < level:
        word, p = "negligible", 2 * nil
    else:
        word = "inconclusive"
    return Judgement(
        word=word,
        worst=max(each, key=lambda name: (each[name].p_for - each[name].p_against, -each[name].low)),
        inequalities=each,
        detectable=_detectable(samples.values(), confidence),
        p=p,
        n=n,
        n_hold=sum(e.p_for < level for e in each.values()),
        n_reversed=sum(p < level for p in against),
    )


def needed(
    margins: Mapping[str, Sequence[float]],
    smallest_effect: float | None = None,
    band: tuple[float, float] | None = None,
    confidence: float = CONFIDENCE,
) -> tuple[int, str] | None:
    """Return how many seeds would decide a claim with 80 % power were the measured margins the true ones, and the word they would give.

    Arguments as in `judge`. More seeds than there are; None if not even MOST_SEEDS would decide it. The inequalities are taken as
    independent, and of Holm's adjustment the first step alone, which decides whether any fails.
    """
    samples = _samples(margins, smallest_effect, band).values()
    n = next(iter(samples)).degrees + 1
    mean = np.array([x.mean for x in samples])
    spread = np.array([max(x.error * math.sqrt(n), 1e-300) for x in samples])
    seeds = np.arange(max(n + 1, MIN_SEEDS), MOST_SEEDS + 1)[:, None]
    level, (low, high) = (1 - confidence) / 2, band or (0.0, math.inf)

    def found(gaps: np.ndarray, level: float) -> np.ndarray:
        """Return the power of a one-sided t-test for each gap, a row a number of seeds."""
        shift = np.clip(np.clip(gaps / spread, -CERTAIN, CERTAIN) * np.sqrt(seeds), -CERTAIN, CERTAIN)
        missed = special.nctdtr(seeds - 1, shift, special.stdtrit(seeds - 1, 1 - level))
        return 1 - np.where(np.isnan(missed), shift < 0, missed)  # far out it underflows to NaN

    def within(low: float, high: float) -> np.ndarray:
        both = found(mean - low, level) + found(high - mean, level) - 1
        return np.maximum(both, 0).prod(1)

    outside = found(np.maximum(low - mean, mean - high), level / len(mean))
    power = {"holds": within(low, high), "fails": 1 - (1 - outside).prod(1)}
    if smallest_effect is not None:
        power["negligible"] = within(-smallest_effect, smallest_effect)
    first = {word: int((p >= POWER).argmax()) for word, p in power.items() if (p >= POWER).any()}
    if not first:
        return None
    word = min(first, key=lambda name: first[name])
    return int(seeds[first[word], 0]), word


def t_interval(
    margins: Sequence[float] | np.ndarray, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """Return mean, lower and upper end of Student's interval over independent margins (at least two)."""
    return _mean(margins).interval(confidence)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = p[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(v) for v in adjusted]


class Rank(NamedTuple):
    """A rank by mean, 1 = the largest, and the lowest and highest number that it may truly be."""

    rank: int
    low: int
    high: int


def ranks(values: Mapping[str, Sequence[float]]) -> dict[str, Rank]:
    """Rank rivals by the mean of one value a seed, the largest first, and say how sure each rank is.

    Each is compared with all others by paired t-tests over the same seeds, two-sided, Holm's adjustment over its own comparisons: it ranks
    behind all that surely lead it and before all that it surely leads, which covers its true rank with 95 %. At least two seeds.
    """
    each = {name: np.asarray(x, dtype=np.float64) for name, x in values.items()}
    order = sorted(each, key=lambda name: -each[name].mean())
    found = {}
    for place, name in enumerate(order, 1):
        gaps = [_mean(each[name] - each[other]) for other in order if other != name]
        p = holm([min(1.0, 2 * min(g.p_above(0.0), g.p_below(0.0))) for g in gaps])
        sure = [g.mean for g, q in zip(gaps, p, strict=True) if q < 1 - CONFIDENCE]
        found[name] = Rank(place, 1 + sum(m < 0 for m in sure), len(order) - sum(m > 0 for m in sure))
    return found


class _Mean(NamedTuple):
    """The mean of one margin a seed, its standard error and degrees of freedom: all that the t-tests here need."""

    mean: float
    error: float
    degrees: int

    def interval(self, confidence: float) -> tuple[float, float, float]:
        half = _critical(self.degrees, confidence) * self.error
        return self.mean, self.mean - half, self.mean + half

    def p_above(self, bound: float) -> float:
        """Return the one-sided p-value of the t-test that the true mean lies above `bound`."""
        return self._p(self.mean - bound)

    def p_below(self, bound: float) -> float:
        return self._p(bound - self.mean)

    def p_within(self, low: float, high: float) -> float:
        """Return the larger p-value of two one-sided tests."""
        return max(self.p_above(low), self.p_below(high))

    def _p(self, gap: float) -> float:
        if self.error == 0:
            return 0.0 if gap > 0 else 0.5 if gap == 0 else 1.0
        return float(special.stdtr(self.degrees, -gap / self.error))


def _samples(margins: Any, smallest_effect: float | None, band: Any) -> dict[str, _Mean]:
    """Return the checked margins of each inequality, summed up."""
    if not isinstance(margins, Mapping) or not margins:
        raise ValueError(
            f"margins must map each inequality's name to one margin a seed, as {{'A > B': [0.1, 0.2, …]}}; got {margins!r}"
        )
    samples = {str(name): _mean(x) for name, x in margins.items()}
    lengths = {name: x.degrees + 1 for name, x in samples.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"every inequality needs one margin for each of the same seeds; got {lengths}")
    if smallest_effect is not None and band is not None:
        raise ValueError("a claim of closeness has a band, any other claim a smallest_effect; got both")
    if smallest_effect is not None and not 0 < smallest_effect < math.inf:
        raise ValueError(f"smallest_effect must be a positive number; got {smallest_effect!r}")
    if band is not None and not (len(band) == 2 and band[0] < band[1]):
        raise ValueError(f"band must be (low, high) with low < high; got {band!r}")
    return samples


def _mean(margins: Sequence[float] | np.ndarray) -> _Mean:
    values = margins.tolist() if hasattr(margins, "tolist") else margins  # tensors on a GPU too
    try:
        x = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        x = np.empty(0)
    if x.ndim != 1 or len(x) < 2 or not np.isfinite(x).all():
        raise ValueError(f"margins must be at least two finite numbers, one a seed; got {margins!r}")
    return _Mean(float(x.mean()), float(x.std(ddof=1)) / math.sqrt(len(x)), len(x) - 1)


def _critical(degrees: int, confidence: float) -> float:
    """Return Student's quantile: an interval reaches this many standard errors to either side."""
    return float(special.stdtrit(degrees, 0.5 + confidence / 2))


def _inequality(x: _Mean, band: tuple[float, float] | None, confidence: float) -> Inequality:
    if band is None:
        return Inequality(*x.interval(confidence), x.p_above(0.0), x.p_below(0.0))
    low, high = band
    return Inequality(*x.interval(confidence), x.p_within(low, high), min(x.p_below(low), x.p_above(high)))


def _detectable(samples: Collection[_Mean], confidence: float) -> float:
    """Return the true margin, the same for all inequalities, whose claim is found to hold with 80 % power.

    The standard deviations are the measured ones, and the inequalities are taken as independent. (In a claim of closeness it is the
    distance from the nearer edge of the band.)
    """
    from scipy import optimize  # here, because it takes longer to import than the rest of this module

    errors = np.array([x.error for x in samples if x.error > 0])
    if not len(errors):
        return 0.0
    degrees = next(iter(samples)).degrees
    critical = _critical(degrees, confidence)

    def shortage(margin: float) -> float:
        missed = special.nctdtr(degrees, np.minimum(margin / errors, CERTAIN), critical)
        return float((1 - np.nan_to_num(missed)).prod()) - POWER  # far out it underflows to NaN

    return float(optimize.brentq(shortage, 0.0, CERTAIN * errors.max(), rtol=1e-6))
