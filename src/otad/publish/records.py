"""What the executed pages recorded: values, verdicts, the figures they show, and their cost."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from otad import scale as scales
from otad.publish import pages, root


@dataclass
class Page:
    """One executed page: title, recorded values by key, verdicts by claim, figures and tables shown, cost."""

    name: str
    title: str
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    verdicts: dict[str, dict[str, Any]] = field(default_factory=dict)
    shows: list[str] = field(default_factory=list)
    cost: dict[str, Any] = field(default_factory=dict)


def folder(scale: str) -> Path:
    """Return where the executed notebooks of a scale lie."""
    return root() / "_build" / "executed" / scale


def outputs(notebook: nbformat.NotebookNode) -> Iterator[nbformat.NotebookNode]:
    """Yield all outputs of a notebook."""
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


def read_page(path: Path) -> Page:
    """Read one executed notebook and the cost beside it."""
    notebook = nbformat.read(path, as_version=4)
    page = Page(path.stem, notebook.cells[0].source.splitlines()[0].removeprefix("# "))
    for output in outputs(notebook):
        metadata = output.get("metadata", {})
        if "record" in metadata:
            entry = metadata["record"]
            page.records[entry["key"]] = dict(entry)
            if isinstance(entry["value"], dict) and "verdict" in entry["value"]:
                page.verdicts[entry["value"]["claim"]] = dict(entry["value"])
        page.shows += metadata.get("otad", {}).get("shows", [])
    if path.with_suffix(".json").is_file():
        page.cost = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return page


def built(scale: str) -> None:
    """Raise ValueError if there is no book at this scale."""
    scales.check(scale)
    needed = [folder(scale) / f"{name}.ipynb" for name in pages()]
    for path in (*needed, root() / "_build" / "html" / "index.html"):
        if not path.is_file():
            name = path.relative_to(root())
            raise ValueError(
                f"there is no book at this scale ({name} is missing): run `make book SCALE={scale}`"
            )


def read_all(scale: str, home: Path | None = None, names: Sequence[str] | None = None) -> list[Page]:
    """Read all executed pages of a scale; a key or claim that two pages use raises ValueError.

    home, names: read these pages from another folder instead.
    """
    found = [read_page((home or folder(scale)) / f"{name}.ipynb") for name in names or pages()]
    owner: dict[str, str] = {}
    for page in found:
        for key in page.records:
            if key in owner:
                raise ValueError(
                    f"{key!r} is recorded by {owner[key]} and by {page.name}; a key names one value of the book"
                )
            owner[key] = page.name
    return found
