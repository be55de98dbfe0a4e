"""Command line: `python -m tests.rehearsal [STUDY …]`, from the repository's root. One process a cell, one thread, one at a time or some."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from otad.data.readers.locations import LAYOUTS, VARIABLE
from otad.studies import Cell, load, possible

from .folders import CLASSES, FULL, Amount, write

MOST_MEMORY = 8 * 1024  # MB a cell
ON_A_BATCH = ("pradot_code",)  # studies that leave out a batch that is not full
FOLDER = Path("_build/rehearsal")
COMMAND = [sys.executable, "-m", "tests.rehearsal.cell"]
OWN = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main(arguments: list[str] | None = None) -> int:
    """Write the stand-ins, rehearse each study, print a line a cell; exit status 1 if one raised or took too much memory."""
    options = parser().parse_args(arguments)
    data = FOLDER / "data"
    write(data, Amount(), options.at_once)
    os.environ[VARIABLE] = str(data.resolve())
    table, lines = FOLDER / "cells.jsonl", []
    asked = [
        (name, cell, options.repetitions, options.seconds)
        for name in options.studies or possible()
        for cell in chosen(load(name).cells("paper"), name in ON_A_BATCH)
    ]
    with ThreadPoolExecutor(options.at_once) as pool:
        for line in pool.map(rehearse, *zip(*asked, strict=True)):
            lines.append(line)
            print(told(line), flush=True)
            table.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    wrong = [line for line in lines if line["wrong"]]
    print(f"{len(lines) - len(wrong)} of {len(lines)} cells went through; {table} has them all")
    return 1 if wrong else 0


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    found = argparse.ArgumentParser(prog="tests.rehearsal", description=__doc__)
    found.add_argument("studies", nargs="*", help="names; none: all that this machine can run")
    found.add_argument(
        "--repetitions",
        type=int,
        default=1,
        help="of epochs and iterations, at most; 0: as many as the study asks for",
    )
    found.add_argument("--at-once", type=int, default=1, help="how many cells run side by side")
    found.add_argument("--seconds", type=float, help="after which a cell is stopped, and counts as failed")
    return found


def class_of(cell: Cell) -> str | None:
    """Return the class that a cell works on, if it has one."""
    return cell.get("class", cell.get("texture"))


def chosen(cells: Sequence[Cell], full: bool = False) -> list[Cell]:
    """Return a cell of each kind, which is what it does on which data set: the first on a class of FULL, or on another, where there is one.

    Cells on classes that have no stand-in are left out.
    """
    found: dict[tuple, Cell] = {}
    for cell in sorted(cells, key=lambda cell: (class_of(cell) in FULL) != full):
        if held(cell):
            found.setdefault(kind_of(cell), cell)
    return list(found.values())


def held(cell: Cell) -> bool:
    """Tell whether a cell works on a class with a stand-in, or on none of a data set that it names."""
    named = [value for value in cell.values() if isinstance(value, str) and value in LAYOUTS]
    return all(class_of(cell) in CLASSES[name] for name in named)


def kind_of(cell: Cell) -> tuple[Any, ...]:
    """Return all words of a cell's key but its class, which stands for its data set, and its condition, which is clean or not."""
    words = {key: v for key, v in cell.items() if isinstance(v, str) and key not in ("class", "texture")}
    if "condition" in words:
        words["condition"] = "clean" if words["condition"] == "clean" else "shifted"
    sets = tuple(data for data, classes in CLASSES.items() if class_of(cell) in classes)
    return (*sorted(words.items()), sets)


def rehearse(name: str, cell: Cell, repetitions: int, seconds: float | None) -> dict[str, Any]:
    """Compute a cell in a process of its own; return what it cost, and in `wrong` why it did not go through."""
    text = json.dumps(cell, ensure_ascii=False)
    command = [*COMMAND, name, text, str(repetitions)]
    line: dict[str, Any] = {"study": name, "cell": cell, "wrong": ""}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, env=os.environ | dict.fromkeys(OWN, "1")
        )
    except subprocess.TimeoutExpired:
        return line | {"wrong": f"it was stopped after {seconds:g} seconds"}
    if done.returncode:
        return line | {"wrong": done.stderr.strip() or f"exit status {done.returncode}"}
    line |= json.loads(done.stdout.splitlines()[-1])
    if line["peak_memory_mb"] > MOST_MEMORY:
        line["wrong"] = (
            f"it took {line['peak_memory_mb'] / 1024:.1f} GiB: at most {MOST_MEMORY / 1024:g} are allowed"
        )
    return line


def told(line: dict[str, Any]) -> str:
    """Return a line of the table: study, cell, what it cost, and what went wrong."""
    text = f"{line['study']} {json.dumps(line['cell'], ensure_ascii=False)}: "
    if "rows" in line:
        gib = line["peak_memory_mb"] / 1024
        text += f"{line['rows']} rows, {line['seconds']:.0f} s, {line['cpu']:.0f} s of CPU, {gib:.2f} GiB"
    if "card_mb" in line:
        text += f", on the card {line['card_mb'] / 1024:.2f} GiB"
    return text + (f"\n  WRONG: {line['wrong']}" if line["wrong"] else "")


if __name__ == "__main__":
    sys.exit(main())
