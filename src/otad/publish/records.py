"""What the executed pages recorded: values, verdicts, the figures they show, and their cost."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from otad import scale as scales
from otad.publish import pages, root

WORDS, FIGURES = 220, 4  # that one reads, and looks at, in a minute


@dataclass
class Page:
    """One executed page: title, recorded values by key, verdicts by claim, figures and tables shown, cost.

    short: the sentence it opens with. promise: what follows the title. minutes: to read it without its code.
    """

    name: str
    title: str
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    verdicts: dict[str, dict[str, Any]] = field(default_factory=dict)
    shows: list[str] = field(default_factory=list)
    cost: dict[str, Any] = field(default_factory=dict)
    short: str = ""
    promise: str = ""
    minutes: float = 0.0

    @property
    def label(self) -> str:
        """The title as readers see it, with the page's number."""
        return f"{self.name[:2]} · {self.title}"


def folder(scale: str) -> Path:
    """Return where the executed notebooks of a scale lie."""
    return root() / "_build" / "executed" / scale


def outputs(notebook: nbformat.NotebookNode) -> Iterator[nbformat.NotebookNode]:
    """Yield all outputs of a notebook."""
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


def minutes(notebook: nbformat.NotebookNode) -> float:
    """Return how long the prose and the figures take to read: `WORDS` words a minute, `FIGURES` figures a minute; code is not counted."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    shown = [output.get("data", {}) for output in outputs(notebook)]
    texts += [data["text/markdown"] for data in shown if "text/markdown" in data]
    texts += [
        re.sub("<[^>]*>", " ", data["text/html"])
        for data in shown
        if "otad-verdict" in data.get("text/html", "")
    ]
    figures = sum("image/png" in data for data in shown)
    return sum(len(text.split()) for text in texts) / WORDS + figures / FIGURES


def _damaged(path: Path, error: ValueError) -> str:
    return f"{path} is damaged ({str(error)[:60]!r}): remove {path.with_suffix('.json').name} there, and `make book` executes the page again"


def read_page(path: Path) -> Page:
    """Read one executed notebook and the cost beside it."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except ValueError as error:
        raise ValueError(_damaged(path, error)) from None
    title, _, text = notebook.cells[0].source.partition("\n")
    page = Page(path.stem, title.removeprefix("# "), promise=text.strip().split("\n\n")[0])
    page.minutes = minutes(notebook)
    for output in outputs(notebook):
        metadata = output.get("metadata", {})
        if "record" in metadata:
            entry = metadata["record"]
            page.records[entry["key"]] = dict(entry)
            if isinstance(entry["value"], dict) and "verdict" in entry["value"]:
                page.verdicts[entry["value"]["claim"]] = dict(entry["value"])
        own = metadata.get("otad", {})
        page.shows += own.get("shows", [])
        if page.short and own.get("short"):
            raise ValueError(f"{page.name} marks two sentences as short: {page.short!r} and {own['short']!r}")
        page.short = page.short or own.get("short", "")
    if path.with_suffix(".json").is_file():
        try:
            page.cost = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(_damaged(path.with_suffix(".json"), error)) from None
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
