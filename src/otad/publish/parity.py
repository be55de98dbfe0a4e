"""The page *Beside anomalib*: what `python -m tests.parity` has stored, in three tables."""

import html
import json
from collections import defaultdict
from typing import Any

from otad import ledger
from otad.publish import root
from otad.publish.generated import html_table

FILE = "results/parity_anomalib.json"
BAND = 2.0  # points of image AUROC, as the equivalence was asked for
WORDS = {
    "holds": "equivalent",
    "fails": "differs",
    "inconclusive": "open",
}

Row = dict[str, Any]


def parity_page() -> str:
    """Return the page; ValueError if the file is not there."""
    path = root() / FILE
    if not path.is_file():
        raise ValueError(f"{FILE} does not exist: tests/parity/__init__.py says how to compute it")
    found = json.loads(path.read_text(encoding="utf-8"))
    parts: dict[str, list[Row]] = defaultdict(list)
    for row in found["rows"]:
        parts[row["part"]].append(row)
    return (
        "\n\n".join(
            [
                "# Beside anomalib",
                "Four methods of this book are in anomalib too: PaDiM, PatchCore, CFlow and FastFlow. Here both sides get the same "
                "feature maps, the same initial weights and the same batches. Do they say the same, do they judge pictures equally well, and "
                "which is faster? anomalib's modules ran as they are installed; only their backbones, whose weights no package ships, were "
                "put aside. None of its code is in this book.",
                "## The same scores?",
                *_heads(parts["heads"]),
                "## The same AUROC?",
                *_auroc(parts["auroc"]),
                "## How fast?",
                *_speed(parts["speed"]),
                "## Where the numbers come from",
                *(_source(source) for source in found["sources"]),
            ]
        )
        + "\n"
    )


def _heads(rows: list[Row]) -> list[str]:
    same, other = [r for r in rows if r["agrees"]], [r for r in rows if not r["agrees"]]
    largest = max(row["relative"] for row in same)
    head = ["method", "what", "largest difference", "why"]
    return [
        f"{len(same)} comparisons are of code that means the same; flows have been trained for ten steps first. The largest difference, "
        f"relative to the range of anomalib's values, is {largest:.1g}: rounding, and the tail of a Gaussian that anomalib cuts at 4 σ.",
        html_table(head[:3], [[row["method"], html.escape(row["what"]), _share(row)] for row in same]),
        f"{len(other)} more say what the known differences make, in percent of the range. Ours follow the papers, or make a picture's score "
        "independent of the others'; a row that compares one side with itself shows that there is something to see.",
        html_table(
            head,
            [[row["method"], *map(html.escape, (row["what"], _share(row), row["why"]))] for row in other],
        ),
    ]


def _share(row: Row) -> str:
    """Return a difference in percent of the range; what is rounding as a power of ten."""
    share = row["relative"]
    return "none" if share == 0 else f"{100 * share:.2g} %" if share >= 1e-4 else f"{share:.0e} of it"


def _auroc(rows: list[Row]) -> list[str]:
    if not rows:
        return ["Not computed yet."]
    pairs: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        pairs[row["method"], row["what"]].append(row)
    seeds = sorted({row["seed"] for row in rows})
    classes = list(dict.fromkeys(row["class"] for row in rows))
    head = ["method", "what differs", "ours", "anomalib", "ours − anomalib [95 %]", f"within ± {BAND:g}"]
    names = {"padim": "PaDiM", "patchcore": "PatchCore", "cflow": "CFlow", "fastflow": "FastFlow"}
    return [
        f"Image AUROC in percent on drawn classes ({', '.join(classes)}), {len(seeds)} seeds in pairs, classes averaged within a seed; "
        "six had been looked at when the others were asked for. "
        f"*Equivalent*: the 95 % interval of the mean difference lies within ± {BAND:g} points. *Differs*: the mean lies outside with the same "
        "confidence. *Open*: neither can be said from so few seeds. Training is short: the level says nothing about a method.",
        html_table(
            head,
            [
                [names[method], html.escape(what), *_paired(own)]
                for name in names
                for (method, what), own in pairs.items()
                if method == name
            ],
        ),
        "Where a patch of PatchCore hangs over the border of a map, anomalib counts zeros beyond it, ours "
        "averages the places that exist: fewer of them, so that the mean varies more there, and a normal picture may score highest at its "
        "border. The row with our pooling in anomalib says how much of the difference that is. PaDiM's coarser maps are interpolated here and "
        "repeated there; with repeated values nothing is left of the difference. anomalib's CFlow measures probabilities by "
        "the largest of a batch: with all pictures in one batch the order is nearly that of ours, in batches of eight a score depends on its neighbours.",
    ]


def _paired(rows: list[Row]) -> list[str]:
    """Return the means of both sides, the interval of the difference over seeds, and a word."""
    by_seed: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_seed[row["seed"]].append(row)
    ours, theirs = (
        [sum(row[side] for row in own) / len(own) for own in by_seed.values()] for side in ("ours", "theirs")
    )
    margins = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean, low, high = ledger.t_interval(margins)
    said = WORDS[ledger.judge({"difference": margins}, band=(-BAND, BAND)).word]
    means = [f"{sum(side) / len(side):.1f}" for side in (ours, theirs)]
    return [*means, f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]", said]


def _speed(rows: list[Row]) -> list[str]:
    said = [_met(row) for row in rows if row["target"] is not None]
    counts = ", ".join(f"{said.count(word)} {word}" for word in ("met", "not met", "open"))
    head = ["method", "what", "ours", "anomalib", "times faster [lowest, highest]", "target", "at most"]
    limits = dict.fromkeys(row["limit"] for row in rows if row.get("limit"))
    return [
        f"Processor time of one thread, turn by turn in one process, the same inputs. Of {len(said)} targets: {counts}; a target between the lowest and the highest ratio is *open*. Where something cannot "
        f"be spared by anybody, *at most* says how many times faster than anomalib it would be alone: {'; '.join(limits)}.",
        html_table(head, [_race(row) for row in rows]),
    ]


def _race(row: Row) -> list[str]:
    target, floor = row["target"], row.get("floor seconds")
    asked = "" if target is None else f"{target:g}: {_met(row)}"
    most = f"{row['theirs seconds'] / floor:.1f}" if floor else ""
    return [
        row["method"],
        f"{html.escape(row['what'])}<br>{html.escape(row['size'])}",
        *(_time(row[f"{side} seconds"]) for side in ("ours", "theirs")),
        f"{row['ratio']:.1f} [{row['lowest']:.1f}, {row['highest']:.1f}]",
        asked,
        most,
    ]


def _met(row: Row) -> str:
    """Return whether every repeat reached the target, none, or some."""
    if row["lowest"] >= row["target"]:
        return "met"
    return "not met" if row["highest"] < row["target"] else "open"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _source(source: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {source['versions'][name]}" for name in ("anomalib", "FrEIA", "torch"))
    threads = f"{source['threads']} thread{'' if source['threads'] == 1 else 's'}"
    return f"{source['machine']}; {threads}; {versions}; commit `{source['commit']}`; {source['date']}."
