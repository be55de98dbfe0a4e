"""Published numbers, claims, recorded values and verdicts.

A page *records* values and *judges* claims. Both leave a machine-readable copy in the metadata of their output cell, from which
the tests, the Ledger page and cross-page citations read at full precision; nothing else carries a measured number.
"""

import functools
import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from otad.display import emit

RECORD_MIME = "application/papermill.record/"
CONFIDENCE = 0.95
MIN_SEEDS = 5

_recorded: dict[str, Any] = {}


# Published facts ---------------------------------------------------------------------------------


@functools.cache
def _table(name: str) -> pd.DataFrame:
    text = resources.files("otad.published").joinpath(name)
    with text.open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)


def claims() -> pd.DataFrame:
    """Return the 100 claims: id, paper, where, statement, test, needs."""
    return _table("claims.csv").copy()


def figures() -> pd.DataFrame:
    """Return the figures, tables and algorithms of the five papers: paper, id, shows, code_must_produce, data_needed."""
    return _table("figures.csv").copy()


def inconsistencies() -> pd.DataFrame:
    """Return the 51 places where a paper disagrees with itself: number, paper, both places, both values, gap, ocr."""
    return _table("inconsistencies.csv").copy()


def numbers(**equal: str) -> pd.DataFrame:
    """Return the published numbers whose columns equal the given words.

    `numbers(paper="fca", table="Table 1", method="fca")`. Columns: paper, table, dataset, category, method, setting, metric, value
    (as printed), note, and number (float; NaN where the print is no number).
    """
    table = _table("numbers.csv")
    for column, word in equal.items():
        if column not in table.columns:
            raise ValueError(f"numbers.csv has no column {column!r}; it has {', '.join(table.columns)}")
        table = table[table[column] == word]
    return table.assign(number=pd.to_numeric(table["value"], errors="coerce"))


def claim(claim_id: str) -> dict[str, str]:
    """Return one claim as a dict; an unknown id raises ValueError."""
    table = _table("claims.csv")
    row = table[table["id"] == claim_id]
    if row.empty:
        raise ValueError(
            f"unknown claim id {claim_id!r}; ids look like 'fca-17': one of fca, benchmark, ttad, foct, pradot with 01 … 20"
        )
    return {str(k): str(v) for k, v in row.iloc[0].items()}


# Recorded values ---------------------------------------------------------------------------------


def record(
    key: str,
    value: Any,
    tolerance: float = 1e-3,
    timing: bool = False,
    bounds: tuple[float | None, float | None] | None = None,
) -> None:
    """Keep `value` under `key` with the output of this cell.

    value: a number, string, list or dict that JSON can hold (NaN and infinity are refused).
    tolerance: relative difference that the regression test accepts. timing: seconds, bytes or ratios of such, which
    the byte comparison of two runs leaves out; such a value is only checked to lie within `bounds`, which should be wide.
    A key that this page has used already raises ValueError.
    """
    if key in _recorded:
        raise ValueError(f"the key {key!r} was recorded before on this page; a key names one value")
    plain = _plain(value)
    try:
        json.dumps(plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{key!r}: {value!r} cannot be recorded ({error}); give numbers, strings, lists or dicts"
        ) from error
    _recorded[key] = plain
    emit(
        {RECORD_MIME + "text/plain": repr(plain)},
        {
            "scrapbook": {"name": key, "mime_prefix": RECORD_MIME},
            "record": {
                "key": key,
                "value": plain,
                "tolerance": tolerance,
                "timing": timing,
                "bounds": bounds,
            },
        },
    )


def _plain(value: Any) -> Any:
    """Return numpy and torch scalars and arrays as plain Python; containers too."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value


def recorded(key: str) -> Any:
    """Return a value this page has recorded; an unknown key raises ValueError."""
    if key not in _recorded:
        raise ValueError(
            f"nothing is recorded under {key!r}; this page has {', '.join(_recorded) or 'no records yet'}"
        )
    return _recorded[key]


# Long runs -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stored:
    """What a long run computed: its value, and the page, command, commit, machine, versions, seconds and date of the run."""

    value: Any
    provenance: dict[str, Any]

    def sentence(self) -> str:
        """Return where the value comes from, for `say`; the machine is named as well as the run has named it."""
        p = self.provenance
        threads = f"{p['threads']} thread{'' if p['threads'] == 1 else 's'}"
        return (
            f"Stored by a long run: `{p['command']}`, {p['seconds'] / 60:.0f} minutes on {p['machine']}, with {threads}, "
            f"torch {p['versions']['torch']}, commit `{p['commit']}`, {p['date'][:10]}."
        )


def store(value: Any) -> None:
    """Keep the value of a page's long run: the page was executed with `long=True`, and `make results` writes results/<page>.json."""
    plain = _plain(value)
    json.dumps(plain, allow_nan=False)
    emit({"text/plain": "stored"}, {"stored": {"value": plain}})


