"""The comparisons behind the pages: which cells a study has, and what a cell computes. A study draws nothing.

One small module a comparison, each with a `STUDY`; `arenas` names sets of classes; `runner` computes cells on any number of cores or
machines and gathers them into results/<study>.json.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module, resources
from typing import Any

Cell = dict[str, Any]  # what JSON can hold: class, seed, condition, …
Row = dict[str, Any]
MADE = "\nSTUDY = Study("


@dataclass(frozen=True)
class Study:
    """A comparison: its cells at a scale, and the function from a cell to its rows.

    name: of the module and of results/<name>.json. cells: scale → keys, each a flat dict that JSON can hold, in the order of the
    results. compute: (cell, scale) → rows, a function at the top of its module; a row need not repeat its cell's key. seconds: what a
    cell costs on one core at laptop scale, about: cells are computed in jobs of a minute. needs_gpu: it times one; `make results` leaves
    its rows as they are where there is none.
    """

    name: str
    cells: Callable[[str], list[Cell]]
    compute: Callable[[Cell, str], Iterable[Row]]
    seconds: float = 20.0
    needs_gpu: bool = False


def names() -> list[str]:
    """Return the names of all studies: of the modules here that make one."""
    files = [file for file in resources.files(__name__).iterdir() if file.name.endswith(".py")]
    return sorted(f.name.removesuffix(".py") for f in files if MADE in f.read_text(encoding="utf-8"))


def possible() -> list[str]:
    """Return the names of the studies that this machine can run: without a GPU, all but those that time one."""
    from otad.scale import device  # here, because the build's own imports do without it

    return [name for name in names() if not load(name).needs_gpu or device().type == "cuda"]


def load(name: str) -> Study:
    """Return a study; an unknown name raises ValueError."""
    if name not in names():
        raise ValueError(f"there is no study {name!r}; the studies are {', '.join(names()) or 'none yet'}")
    return import_module(f"{__name__}.{name}").STUDY
