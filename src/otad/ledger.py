"""Published numbers, claims, recorded values and verdicts.

A page *records* values and *judges* claims. Both leave a machine-readable copy in the metadata of their output cell, from which
the tests, the Ledger page and cross-page citations read at full precision; nothing else carries a measured number.
"""

import functools
import html
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from otad.display import emit
from otad.judgement import CONFIDENCE, MOST_SEEDS, Judgement, holm, judge, needed, t_interval

__all__ = [
    "CONFIDENCE",
    "Judgement",
    "holm",
    "judge",
    "t_interval",
]  # the rule, for who has the ledger already

RECORD_MIME = "application/papermill.record/"
SPREADS = 3.0  # how far, in standard deviations over seeds, training may carry a live cell from the stored one without notice

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


def community() -> pd.DataFrame:
    """Return the claims of contributors' own: id, statement, page (that judges it), by (who claims it), where (it was first said)."""
    return _table("community.csv").copy()


def figures() -> pd.DataFrame:
    """Return the figures, tables and algorithms of the five papers: paper, id, shows, code_must_produce, data_needed."""
    return _table("figures.csv").copy()


def inconsistencies() -> pd.DataFrame:
    """Return the 51 places where a paper disagrees with itself: number, paper, both places, both values, gap, weight, misprint."""
    return _table("inconsistencies.csv").copy()


def protocol(paper: str) -> dict[str, Any]:
    """Return how a paper measured, as its text states it: data sets, backbone, hyperparameters, metrics; "not stated" where it is silent."""
    with resources.files("otad.published").joinpath("protocols.yml").open("rb") as file:
        known = yaml.safe_load(file)
    if paper not in known:
        raise ValueError(f"no protocol of {paper!r}; the papers are {', '.join(known)}")
    return known[paper]


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


def printed(paper: str, table: str, dataset: str, metric: str) -> pd.DataFrame:
    """Return one metric of a printed table: a row a method, a column a category (means too), in the order of the print.

    Words are those of `numbers`. ValueError if nothing of that kind is printed, or a place holds two numbers.
    """
    found = numbers(paper=paper, table=table, dataset=dataset, metric=metric)
    if found.empty or found.duplicated(["method", "category"]).any():
        raise ValueError(
            f"{paper}, {table}, {dataset}, {metric}: expected one number a method and category, got {len(found)}"
        )
    wide = found.set_index(["method", "category"])["number"].unstack()
    wide = wide.loc[found["method"].unique(), found["category"].unique()]
    return wide.rename_axis(index=None, columns=None)


def by_setting(key: str, **equal: str) -> pd.DataFrame:
    """Return published numbers as a table: a row a method, a column a value of one key of their `setting`, its underscores as blanks.

    `by_setting("corruption", paper="ttad", table="Table 1", dataset="mvtec_ad")`. ValueError if no such number has the key.
    """
    found = numbers(**equal)
    found["key"] = found["setting"].str.extract(rf"(?:^|;){key}=([^;]+)")[0].str.replace("_", " ")
    if found["key"].isna().all():
        raise ValueError(f"no published number of {equal} has {key!r} in its setting")
    table = found.pivot_table(index="method", columns="key", values="number", aggfunc="first", sort=False)
    return table.rename_axis(index=None, columns=None)


def claim(claim_id: str) -> dict[str, str]:
    """Return one claim, of a paper or of a contributor's own, as a dict; an unknown id raises ValueError."""
    for table in (_table("claims.csv"), _table("community.csv")):
        row = table[table["id"] == claim_id]
        if not row.empty:
            return {str(k): str(v) for k, v in row.iloc[0].items()}
    raise ValueError(
        f"unknown claim id {claim_id!r}; ids look like 'fca-17': one of fca, benchmark, ttad, foct, pradot with 01 … 20; "
        "or, for a claim of your own, like 'own-01': a line of src/otad/published/community.csv"
    )


def is_own(claim_id: str) -> bool:
    """Tell whether a claim is a contributor's own, by its id."""
    return claim_id.startswith("own-")


# Recorded values ---------------------------------------------------------------------------------


