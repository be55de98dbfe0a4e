"""A page is executed again when something that it imports or reads has changed, and not otherwise."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from otad.publish import pages, root
from otad.publish.inputs import inputs

from .conftest import PAGE

REAL = root() / "src" / "otad"
OURS = ("__init__", "scale", "publish/__init__", "publish/inputs", "publish/processes", "publish/notebooks")
OURS += ("publish/execute", "studies/__init__", "studies/sources")
# Stands for what executes a page: makes the receipt.
STUB = """\
import sys
from pathlib import Path


def main():
    Path(sys.argv[sys.argv.index("--output") + 1]).with_suffix(".json").write_text("receipt")
"""
MODULES = {
    "publish/__main__": STUB,
    "transport": "X = 1",
    "ledger": 'from importlib import resources\nresources.files("otad.published")',
    "published/__init__": "",
    "methods/__init__": 'METHODS = {"FCA": "otad.methods.fca", "Other": "otad.methods.other"}\nX = 1',
    "methods/fca": "from otad.transport import X",
    "methods/other": "X = 1",
    "studies/one": 'NAME = "one"\nLIST = "list.csv"\nfrom otad.methods import FCA',
    "studies/two": "X = 1",
}
CODE = {
    "10_page": "from otad import transport",
    "11_page": "from otad.methods import FCA",
    "12_page": "from otad.studies import one",
    "13_page": "from otad import ledger",
    "14_page": "from otad import ledger\nprint('own-07')",
    "15_page": "from otad.studies import two",
    "16_page": "from otad import ledger\nfrom otad.studies import one\nask = ledger.stored\nask(one.NAME)",
    "17_page": "from otad import ledger\nfrom otad.studies import one\nledger.stored('two')",
}
TOUCHED = [
    ("notebooks/10_page.py", "10"),
    ("src/otad/studies/one.py", "12 16 17"),
    ("src/otad/studies/list.csv", "12 16 17"),
    ("src/otad/studies/__init__.py", "12 15 16 17"),
    ("results/one.json", "16"),
    ("results/two.json", "17"),
    ("src/otad/transport.py", "10 11 12 16 17"),
    ("src/otad/methods/fca.py", "11 12 16 17"),
    ("src/otad/methods/other.py", ""),
    ("src/otad/published/claims.csv", "13 14 16 17"),
    ("src/otad/published/community.csv", "14"),
    ("src/otad/publish/execute.py", "10 11 12 13 14 15 16 17"),
    ("src/otad/publish/inputs.py", ""),
    ("requirements.txt", "10 11 12 13 14 15 16 17"),
]


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A repository in small with a package of its own, whose modules do nothing."""
    for name in ("_toc.yml", "_config.yml", "Snakefile", "requirements.txt"):
        _write(tmp_path / name, (root() / name).read_text())
    for name in OURS:
        _write(tmp_path / "src" / "otad" / f"{name}.py", (REAL / f"{name}.py").read_text())
    for name, text in MODULES.items():
        _write(tmp_path / "src" / "otad" / f"{name}.py", text + "\n")
    for name in ("claims", "community"):
        _write(tmp_path / f"src/otad/published/{name}.csv", "id\n")
    _write(tmp_path / "src/otad/studies/list.csv", "id\n")
    for name in ("one", "two"):
        _write(tmp_path / "results" / f"{name}.json", "{}")
    for name, code in CODE.items():
        text = PAGE.format(code=code).replace("from otad import ledger\n", "", 1)
        _write(tmp_path / "notebooks" / f"{name}.py", text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "src"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _pages_with(name):
    return " ".join(page[:2] for page in pages() if name in inputs(page).files)


@pytest.mark.parametrize(("name", "touched"), TOUCHED)
def test_a_page_depends_on_what_it_imports_and_reads(small, name, touched):
    assert _pages_with(name) == touched


def _snakemake(*arguments):
    targets = [f"_build/executed/smoke/{page}.json" for page in CODE]
    run = [sys.executable, "-m", "snakemake", "--cores", "1", "--config", "scale=smoke", "--nolock"]
    run += ["--max-checksum-file-size", "0", *arguments, "--", *targets]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(r"wildcards: page=(\w+)", done.stdout + done.stderr))


def test_snakemake_executes_what_a_change_touches_and_a_new_method_touches_nothing(small):
    assert _snakemake() == set(CODE)
    os.utime("src/otad/transport.py")
    assert _snakemake() == {"10_page", "11_page", "12_page", "16_page", "17_page"}
    _write(Path("src/otad/methods/new.py"), "X = 1\n")
    table = Path("src/otad/methods/__init__.py")
    table.write_text(table.read_text().replace("}", ', "New": "otad.methods.new"}'))
    os.utime("src/otad/methods/other.py")
    assert _snakemake("--dry-run") == set()
    table.write_text(table.read_text().replace("X = 1", "X = 2"))
    assert _snakemake("--dry-run") == {"11_page", "12_page", "16_page", "17_page"}


def test_a_page_that_cannot_be_read_does_not_hide_the_others(small):
    _write(Path("notebooks/14_page.py"), "import (")
    assert "notebooks/14_page.py" in inputs("14_page").files
    assert _pages_with("src/otad/transport.py") == "10 11 12 16 17"


def test_the_books_own_pages_depend_on_what_their_code_says():
    """The page's own imports, read in the plainest way, and none of the methods that it does not name."""
    for page in pages():
        files = set(inputs(page).files)
        text = (root() / "notebooks" / f"{page}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("otad."):
                path = "src/" + node.module.replace(".", "/")
                assert {f"{path}.py", f"{path}/__init__.py"} & files or node.module == "otad.methods", page
        assert "src/otad/published/numbers.csv" in files
    assert "results/pradot_code.json" in inputs("55_pradot_paper_against_code").files
    # Asked for by `study.name`, and a file that is opened by its name.
    assert {"results/benchmark_flows.json", "results/parity_anomalib.json"} <= set(inputs("21_results").files)
    assert not any("results/" in name for name in inputs("32_assignment_counts").files)
    assert not any("methods" in name for name in inputs("01_one_dimensional_transport").files)
