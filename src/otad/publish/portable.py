"""`make portable`: do the values belong to the book or to the machine?

The pages with stored rows are executed again on an emulated older processor, and with two threads: verdicts must be the accepted
ones, values within their tolerances. Every page is executed twice at smoke scale: the same bytes, timings apart.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

from otad.publish import expected, pages, root
from otad.publish.execute import without_timings
from otad.publish.notebooks import to_bytes
from otad.publish.processes import command, say
from otad.publish.records import read_page
from otad.publish.results import stored_pages

# Sums round differently where vectors are shorter, or where they are cut into other pieces: condition to environment and threads.
CONDITIONS: dict[str, tuple[dict[str, str], int]] = {
    "older processor": ({"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}, 1),
    "two threads": ({}, 2),
}
TWICE = "twice, smoke"
HEAD = "| page | condition | seconds | values compared | worst relative difference | differences |\n|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Trial:
    """One page under one condition: what it cost, how many values were compared, the worst of them, what is wrong."""

    page: str
    condition: str
    seconds: float
    values: int
    worst: str
    differences: list[str]

    def row(self) -> str:
        """Return the trial's row of the table."""
        cells = (self.page, self.condition, f"{self.seconds:.0f}", self.values or "", self.worst)
        return "| " + " | ".join(map(str, cells)) + f" | {len(self.differences)} |"


def portable(names: Sequence[str], scale: str, twice: bool = True) -> None:
    """Print the table of all trials, a row as soon as it is known; raise ValueError with the differences, if any.

    names: pages to try; none: those with stored rows under each condition, and all of them twice.
    """
    if unknown := sorted(set(names) - set(pages())):
        raise ValueError(f"there is no page {', '.join(unknown)}; the pages are {', '.join(pages())}")
    expected.accepted(scale)  # before anything runs
    say(HEAD)
    found = []
    for trial in _trials(names, scale, twice):
        say(trial.row())
        found += [f"{trial.page}, {trial.condition}: {line}" for line in trial.differences]
    if found:
        raise ValueError("\n".join([f"{len(found)} differences:", *found]))


def _trials(names: Sequence[str], scale: str, twice: bool) -> Iterator[Trial]:
    for page in names or stored_pages():
        for condition in CONDITIONS:
            yield under(condition, page, scale)
    for page in (names or pages()) if twice else ():
        yield two_runs(page)


def under(condition: str, page: str, scale: str) -> Trial:
    """Execute a page under a condition and compare what it recorded with the accepted values."""
    environment, threads = CONDITIONS[condition]
    output = _place(condition, page)
    if failed := _execute(page, scale, output, threads, environment):
        return Trial(page, condition, 0, 0, "", [failed])
    off = expected.deviations(scale, output.parent, [page])
    key = max(off, key=lambda k: off[k], default=None)
    worst = f"{off[key]:.1g} ({key})" if key else ""
    lines = expected.differences(scale, output.parent, [page])
    return Trial(page, condition, read_page(output).cost["seconds"], len(off), worst, lines)


def two_runs(page: str) -> Trial:
    """Execute a page twice at smoke scale and compare the bytes, timings apart."""
    outputs = [_place(run, page) for run in ("first run", "second run")]
    if failed := next(filter(None, (_execute(page, "smoke", output, 1, {}) for output in outputs)), None):
        return Trial(page, TWICE, 0, 0, "", [failed])
    first, second = (to_bytes(without_timings(nbformat.read(o, as_version=4))) for o in outputs)
    lines = [] if first == second else [f"{outputs[0]} and {outputs[1]} are not the same"]
    return Trial(page, TWICE, sum(read_page(output).cost["seconds"] for output in outputs), 0, "", lines)


def _place(condition: str, page: str) -> Path:
    return root() / "_build" / "portable" / condition.replace(" ", "_") / f"{page}.ipynb"


def _execute(page: str, scale: str, output: Path, threads: int, environment: dict[str, str]) -> str:
    """Execute a page in a process of its own, since torch reads the environment once; return what went wrong, if it did."""
    options = ("--scale", scale, "--threads", str(threads), "--output", str(output))
    process = subprocess.run(
        command("otad.publish.__main__:main", "execute", page, *options),
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    if process.returncode == 0:
        return ""
    ours = process.stderr.partition("otad: ")[2]
    return ours.strip() or f"exit status {process.returncode}: {process.stderr[-300:]}"