def record(
    key: str,
    value: Any,
    tolerance: float = 1e-3,
    timing: bool = False,
    bounds: tuple[float | None, float | None] | None = None,
    below: float | None = None,
) -> None:
    """Keep `value` under `key` with the output of this cell.

    value: a number, string, list or dict that JSON can hold (NaN and infinity are refused).
    tolerance: relative difference that the regression test accepts, below 1. timing: seconds, bytes or ratios of such, which
    the byte comparison of two runs leaves out; such a value is only checked to lie within `bounds`, which should be wide.
    below: the value is an error of rounding: none of its digits is compared, only its size, with this.
    Raises ValueError for a key that this page has used already, a tolerance of 1 or more, and a value that is not `below`.
    """
    if tolerance >= 1:
        raise ValueError(f"{key!r}: a tolerance of {tolerance:g} accepts any number; say below= for rounding")
    if key in _recorded:
        raise ValueError(f"the key {key!r} was recorded before on this page; a key names one value")
    plain = _plain(value)
    try:
        json.dumps(plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{key!r}: {value!r} cannot be recorded ({error}); give numbers, strings, lists or dicts"
        ) from error
    if below is not None and not all(abs(number) <= below for number in floats(plain)):
        raise ValueError(f"{key!r}: {plain} is not below {below:g}, so more than rounding stands behind it")
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
                "below": below,
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


def floats(value: Any) -> list[float]:
    """Return every number of a JSON value, those of a dict in the order of its keys."""
    if isinstance(value, dict):
        value = [value[k] for k in sorted(value)]
    if isinstance(value, list):
        return [number for one in value for number in floats(one)]
    return [value] if isinstance(value, int | float) else []


def recorded(key: str) -> Any:
    """Return a value this page has recorded; an unknown key raises ValueError."""
    if key not in _recorded:
        raise ValueError(
            f"nothing is recorded under {key!r}; this page has {', '.join(_recorded) or 'no records yet'}"
        )
    return _recorded[key]


