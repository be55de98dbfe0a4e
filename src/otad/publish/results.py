"""`make results`: the long runs. A page with a parameter `long` computes its whole grid and stores it, with its provenance."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat

from otad.publish import pages, root
from otad.publish.execute import execute, write
from otad.publish.notebooks import parameters, read
from otad.publish.records import outputs


def long_pages() -> list[str]:
    """Return the pages that have a long run."""
    return [page for page in pages() if "long" in parameters(read(page))]


def stored_pages() -> list[str]:
    """Return the pages that compare what they compute with stored rows, of a long run or of a study."""
    code = {page: "\n".join(cell.source for cell in read(page).cells) for page in pages()}
    return [page for page, text in code.items() if "ledger.stored(" in text]


def compute(names: Sequence[str], scale: str) -> Iterator[Path]:
    """Run these pages (none named: all that have a long run) with long=True; yield results/<page>.json as written.

    Raises ValueError for a page without a long run and for a working tree that is not committed, PageError if the page
    raises; the old file stays then.
    """
    known = long_pages()
    for name in names:
        if name not in known:
            raise ValueError(
                f"{name!r} has no long run; the pages that have one are {', '.join(known) or 'none'}"
            )
    for page in names or known:
        revision = commit()  # of the code that runs, not of what is edited meanwhile
        notebook = root() / "_build" / "results" / f"{page}.ipynb"
        cost = execute(page, scale, notebook, long=True)
        stored = _stored(notebook)
        provenance = {**cost, "commit": revision, "command": f"make results PAGES={page}"}
        target = root() / "results" / f"{page}.json"
        write(target, _lines({"provenance": provenance, "value": stored}))
        yield target


def _stored(path: Path) -> Any:
    found = [
        output.metadata["stored"]["value"]
        for output in outputs(nbformat.read(path, as_version=4))
        if "stored" in output.get("metadata", {})
    ]
    if len(found) != 1:
        raise ValueError(f"{path.stem} stored {len(found)} values in its long run: call ledger.store once")
    return found[0]


def _lines(result: dict[str, Any]) -> bytes:
    """Write a list of rows one row a line, so that a diff shows which cells moved."""
    value = result["value"]
    if not isinstance(value, list):
        return (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode()
    rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in value)
    provenance = json.dumps(result["provenance"], ensure_ascii=False)
    return f'{{\n "provenance": {provenance},\n "value": [\n  {rows}\n ]\n}}\n'.encode()


def commit() -> str:
    """Return the commit that runs; ValueError if something else would run, "unknown" outside a repository."""
    status = _git("status", "--porcelain", "--no-renames", "--untracked-files=all", "-z")
    edited = [line[3:] for line in status.split("\0") if counts(line)]
    if edited:
        raise ValueError(
            f"the working tree differs from its commit: {', '.join(edited)}; a long run names the commit that computed "
            "it, so commit these files first, or remove them"
        )
    return _git("rev-parse", "--short=12", "HEAD").strip() or "unknown"


def counts(line: str) -> bool:
    """Tell whether a line of git status is about what a run computes with: all but results/, and untracked files elsewhere."""
    state, name = line[:2], line[3:]
    folders = ("src/", "notebooks/")
    return bool(name) and (name.startswith(folders) if state == "??" else not name.startswith("results/"))


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=root()).stdout
