"""notebooks/NN_slug.py, the only source, becomes a notebook: for Colab unexecuted, for the book with parameters."""

import ast
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml
from nbformat import NotebookNode

from otad.publish import pages, root

INSTALL = """\
# On Colab: install the package and say what came. Elsewhere: nothing.
import importlib.util
import subprocess
import sys
from importlib.metadata import version

if "google.colab" in sys.modules and importlib.util.find_spec("otad") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "otad @ git+{url}@{branch}"], check=True)
    print("python", sys.version.split()[0], *(f"{{name}} {{version(name)}}" for name in ("otad", "torch", "numpy")))"""

# What a page says to the formatter is not said to its readers.
FORMATTER = re.compile(r"[ \t]*# fmt: \w+$", re.MULTILINE)
BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})"


def address() -> tuple[str, str]:
    """Return the repository's address and branch from _config.yml, the one place where they are written."""
    repository = yaml.safe_load((root() / "_config.yml").read_text(encoding="utf-8"))["repository"]
    return repository["url"].rstrip("/"), repository["branch"]


def colab_link(page: str) -> str:
    """Return the address that opens a page in Colab."""
    url, branch = address()
    return f"{url.replace('https://github.com', 'https://colab.research.google.com/github')}/blob/{branch}/notebooks/{page}.ipynb"


def read(page: str, colab: bool = False) -> NotebookNode:
    """Return the notebook of notebooks/<page>.py; for Colab with its badge and the cell that installs the package."""
    source = root() / "notebooks" / f"{page}.py"
    if not source.is_file():
        raise ValueError(f"there is no page {page!r}; the pages are {', '.join(pages())}")
    notebook = jupytext.read(source)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = FORMATTER.sub("", cell.source)
    if colab:
        url, branch = address()
        notebook.cells[0].source += "\n\n" + BADGE.format(link=colab_link(page))
        notebook.cells.insert(1, nbformat.v4.new_code_cell(INSTALL.format(url=url, branch=branch)))
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return renumber(notebook)


def renumber(notebook: NotebookNode) -> NotebookNode:
    """Name the cells by their position, so that the same source gives the same bytes."""
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i:03d}"
    return notebook


def to_bytes(notebook: NotebookNode) -> bytes:
    """Return the notebook as it is written to disk."""
    return (nbformat.writes(notebook, indent=1) + "\n").encode()


def pair() -> list[Path]:
    """Write the unexecuted .ipynb beside each .py; return those that changed."""
    changed = []
    for page in pages():
        target, new = root() / "notebooks" / f"{page}.ipynb", to_bytes(read(page, colab=True))
        if not target.is_file() or target.read_bytes() != new:
            target.write_bytes(new)
            changed.append(target)
    return changed


def parameters(notebook: NotebookNode) -> dict[str, Any]:
    """Return the names and default values of the cell tagged `parameters`."""
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            assigned = [n for n in ast.parse(cell.source).body if isinstance(n, ast.Assign)]
            return {
                t.id: ast.literal_eval(n.value)
                for n in assigned
                for t in n.targets
                if isinstance(t, ast.Name)
            }
    raise ValueError("the notebook has no cell tagged 'parameters'")


def checked_parameters(notebook: NotebookNode, given: dict[str, Any]) -> dict[str, Any]:
    """Return those of the given parameters that differ from the defaults; an unknown name raises ValueError.

    papermill itself only logs unknown names.
    """
    known = parameters(notebook)
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"unknown notebook parameter {', '.join(unknown)}; this page has {', '.join(known)}")
    return {name: value for name, value in given.items() if known[name] != value}