def over_seeds(frame: pd.DataFrame, by: str = "method") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return mean and half the 95 % interval over the rows of each `by`, a row each; NaN where a column lacks values.

    frame: numeric columns, a row a seed and `by`, which is a level of its index or a column.
    """
    ends = {
        name: {
            c: t_interval(x) if x.notna().all() and len(x) > 1 else (math.nan,) * 3 for c, x in part.items()
        }
        for name, part in frame.groupby(by, sort=False)
    }
    mean, low = (
        pd.DataFrame({n: {c: e[k] for c, e in row.items()} for n, row in ends.items()}).T for k in (0, 1)
    )
    return mean, mean - low


def span(key: str, margins: Sequence[float], tolerance: float = 0.05, digits: int = 1) -> str:
    """Record mean, low and high of the 95 % interval over margins, one a seed; return them in words: "+1.2 [+0.3, +2.1]"."""
    mean, low, high = t_interval(margins)
    record(key, {"mean": mean, "low": low, "high": high}, tolerance=tolerance)
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


# Long runs -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stored:
    """What a long run computed: the rows of a study, and the command, commit, machine, versions, seconds and date of the run.

    missing: the cells that nobody has computed yet.
    """

    value: list[dict[str, Any]]
    provenance: dict[str, Any]
    missing: Sequence[Any] = ()

    def sentence(self, code: str = "", who: str = "the next `make results`") -> str:
        """Return where the value comes from, for `say`; the machine is named as well as the run has named it.

        code: today's hash of what the study runs (`runner.code`): the sentence then says of how many cells it has changed.
        who: what computes those anew.
        """
        p = self.provenance
        threads = f"{p['threads']} thread{'' if p['threads'] == 1 else 's'}"
        return (
            f"{len(p['codes'])} cells, stored by `{p['command']}`, {p['seconds'] / 60:.0f} minutes on {p['machine']}, with {threads}, "
            f"torch {p['versions']['torch']}, commit `{p['commit']}`, {p['date'][:10]}."
            + (f" **{len(self.missing)} cells are still to be computed.**" if self.missing else "")
            + (_since(p["codes"], code, who) if code else "")
        )


def _since(codes: Sequence[str], now: str, who: str) -> str:
    """Return whether the code has changed since the cells were computed, as the end of a sentence."""
    old = sum(code != now for code in codes)
    if not old:
        return " The code has not changed since."
    which = "it" if old == len(codes) else f"{old} of them"
    return f" The code has changed since: {who} computes {which} anew."


def stored(name: str) -> Stored:
    """Return what the cells of a study have stored; ValueError if there is none."""
    installed = resources.files("otad").joinpath("results", f"{name}.json")
    checkout = Path(__file__).parents[2] / "results" / f"{name}.json"
    place = installed if installed.is_file() else checkout
    if not place.is_file():
        raise ValueError(f"results/{name}.json does not exist: `make results` computes it")
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{place} is damaged ({error}): `git checkout results/{name}.json` brings the committed one back, `make results` computes it"
        ) from None
    return Stored(found["rows"], _of_cells(found), found["missing"])


def _of_cells(found: dict[str, Any]) -> dict[str, Any]:
    """Return the provenance of a study: where its cells come from, and what they cost together."""
    sources = found["sources"]
    joined = {"machine": "; and on ", "commit": "`, `"}
    said = {k: between.join(dict.fromkeys(str(s[k]) for s in sources)) for k, between in joined.items()}
    return {
        **said,
        "command": f"make results STUDIES={found['study']}",
        "seconds": sum(cell["seconds"] for cell in found["cells"]),
        "threads": sources[0]["threads"],
        "versions": sources[0]["versions"],
        "date": max(s["date"] for s in sources),
        "codes": [cell["code"] for cell in found["cells"]],
    }


def agreement(
    name: str,
    live: Iterable[Mapping[str, Any]],
    stored: Iterable[Mapping[str, Any]],
    cell: Sequence[str],
    scores: Sequence[str],
    same: Sequence[str] = (),
    untrained: Callable[[Mapping[str, Any]], bool] = lambda row: False,
    rounding: float = 0.0,
    seed: str = "seed",
) -> None:
    """Compare rows computed just now with those of the long run: strictly where machines must agree, by its own spread elsewhere.

    live, stored: rows. cell: the columns that name a row, `seed` among them. same: columns that no machine may change (checksums, the
    loss of the first step): numbers to one part in a thousand. scores: columns of numbers that training has amplified, except in rows
    that are `untrained`, where they may differ by `rounding` (in their own unit: what an exchanged pair of pictures is worth).
    A difference where machines must agree, and a row that the long run lacks, raise AssertionError. What stands behind training is
    compared with the standard deviation over seeds of that cell, told in one sentence, recorded, and never stops a page; `make check`
    warns of what lies beyond `SPREADS` of them.
    """
    live, stored = _rows(live), _rows(stored)
    kept = {tuple(row[c] for c in cell): row for row in stored}
    group = [c for c in cell if c != seed]
    spread = {} if all(map(untrained, live)) else _spreads(stored, group, scores)
    told = []
    for row in live:
        key = tuple(row[c] for c in cell)
        if key not in kept:
            raise AssertionError(f"the long run has no cell {key}: `make results` computes it anew")
        for column in (*same, *scores):
            now, then = row.get(column), kept[key].get(column)
            if column in same or untrained(row) or now is None or then is None:
                _strictly(now, then, rounding if column in scores else 0.0, f"{column} of {key}")
            else:
                of = spread[tuple(row[c] for c in group), column]
                told.append((abs(now - then) / of, abs(now - then), column, key))
    worst = max(told, key=lambda t: t[0], default=(0.0, 0.0, "", ()))
    beyond = [
        f"{column} of {', '.join(map(str, key))}: live and stored differ by {gap:.3g}, {ratio:.1f} times the spread over seeds"
        for ratio, gap, column, key in sorted(told, reverse=True)
        if ratio > SPREADS
    ]
    value = {
        "rows": len(live),
        "trained": len(told),
        "spreads": worst[0],
        "gap": max((t[1] for t in told), default=0.0),
    }
    record(f"agreement {name}", value | {"beyond": beyond}, timing=True)
    say(_agreed(value, worst))


def _rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of plain values, without those that are missing (None, NaN)."""
    plain: list[dict[str, Any]] = [_plain(row) for row in rows]
    return [{k: v for k, v in row.items() if v is not None and v == v} for row in plain]


def _agreed(value: dict[str, Any], worst: tuple[float, float, str, tuple]) -> str:
    """Return the sentence that a page prints about its live rows."""
    rows = f"{value['rows']} of these rows have just been computed again on this machine. "
    if not value["trained"]:
        return rows + "They equal the stored ones."
    if value["gap"] == 0:
        return rows + "They equal the stored ones, what training has amplified too."
    _, gap, column, key = worst
    return rows + (
        "What does not depend on training equals the stored ones. Of the rest, the row farthest off, measured by its spread over seeds, is "
        f"*{', '.join(map(str, key))}*: its {column} differs by {gap:.2g}, {value['spreads']:.1g} times that spread."
    )


