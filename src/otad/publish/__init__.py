"""From notebooks to the checked book. Used by the Makefile and the Snakefile only; knows no method.

notebooks → executed (`notebooks.py`, `execute.py`) → staged (`stage.py`, with what opens a page, `short.py`, and a part, `parts.py`, links of
mentions, `crossref.py`, and generated pages, `generated.py`, `audit.py`, `parity.py`) → HTML (`build.py`) → checked
(tests/test_book.py with `expected.py`, `links.py`, `browser.py`). What holds the processes of a build together: `processes.py`. The same
values on another processor: `portable.py`.
"""

import re
from pathlib import Path


def root() -> Path:
    """Return the repository's root, which must be the working directory."""
    here = Path.cwd()
    if not (here / "_toc.yml").is_file():
        raise ValueError(f"{here} holds no _toc.yml: run this from the root of the repository")
    return here


def pages() -> list[str]:
    """Return the names of all notebook pages, in order; ValueError for one that no rule of the Snakefile would execute."""
    names = sorted(path.stem for path in (root() / "notebooks").glob("[0-9]*.py"))
    for name in names:
        if not re.fullmatch(r"\d\d_\w+", name):
            raise ValueError(
                f"notebooks/{name}.py: a page is named by two digits and a slug of letters, digits and underscores, as 18_my_page.py"
            )
    return names
