"""Cells of a study computed in any order, on any number of cores or machines, each kept in a file of its own; then gathered.

A cell's file is named by its key and by the code it ran (`reached.fingerprint`), so a changed study finds no old cells, and a killed
run finds all it had finished. `python -m otad.studies --help` is the command line; the Snakefile calls it.
"""

import functools
import hashlib
import json
import os
import tempfile
import time
import traceback
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from otad.machine import commit, forget_peak, machine, own_peak_mb, versions
from otad.scale import FINISHED
from otad.studies import Cell, Row, Study
from otad.studies.reached import fingerprint

JOB_SECONDS = 60.0  # of one job: starting Python and torch takes 5 to 8


class CellError(RuntimeError):
    """Cells raised; the message names each, with its key and error. The others were computed."""


def code(study: Study, scale: str = "laptop") -> str:
    """Return the hash of all code that the study's cells run at a scale."""
    return fingerprint(study.compute.__module__, study.compute.__name__, scale=scale)


def place(study: Study, scale: str, cell: Cell, folder: Path) -> Path:
    """Return where a cell's rows are kept."""
    key = hashlib.sha256(_text(cell).encode()).hexdigest()[:16]
    return folder / scale / study.name / code(study, scale) / f"{key}.json"


def _text(cell: Cell) -> str:
    return json.dumps(cell, sort_keys=True, ensure_ascii=False)


def jobs(study: Study, scale: str) -> list[list[Cell]]:
    """Return the study's cells in jobs of about a minute, the same at every call; at paper scale, where nobody has timed one, each is a job."""
    cells, size = study.cells(scale), max(1, round(JOB_SECONDS / study.seconds))
    if scale == "paper":
        size = 1
    return [cells[i : i + size] for i in range(0, len(cells), size)]


def run(study: Study, scale: str, cells: Iterable[Cell], folder: Path) -> int:
    """Compute the cells that have no file yet, each into its own, written in one step; return how many were computed.

    A cell that raises does not stop the others; CellError names all that did, at the end.
    """
    failed, done = [], 0
    for cell in cells:
        path = place(study, scale, cell, folder)
        if path.is_file():
            continue
        try:
            content = text_of(compute(study, scale, cell)).encode()
        except Exception:
            failed.append(f"{study.name} {_text(cell)}:\n{traceback.format_exc().rstrip()}")
        else:
            write(path, content)
            done += 1
        print(f"cell done: {study.name} {_text(cell)}", flush=True)
    if failed:
        raise CellError("\n".join(failed))
    return done


def compute(study: Study, scale: str, cell: Cell) -> dict[str, Any]:
    """Return a cell's rows with what they cost and where they come from."""
    forget_peak()
    start = time.perf_counter()
    rows = rows_of(study, scale, cell)
    cost = {"seconds": round(time.perf_counter() - start, 2), "peak_memory_mb": own_peak_mb()}
    return {"cell": cell, "rows": rows, "code": code(study, scale), **cost, "from": source()}


def text_of(content: dict[str, Any]) -> str:
    """Return what a cell's file holds; ValueError for a number that is none, such as the mean of nothing."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def rows_of(study: Study, scale: str, cell: Cell) -> list[Row]:
    """Return a cell's rows, each led by the cell's key: what a page's live slice and the long run both call.

    At paper scale rows that today's code has computed before, here or on a cluster, are read: a data set is too much for one kernel.
    """
    folder = os.environ.get(FINISHED)
    if scale == "paper" and folder and (path := place(study, scale, cell, Path(folder))).is_file():
        return json.loads(path.read_text(encoding="utf-8"))["rows"]
    return [cell | dict(row) for row in study.compute(cell, scale)]


@functools.cache
def source() -> dict[str, Any]:
    """Return what the cells of a process share: commit, processor, threads, versions, day."""
    import torch

    day = datetime.now(UTC).date().isoformat()
    threads = torch.get_num_threads()
    return {"commit": commit(), "machine": machine(), "threads": threads, "versions": versions(), "date": day}


def write(path: Path, content: bytes) -> None:
    """Write a file in one step: a killed run leaves the old file or the new, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


# Gathering ----------------------------------------------------------------------------------------


