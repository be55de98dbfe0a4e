"""The published numbers, audited: every mean recomputed from its class rows, every repeated cell compared, every time against its rate."""

import html
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pandas as pd

from otad import ledger
from otad.publish.generated import PAPERS, html_table

TEXTURES = {"carpet", "grid", "leather", "tile", "wood"}
GROUP = ["paper", "table", "dataset", "method", "metric", "setting"]
# Keys of `setting` that describe a run, not which run it is: tables of one paper word them differently.
WORDING = {"input", "hardware", "splits", "runs", "source", "alignment", "assignment", "target_aug"}
# The TTAD paper's names of one thing: the baseline in Tables 1 and 3, the ablation row in Table 4.
SAME_METHOD = {"tttpp": "moment_matching", "ttac": "kl_div"}
# Column `weight` of inconsistencies.csv, and the rule by which it was filled.
RULE = {
    "substantive": "a value that lies more than one unit of its last printed digit from the other place, stands in the wrong cell or is "
    "missing, or a sentence that the paper's own tables do not bear out",
    "cosmetic": "rounding, by at most one unit of the last printed digit, and slips of the pen (a name, a product beside its factors) that "
    "leave no doubt what is meant and on which no comparison rests",
}


@dataclass(frozen=True)
class Mean:
    """A printed mean beside the mean of its printed class rows."""

    paper: str
    where: str
    dataset: str
    method: str
    metric: str
    n: int
    printed: str
    recomputed: Decimal
    verdict: str

    @property
    def gap(self) -> Decimal:
        """Printed minus recomputed."""
        return Decimal(self.printed) - self.recomputed


def half_digit(printed: str) -> Decimal:
    """Return half a unit of the last printed digit: 0.05 for '97.4'."""
    return Decimal(1).scaleb(int(Decimal(printed).as_tuple().exponent)) / 2


def compare(printed: str, rows: list[str]) -> tuple[Decimal, str]:
    """Return the mean of `rows` and how `printed` relates to it.

    *equal*: the printed mean is the recomputed one, rounded. *rounding*: rounding of the rows as well can explain the gap.
    *differs*: it cannot.
    """
    mean = sum((Decimal(r) for r in rows), Decimal(0)) / len(rows)
    gap, own = abs(Decimal(printed) - mean), half_digit(printed)
    inputs = sum((half_digit(r) for r in rows), Decimal(0)) / len(rows)
    return mean, "equal" if gap <= own else "rounding" if gap < own + inputs else "differs"


def _settings(text: str) -> dict[str, str]:
    pairs = (part.split("=", 1) for part in text.split(";") if "=" in part)
    return {k: v for k, v in pairs if k not in WORDING}


def _classes(rows: pd.DataFrame, category: str) -> pd.DataFrame:
    own = rows[~rows["category"].str.startswith("mean") & (rows["category"] != "")]
    texture = own["category"].isin(TEXTURES)
    return (
        own[texture] if category == "mean_textures" else own[~texture] if category == "mean_objects" else own
    )


def means() -> Iterator[Mean]:
    """Yield every printed mean whose class rows are printed too, in its own table or, failing that, in another of the paper."""
    numbers = ledger.numbers()
    numbers = numbers[numbers["table"].str.startswith("Table") & numbers["number"].notna()]
    by_group = dict(list(numbers.groupby(GROUP)))
    loose: dict[tuple, list[tuple[str, str, pd.DataFrame]]] = {}
    for (paper, table, dataset, method, metric, setting), rows in by_group.items():
        loose.setdefault((paper, dataset, method, metric), []).append((table, setting, rows))
    for key, rows in by_group.items():
        paper, table, dataset, method, metric, setting = key
        for row in rows[rows["category"].str.startswith("mean")].itertuples():
            places = [(table, rows)] + [
                (other, found)
                for other, theirs, found in loose[paper, dataset, method, metric]
                if other != table and _settings(theirs) == _settings(setting)
            ]
            for place, found in places:
                classes = _classes(found, str(row.category))
                if len(classes) < 2:
                    continue
                mean, verdict = compare(str(row.value), list(classes["value"]))
                where = table if place == table else f"{table}, rows in {place}"
                yield Mean(paper, where, dataset, method, metric, len(classes), str(row.value), mean, verdict)


def repeated() -> pd.DataFrame:
    """Return cells printed in two tables of one paper with different values: both places, both values."""
    numbers = ledger.numbers()
    numbers = numbers[numbers["table"].str.startswith("Table")].copy()
    numbers["method"] = numbers["method"].replace(SAME_METHOD)
    numbers["run"] = [str(sorted(_settings(s).items())) for s in numbers["setting"]]
    same = ["paper", "dataset", "category", "method", "metric", "run"]
    pairs = numbers.merge(numbers, on=same, suffixes=("", "_2"))
    pairs = pairs[pairs["table"] < pairs["table_2"]]
    pairs["gap"] = pairs["number"] - pairs["number_2"]
    pairs["corruption"] = [_settings(s).get("corruption", "").replace("_", " ") for s in pairs["setting"]]
    columns = [
        "paper",
        "dataset",
        "corruption",
        "category",
        "method",
        "metric",
        "table",
        "value",
        "table_2",
        "value_2",
        "gap",
    ]
    return pairs[columns]


