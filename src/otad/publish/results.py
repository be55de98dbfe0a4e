"""`make results` asks here what it may run: the commit says which program made the numbers, and pages read them from results/."""

import subprocess

from otad.publish import pages, root
from otad.publish.notebooks import read


def stored_pages() -> list[str]:
    """Return the pages that compare what they compute with the stored rows of a study."""
    code = {page: "\n".join(cell.source for cell in read(page).cells) for page in pages()}
    return [page for page, text in code.items() if "ledger.stored(" in text]


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