def known(study: Study, scale: str, folder: Path, gathered: Path) -> dict[str, dict[str, Any]]:
    """Return the finished cells of today's code by key: those with a file, and those that results/<study>.json already holds."""
    found = {k: c for k, c in kept(scale, gathered).items() if c["code"] == code(study, scale)}
    for cell in study.cells(scale):
        path = place(study, scale, cell, folder)
        if path.is_file():
            found[_text(cell)] = json.loads(path.read_text(encoding="utf-8"))
    return found


def kept(scale: str, gathered: Path) -> dict[str, dict[str, Any]]:
    """Return the cells that results/<study>.json holds by key, whatever code they ran; ValueError if it is damaged."""
    if not gathered.is_file():
        return {}
    try:
        content = json.loads(gathered.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{gathered} is damaged ({error}): `git checkout` it, or remove it, and what it held is computed again"
        ) from None
    return {_text(c["cell"]): c for c in _unfold(content)} if content["scale"] == scale else {}


def todo(study: Study, scale: str, folder: Path, gathered: Path) -> dict[int, int]:
    """Return the number of each job that lacks cells, and how many; cells that another machine has gathered are laid in place first."""
    found = known(study, scale, folder, gathered)
    lacking = {}
    for number, cells in enumerate(jobs(study, scale)):
        missing = [cell for cell in cells if _text(cell) not in found]
        if missing:
            lacking[number] = len(missing)
            for cell in cells:
                path = place(study, scale, cell, folder)
                if _text(cell) in found and not path.is_file():
                    write(path, json.dumps(found[_text(cell)], ensure_ascii=False).encode())
    return lacking


def gather(study: Study, scale: str, folder: Path, gathered: Path) -> list[Cell]:
    """Write results/<study>.json from the finished cells, in the study's order, one row a line; return the cells that are missing.

    A cell that earlier code computed stays until it is computed again: each names its code, and a page says how many are old. Raises ValueError for cells that were computed from a tree that differs from its commit: nobody could compute them again.
    """
    before = {k: c for k, c in kept(scale, gathered).items() if not c["from"]["commit"].endswith("-dirty")}
    found = before | known(study, scale, folder, gathered)
    cells = [found[_text(c)] for c in study.cells(scale) if _text(c) in found]
    lacking = [c for c in study.cells(scale) if _text(c) not in found]
    if dirty := [c["cell"] for c in cells if c["from"]["commit"].endswith("-dirty")]:
        raise ValueError(
            f"{len(dirty)} cells of {study.name} were computed from a tree that differs from its commit, as {_text(dirty[0])}: "
            f"commit, remove {folder / scale / study.name}, and compute them again"
        )
    if cells:
        write(gathered, _fold(study, scale, cells, lacking))
    return lacking


def _fold(study: Study, scale: str, cells: Sequence[dict[str, Any]], lacking: Sequence[Cell]) -> bytes:
    """Return the file's text: what cells share once, a line a cell, a line a row."""
    sources: list[dict[str, Any]] = []
    for cell in cells:
        if cell["from"] not in sources:
            sources.append(cell["from"])
    heads = [
        {k: v for k, v in c.items() if k != "rows"}
        | {"from": sources.index(c["from"]), "rows": len(c["rows"])}
        for c in cells
    ]
    parts = {
        "sources": sources,
        "missing": list(lacking),
        "cells": heads,
        "rows": [row for cell in cells for row in cell["rows"]],
    }
    head = json.dumps({"study": study.name, "scale": scale})[:-1]
    lists = [f'"{name}": {_lines(items)}' for name, items in parts.items()]
    return (",\n ".join([head, *lists]) + "\n}\n").encode()


def _lines(items: Sequence[Any]) -> str:
    if not items:
        return "[]"
    return (
        "[\n  "
        + ",\n  ".join(json.dumps(item, ensure_ascii=False, allow_nan=False) for item in items)
        + "\n ]"
    )


def _unfold(kept: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield the cells of a gathered file as they were computed."""
    rows = iter(kept["rows"])
    for head in kept["cells"]:
        own = [next(rows) for _ in range(head["rows"])]
        yield head | {"from": kept["sources"][head["from"]], "rows": own}
