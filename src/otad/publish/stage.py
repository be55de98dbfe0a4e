"""Lay out _build/src, the tree that jupyter-book reads: prose, executed notebooks, generated pages, MathJax."""

import shutil
from copy import deepcopy
from importlib.metadata import files
from itertools import pairwise
from pathlib import Path

import nbformat
import yaml

from otad.publish import records, root
from otad.publish.audit import audit_page
from otad.publish.crossref import link_notebook, link_text
from otad.publish.generated import after_holm, figures_page, ledger_page, status_page, substitutions, verdicts
from otad.publish.notebooks import colab_link
from otad.publish.parts import write_overviews
from otad.publish.short import open_page

BANNER = (
    "Smoke scale: every page ran on a handful of tiny images to show that it runs. "
    "The numbers and verdicts mean nothing; <code>make book</code> computes the real ones."
)


def stage(scale: str) -> Path:
    """Write the staged tree anew and return it."""
    home, target = root(), root() / "_build" / "src"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(home / "book", target / "book", ignore=shutil.ignore_patterns(".*"))
    shutil.copy(home / "CONTRIBUTING.md", target)
    shutil.copy(home / "_toc.yml", target)
    (target / "_static").mkdir()
    shutil.copy(Path(__file__).with_name("book.css"), target / "_static" / "otad.css")
    _mathjax(target / "vendor" / "mathjax")
    (target / "notebooks").mkdir()
    run = records.read_all(scale)
    adjusted = after_holm(verdicts(run))
    for page in run:
        notebook = nbformat.read(records.folder(scale) / f"{page.name}.ipynb", as_version=4)
        notebook = link_notebook(open_page(notebook, page, adjusted), page.name)
        notebook.cells[0].source += f"\n\n[Open this page in Colab]({colab_link(page.name)})"
        nbformat.write(for_sphinx(notebook), target / "notebooks" / f"{page.name}.ipynb")
    for name, text in {
        "ledger": ledger_page(run, scale),
        "audit": audit_page(),
        "figures": figures_page(run),
        "status": status_page(run, scale),
    }.items():
        (target / "book" / f"{name}.md").write_text(text, encoding="utf-8")
    write_overviews(target, run, adjusted)
    for path in [*(target / "book").glob("*.md"), target / "CONTRIBUTING.md"]:
        path.write_text(link_text(path.read_text(encoding="utf-8"), path.stem), encoding="utf-8")
    (target / "_config.yml").write_text(config(scale, substitutions(run)), encoding="utf-8")
    return target


def config(scale: str, cited: dict[str, str]) -> str:
    """Return _config.yml with the numbers that prose cites, and with a banner at smoke scale."""
    settings = yaml.safe_load((root() / "_config.yml").read_text(encoding="utf-8"))
    settings["sphinx"]["config"]["myst_substitutions"] = cited
    if scale == "smoke":
        settings["html"]["announcement"] = BANNER
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def for_sphinx(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Hand each picture's alt text to myst-nb, which reads it from its cell: a cell with several pictures becomes several.

    A picture without alt text raises ValueError.
    """
    notebook.cells = [part for cell in notebook.cells for part in _one_picture_each(cell)]
    for cell in notebook.cells:
        for output in filter(_picture, cell.get("outputs", [])):
            alt = output.metadata.get("image/png", {}).get("alt", "")
            if not alt:
                raise ValueError(f"a figure must be shown by plotting.show with alt text:\n{cell.source}")
            cell.metadata["mystnb"] = {"image": {"alt": alt}}
    return notebook


def _one_picture_each(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return a cell cut behind each of its pictures but the last; the parts behind the first hide a source that says nothing.

    A part without any source would lose its outputs: myst-nb leaves out such cells.
    """
    outputs = cell.get("outputs", [])
    ends = [i + 1 for i, output in enumerate(outputs) if _picture(output)][:-1]
    if not ends:
        return [cell]
    parts = []
    for k, (start, end) in enumerate(pairwise([0, *ends, len(outputs)])):
        part = deepcopy(cell)
        part.outputs = outputs[start:end]
        if k:
            part.id, part.source = f"{cell.id}-{k}", "# the next picture"
            part.metadata["tags"] = [*cell.metadata.get("tags", []), "remove-input"]
        parts.append(part)
    return parts


def _picture(output: nbformat.NotebookNode) -> bool:
    return "image/png" in output.get("data", {})


def _mathjax(target: Path) -> None:
    """Copy MathJax out of its package: one file, so that mathematics is drawn without a network."""
    package = files("sphinx-mathjax-offline") or []
    script = next(Path(str(f.locate())) for f in package if f.name == "tex-svg-full.js")
    target.mkdir(parents=True)
    shutil.copy(script, target)