def _strictly(now: Any, then: Any, rounding: float, what: str) -> None:
    """Raise AssertionError unless two values agree as on any machine they must."""
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (now, then))
    if not (math.isclose(now, then, rel_tol=1e-3, abs_tol=rounding) if numbers else now == then):
        raise AssertionError(
            f"{what} is {now!r}, and was {then!r} in the long run; no training stands between, so data, code or a library have changed: "
            "`make results` computes the run anew"
        )


def _spreads(rows: Sequence[Mapping[str, Any]], group: Sequence[str], scores: Sequence[str]) -> dict:
    """Return (cell without its seed, column) to the standard deviation over seeds.

    Few seeds know a standard deviation badly, and a cell may have none by luck: its variance is averaged with the mean variance of all
    cells in that column.
    """
    frame = pd.DataFrame(rows)
    found = {}
    for column in scores:
        if column not in frame:
            raise ValueError(
                f"the long run has no column {column!r}; it has {', '.join(map(str, frame.columns))}"
            )
        variance = frame.dropna(subset=[column]).groupby(list(group), dropna=False)[column].var(ddof=1)
        pooled = float(variance.mean())
        if not pooled > 0:
            raise ValueError(
                f"the long run has no spread over seeds in {column!r}: it needs two seeds a cell"
            )
        for key, own in variance.items():
            key = key if isinstance(key, tuple) else (key,)
            found[key, column] = math.sqrt((own + pooled) / 2 if own == own else pooled)
    return found


class _Lookup(dict[str, Any]):
    def __missing__(self, key: str) -> Any:
        return recorded(key)


def say(template: str, short: bool = False) -> None:
    """Display a sentence (Markdown) with recorded values put in: `say("The gap is {p01_gap:.1e}.")`.

    short: it stands alone, says what was asked, what came out and on what data, and also opens the page as *In short*; one a page.
    """
    text = template.format_map(_Lookup())
    emit({"text/markdown": text, "text/plain": text}, {"otad": {"short": text}} if short else {})


# Verdicts ----------------------------------------------------------------------------------------


def verdict(
    claim_id: str,
    margins: Mapping[str, Sequence[float]],
    resampling: str,
    unit: str = "",
    why: str = "",
    timing: tuple[float, float] | None = None,
    smallest_effect: float | None = None,
    effect_reason: str = "",
    band: tuple[float, float] | None = None,
    reading: str = "",
) -> None:
    """Judge a claim by the rule of `judge`, and record the verdict with its evidence.

    margins: for each inequality of the claim its name and one signed margin a seed, positive as claimed; with a `band`, the values that
    should lie inside it. resampling: what a seed draws anew. unit: of the margins. why: the reason found, or what else must be known.
    timing: the margins are measured times or ratios of such, and the worst mean may lie anywhere within these bounds on another
    machine. smallest_effect: the smallest margin that would matter, with its reason, both written down before the run.
    reading: one sentence, set first, where the word alone could be misread.
    """
    if (smallest_effect is None) != (not effect_reason):
        raise ValueError(f"{claim_id}: a smallest effect needs its reason, and the reason its effect")
    found = judge(margins, smallest_effect, band)
    worst = found.inequalities[found.worst]
    evidence = {
        "mean": worst.mean,
        "low": worst.low,
        "high": worst.high,
        "n": found.n,
        "p": found.p,
        "k": len(found.inequalities),
        "n_hold": found.n_hold,
        "n_reversed": found.n_reversed,
        "worst": found.worst,
        "detectable": found.detectable,
        "inequalities": {name: [e.mean, e.low, e.high] for name, e in found.inequalities.items()},
    }
    if timing is not None:
        evidence["timed"] = list(timing)
    notes = [why]
    if smallest_effect is not None:
        told = f" ({unit})" if unit else ""
        notes.append(f"Smallest effect that would matter{told}: {smallest_effect:g}, {effect_reason}.")
    effect = _effect(found, unit, smallest_effect, band)
    if found.word == "inconclusive":
        effect += _to_decide(needed(margins, smallest_effect, band))
    _judged(
        claim_id, found.word, "margins", effect, evidence, " ".join(filter(None, notes)), resampling, reading
    )


