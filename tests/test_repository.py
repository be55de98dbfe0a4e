"""Promises of the repository's files to each other."""

import ast
import json
import re
import subprocess
import tomllib

import jupytext
import pytest
import yaml

from otad.publish import pages, root

ROOT = root()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Who may import whom inside otad (DESIGN: imports run one way); everyone may use the checks of what goes in.
ALLOWED = {
    "checks": set(),
    "data": {"data"},
    "features": {"features"},
    "transport": {"transport"},
    "metrics": set(),
    "scale": set(),
    "display": set(),
    "kernels": {"kernels"},
    "methods": {"methods", "features", "transport", "kernels"},
    "studies": {
        "studies",
        "data",
        "features",
        "methods",
        "transport",
        "metrics",
        "kernels",
        "scale",
        "machine",
    },
    "machine": set(),
    "plotting": {"plotting", "display", "judgement"},
    "judgement": set(),
    "ledger": {"display", "judgement"},
    "publish": {"publish", "ledger", "scale", "machine", "studies", "data"},  # data: the names of the folders
}


def _tracked():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        names += [f"otad.{a.name}" for a in node.names] if names == ["otad"] else []
        names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
        yield from (name for name in names if name.startswith("otad."))


def test_imports_run_one_way():
    package = ROOT / "src" / "otad"
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room in ("__init__", "published"):
            continue
        imported = {name.split(".")[1] for name in _imports(path)} - {"checks"}
        assert imported <= ALLOWED[room], (
            f"{path.relative_to(ROOT)} imports {sorted(imported - ALLOWED[room])}"
        )


def test_environment_yml_agrees_with_pyproject():
    pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1]["pip"]
    extras = PROJECT["optional-dependencies"]
    assert pip == [*PROJECT["dependencies"], *extras["book"], *extras["dev"], "-e ."]


def test_the_package_has_lower_bounds_only():
    for requirement in PROJECT["dependencies"]:
        assert re.fullmatch(r"[a-z0-9-]+>=[\d.]+", requirement), requirement


def test_the_lock_has_hashes_and_no_address():
    lock = (ROOT / "requirements.txt").read_text()
    assert "://" not in lock
    pins = re.findall(r"^([a-zA-Z0-9_.-]+)==", lock, re.MULTILINE)
    assert {"torch", "jupyter-book", "snakemake", "uv"} <= set(pins)
    for block in re.split(r"\n(?=\S)", lock.strip()):
        assert "--hash=sha256:" in block, block


def test_every_locked_project_dependency_meets_its_bound():
    from packaging.requirements import Requirement

    lock = dict(
        re.findall(r"^([a-zA-Z0-9_.-]+)==([^ \\;]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    )
    extras = PROJECT["optional-dependencies"]
    for group in (PROJECT["dependencies"], extras["book"], extras["dev"]):
        for requirement in map(Requirement, group):
            assert requirement.specifier.contains(lock[requirement.name.lower()]), requirement


def test_every_page_is_in_the_table_of_contents_and_paired():
    text = (ROOT / "_toc.yml").read_text()
    listed = re.findall(r"file: notebooks/(\w+)", text)
    assert sorted(listed) == pages()
    for name in re.findall(r"file: book/(\w+)", text):
        made = name in ("ledger", "audit", "figures", "parity", "status")
        assert made or (ROOT / "book" / f"{name}.md").is_file()


def test_a_page_has_at_most_five_hundred_lines():
    lines = {page: (ROOT / "notebooks" / f"{page}.py").read_text().count("\n") for page in pages()}
    assert {page: n for page, n in lines.items() if n > 500} == {}


def test_a_visible_cell_has_at_most_twenty_five_lines_and_twelve_on_average():
    lengths = {}
    for page in pages():
        for cell in jupytext.read(ROOT / "notebooks" / f"{page}.py").cells:
            tags = {"hide-input", "remove-input", "remove-cell"} & set(cell.metadata.get("tags", []))
            if cell.cell_type == "code" and not tags:
                lengths[page, cell.source[:40]] = cell.source.count("\n") + 1
    assert {cell: n for cell, n in lengths.items() if n > 25} == {}
    assert sum(lengths.values()) / len(lengths) <= 12


def _plumbing(page):
    """Share of a page's lines that are code which readers see only if they ask for it."""
    text = (ROOT / "notebooks" / f"{page}.py").read_text()
    cells = [cell.splitlines() for cell in text.split("\n# %%")[1:]]
    hidden = [lines for head, *lines in cells if "hide-input" in head or "remove-input" in head]
    return sum(bool(line.strip()) for lines in hidden for line in lines) / text.count("\n")


def test_plumbing_is_below_a_quarter_of_every_page():
    shares = {page: round(_plumbing(page), 3) for page in pages()}
    assert {page: share for page, share in shares.items() if share >= 0.25} == {}


def test_stored_rows_come_from_a_commit():
    for path in (ROOT / "results").glob("*.json"):
        commits = [source["commit"] for source in json.loads(path.read_text())["sources"]]
        assert commits
        assert all(re.fullmatch(r"[0-9a-f]{12}", commit) for commit in commits), path.name


def test_the_readme_names_both_commands():
    text = (ROOT / "README.md").read_text()
    assert "make book" in text
    assert "make test" in text
    assert "make test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("pattern", [r"(^|[^A-Za-z0-9_.])/(work|root|tmp|home)/", r"OWNER"])
def test_no_machine_path_and_one_repository_address(pattern):
    generated = {".ipynb", ".npz", ".txt"}
    allowed = {"_config.yml"} if pattern == "OWNER" else set()
    for path in _tracked():
        if path.suffix in generated or "tests" in path.parts or path.name in allowed:
            continue
        found = re.search(pattern, path.read_text(encoding="utf-8", errors="ignore"), re.MULTILINE)
        assert found is None, f"{path.relative_to(ROOT)}: {found[0]}"