def rates() -> pd.DataFrame:
    """Return the benchmark's frames per second beside 1000 / milliseconds, and the relative difference in percent."""
    numbers = ledger.numbers(paper="benchmark", table="Table 3")
    wide = numbers.pivot_table(index="method", columns="metric", values="number")
    wide["fps_from_ms"] = 1000 / wide["ms"]
    wide["difference_percent"] = 100 * (wide["fps_from_ms"] / wide["fps"] - 1)
    return wide.reset_index()


def audit_page() -> str:
    """Return the page: what was recomputed, what differs, and all inconsistencies with both places."""
    found = list(means())
    counts = Counter(m.verdict for m in found)
    cells = repeated()
    apart = cells[cells["gap"].abs() > 0]
    listed = dict(list(ledger.inconsistencies().groupby("weight")))
    return (
        "\n\n".join(
            [
                "# The published numbers, audited",
                f"Before a paper's numbers are compared with ours, they are compared with each other. This page recomputes, from the "
                f"{len(ledger.numbers()):,} printed values this book carries, every mean whose class rows are printed, every cell that two "
                "tables of one paper share, and every frame rate beside its milliseconds. All values come from the papers' texts; a few "
                "may have been misread on the way from the PDF, and the last tables say where one misread digit could explain a gap.",
                f"What it comes to: **{len(listed['substantive'])} substantive inconsistencies**, and {len(listed['cosmetic'])} cosmetic ones.",
                f"## Means: {len(found)} recomputed, {counts['differs']} differ",
                f"*Equal* ({counts['equal']}): the recomputed mean rounds to the printed one. *Rounding* ({counts['rounding']}): the class "
                f"rows were rounded before printing, which can explain the gap. *Differs* ({counts['differs']}): it cannot.",
                _means_table([m for m in found if m.verdict == "differs"]),
                ":::{dropdown} All recomputed means",
                _means_table(found),
                ":::",
                f"## Cells printed twice: {len(cells)} pairs, {len(apart)} disagree",
                "Both values are the paper's own, for one data set, method, metric and setting. TTT++ and TTAC are the rows *moment "
                "matching* and *KL divergence* of TTAD's ablation.",
                _repeated_table(apart),
                "## Frames per second against milliseconds",
                "Table 3 of the benchmark prints both. They should be each other's reciprocal.",
                _rates_table(),
                f"## {len(listed['substantive'])} substantive inconsistencies",
                "All were found by recomputing as above and by reading the text against the tables. The last column says whether a misread "
                f"character could have made the gap. *Substantive* is {RULE['substantive']}.",
                _inconsistencies_table(listed["substantive"]),
                f"## {len(listed['cosmetic'])} cosmetic ones",
                f"*Cosmetic* is {RULE['cosmetic']}.",
                _inconsistencies_table(listed["cosmetic"]),
            ]
        )
        + "\n"
    )


def _what(dataset: object, method: object, metric: object, extra: object = "") -> str:
    """Return the words of one cell: which data set, method, metric and setting."""
    return html.escape(
        ", ".join(str(part).replace("_", " ") for part in (dataset, method, metric, extra) if part)
    )


def _means_table(rows: list[Mean]) -> str:
    head = ["place", "mean of", "rows", "printed", "recomputed", "gap", ""]
    body = []
    for m in rows:
        numbers = [str(m.n), m.printed, f"{m.recomputed:.3f}", f"{m.gap:+.3f}", m.verdict]
        body.append([f"{PAPERS[m.paper]} {m.where}", _what(m.dataset, m.method, m.metric), *numbers])
    return html_table(head, body)


def _repeated_table(cells: pd.DataFrame) -> str:
    head = ["paper", "cell", "one place", "other place", "gap"]
    rows = [
        [
            PAPERS[str(c.paper)],
            _what(c.dataset, c.method, c.metric, c.corruption),
            f"{c.table}: {c.value}",
            f"{c.table_2}: {c.value_2}",
            f"{c.gap:+.2f}",
        ]
        for c in cells.itertuples()
    ]
    return html_table(head, rows)


def _rates_table() -> str:
    rows = [
        [str(r.method), f"{r.fps:g}", f"{r.ms:g}", f"{r.fps_from_ms:.2f}", f"{r.difference_percent:+.1f} %"]
        for r in rates().itertuples()
    ]
    return html_table(["method", "printed fps", "printed ms", "1000 / ms", "difference"], rows)


def _inconsistencies_table(listed: pd.DataFrame) -> str:
    rows = [
        [
            f"<strong>{r.number}</strong> {PAPERS[str(r.paper)]}",
            f"{html.escape(str(r.place_1))}: {html.escape(str(r.value_1))}",
            f"{html.escape(str(r.place_2))}: {html.escape(str(r.value_2))}",
            html.escape(str(r.gap)),
            html.escape(str(r.misprint)),
        ]
        for r in listed.itertuples()
    ]
    return html_table(["", "one place", "other place", "gap", "misread?"], rows, cards=True)