def stored(page: str) -> Stored:
    """Return what the long run of a page has stored; ValueError if there is none."""
    installed = resources.files("otad").joinpath("results", f"{page}.json")
    checkout = Path(__file__).parents[2] / "results" / f"{page}.json"
    place = installed if installed.is_file() else checkout
    if not place.is_file():
        raise ValueError(f"results/{page}.json does not exist: `make results PAGES={page}` computes it")
    found = json.loads(place.read_text(encoding="utf-8"))
    return Stored(found["value"], found["provenance"])


class _Lookup(dict[str, Any]):
    def __missing__(self, key: str) -> Any:
        return recorded(key)


def say(template: str) -> None:
    """Display a sentence (Markdown) with recorded values put in: `say("The gap is {p01_gap:.1e}.")`."""
    text = template.format_map(_Lookup())
    emit({"text/markdown": text, "text/plain": text}, {})


# Verdicts ----------------------------------------------------------------------------------------


def t_interval(margins: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """Return mean, lower and upper end of Student's interval over independent margins (at least two)."""
    x = _margins(margins)
    mean = float(x.mean())
    half = float(stats.t.ppf(0.5 + confidence / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    return mean, mean - half, mean + half


def _margins(margins: Sequence[float]) -> np.ndarray:
    x = np.asarray(_plain(margins), dtype=np.float64)
    if x.ndim != 1 or len(x) < 2 or not np.isfinite(x).all():
        raise ValueError(f"margins must be at least two finite numbers, one a seed; got {margins!r}")
    return x


def p_value(margins: Sequence[float]) -> float:
    """Return the two-sided p-value of the one-sample t-test that the mean margin is zero."""
    x = _margins(margins)
    spread = x.std(ddof=1) / math.sqrt(len(x))
    if spread == 0:
        return 0.0 if x.mean() != 0 else 1.0
    return float(2 * stats.t.sf(abs(x.mean() / spread), len(x) - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = p[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(v) for v in adjusted]


def judge(low: float, high: float) -> str:
    """Return holds (interval above zero), fails (below) or inconclusive."""
    return "holds" if low > 0 else "fails" if high < 0 else "inconclusive"


def verdict(
    claim_id: str,
    margins: Sequence[float],
    resampling: str,
    unit: str = "",
    why: str = "",
    timing: bool = False,
) -> None:
    """Judge a claim from one signed margin a seed, and record the verdict with its evidence.

    margins: the smallest over the claim's inequalities, or the distance inside a band; positive as claimed. Below five seeds the
    verdict is inconclusive whatever the interval. resampling: what a seed draws anew. unit: of the margins.
    why: for a claim that fails or is tested on other data, the reason found. timing: the margins are measured times or
    ratios of such: the regression test then compares the word and not the mean.
    """
    mean, low, high = t_interval(margins)
    word = judge(low, high) if len(margins) >= MIN_SEEDS else "inconclusive"
    evidence = {"mean": mean, "low": low, "high": high, "n": len(margins), "p": p_value(margins)}
    if timing:
        evidence["timed"] = True
    effect = (
        f"margin {mean:.3g} {unit}".strip() + f", 95 % interval [{low:.3g}, {high:.3g}], n = {len(margins)}"
    )
    _judged(claim_id, word, "margins", effect, evidence, why, resampling)


def proof(claim_id: str, worst_error: float, tolerance: float, why: str = "") -> None:
    """Judge an identity: it holds if the worst error over all cases tried is within `tolerance`."""
    word = "holds" if worst_error <= tolerance else "fails"
    effect = f"worst error {worst_error:.1e}, tolerance {tolerance:.0e}"
    _judged(
        claim_id,
        word,
        "proof",
        effect,
        {"worst_error": float(worst_error), "allowed": float(tolerance)},
        why,
        "",
    )


def from_published(claim_id: str, holds: bool, margin: float, why: str = "") -> None:
    """Judge a claim about a printed table by the printed numbers themselves."""
    effect = f"margin {margin:.3g} in print"
    _judged(claim_id, "holds" if holds else "fails", "published", effect, {"margin": float(margin)}, why, "")


def _judged(
    claim_id: str, word: str, kind: str, effect: str, evidence: dict, why: str, resampling: str
) -> None:
    statement = claim(claim_id)
    record(
        f"verdict {claim_id}",
        {
            "claim": claim_id,
            "verdict": word,
            "kind": kind,
            "effect": effect,
            "why": why,
            "resampling": resampling,
            **evidence,
        },
        tolerance=0.05,
    )
    emit(
        {
            "text/html": _card(statement, word, effect, why, resampling),
            "text/plain": f"{claim_id} {word}: {effect}",
        },
        {},
    )


def _card(statement: dict[str, str], word: str, effect: str, why: str, resampling: str) -> str:
    colour = {"holds": "#009E73", "fails": "#D55E00"}.get(word, "#767676")
    rows = [
        f"<strong>{statement['id']} {word}.</strong> {html.escape(statement['statement'])}.",
        html.escape(effect) + (f" ({html.escape(resampling)})" if resampling else "") + ".",
        html.escape(why),
    ]
    body = "".join(f"<p style='margin:.2em 0'>{row}</p>" for row in rows if row)
    style = f"border-left:6px solid {colour};padding:.3em 1em;margin:.5em 0"
    return f"<div class='otad-verdict otad-{word}' style='{style}'>{body}</div>"