def _effect(
    found: Judgement, unit: str, smallest_effect: float | None, band: tuple[float, float] | None
) -> str:
    """Return the evidence of a judgement in a sentence."""
    worst, k = found.inequalities[found.worst], len(found.inequalities)
    what = "margin" if band is None else "value"
    number = f"{worst.mean:.3g} {unit}".strip() + f", 95 % interval [{worst.low:.3g}, {worst.high:.3g}]"
    if k == 1:
        said = f"{what} {number}"
    else:
        said = f"of {k} inequalities {found.n_hold} {'holds' if found.n_hold == 1 else 'hold'} and {found.n_reversed} "
        said += f"{'is' if found.n_reversed == 1 else 'are'} reversed"
        if not found.n_reversed and worst.p_against < (1 - CONFIDENCE) / 2:
            said += f" (taken alone the weakest would be; after Holm's adjustment over the {k} it is not)"
        said += f"; the weakest is “{found.worst}”, {what} {number}"
    if band is not None:
        said += f", band [{band[0]:.3g}, {band[1]:.3g}]"
    said += f"; n = {found.n}"
    if found.word == "inconclusive":
        said += f", which finds a true margin of {found.detectable:.2g} {unit}".rstrip() + " with 80 % power"
    if found.word == "fails" and smallest_effect is not None and -smallest_effect < worst.mean:
        said += "; the reversal is smaller than the smallest effect that would matter"
    return said


def _to_decide(enough: tuple[int, str] | None) -> str:
    """Return what would decide an inconclusive claim, as the end of a sentence."""
    said = "; were the measured margins the true ones, "
    if enough is None:
        return said + f"not even {MOST_SEEDS:,} seeds would decide it: other data might, such as the paper's"
    n, word = enough
    spelt = {"holds": "holds", "fails": "fails here", "negligible": "is negligible"}[word]
    return said + f"about {n} seeds would find that it {spelt}"


def proof(claim_id: str, worst_error: float, tolerance: float, why: str = "", refutes: bool = False) -> None:
    """Judge an identity: it holds if the worst error over all cases tried is within `tolerance`.

    refutes: the identity contradicts the claim, which fails if the identity holds, and is undecided otherwise.
    """
    shown = worst_error <= tolerance
    word = ("fails" if shown else "inconclusive") if refutes else ("holds" if shown else "fails")
    what = "worst error of the identity that contradicts the claim" if refutes else "worst error"
    effect = f"{what} {worst_error:.1e}, tolerance {tolerance:.0e}"
    _judged(
        claim_id,
        word,
        "proof",
        effect,
        {"worst_error": float(worst_error), "allowed": float(tolerance)},
        why,
    )


def from_published(claim_id: str, holds: bool, margin: float, why: str = "") -> None:
    """Judge a claim about a printed table by the printed numbers themselves."""
    effect = f"margin {margin:.3g} in print"
    _judged(claim_id, "holds" if holds else "fails", "published", effect, {"margin": float(margin)}, why)


def undecided(claim_id: str, obstacle: str, why: str = "") -> None:
    """Record that this machine cannot judge a claim, and what stands in the way: inconclusive, without a margin."""
    _judged(claim_id, "inconclusive", "undecided", obstacle, {}, why)


def _judged(
    claim_id: str,
    word: str,
    kind: str,
    effect: str,
    evidence: dict,
    why: str,
    resampling: str = "",
    reading: str = "",
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
            "reading": reading,
            **evidence,
        },
        tolerance=0.05,
    )
    emit(
        {
            "text/html": _card(statement, word, effect, why, resampling, reading),
            "text/plain": f"{claim_id} {word}: {effect}",
        },
        {},
    )


def place(claim_id: str) -> str:
    """Return the anchor of a claim's verdict on the page that judges it."""
    return f"verdict-{claim_id}"


def spoken(word: str) -> str:
    """Return the word that readers see: a claim fails on our data, not everywhere."""
    return "fails here" if word == "fails" else word


def _card(statement: dict[str, str], word: str, effect: str, why: str, resampling: str, reading: str) -> str:
    colour = {"holds": "#009E73", "fails": "#D55E00", "negligible": "#0072B2"}.get(word, "#767676")
    rows = [
        f"<strong>{statement['id']} {spoken(word)}.</strong> {html.escape(statement['statement'])}.",
        f"<em>{html.escape(reading)}</em>" if reading else "",
        html.escape(effect[:1].upper() + effect[1:])
        + (f" ({html.escape(resampling)})" if resampling else "")
        + ".",
        html.escape(why),
    ]
    body = "".join(f"<p style='margin:.2em 0'>{row}</p>" for row in rows if row)
    style = f"border-left:6px solid {colour};padding:.3em 1em;margin:.5em 0"
    return f"<div id='{place(statement['id'])}' class='otad-verdict otad-{word}' style='{style}'>{body}</div>"
