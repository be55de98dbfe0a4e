"""Studies through Snakemake: every cell once, a part completed, and what a page reads of it."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from otad import ledger
from otad.publish import root
from otad.publish.cells import progress

# A study that costs nothing: three cells, two of them in one job.
STUDY = """\
from otad.studies import Study


def compute(cell, scale):
    return [{"x": cell["seed"]}]


STUDY = Study("toy", lambda scale: [{"seed": s} for s in (0, 1, 2)], compute, seconds=30.0)
"""


@pytest.fixture
def repository(tmp_path):
    """A repository in small that holds the whole package, and one more study."""
    for name in ("_toc.yml", "Snakefile", "requirements.txt", "_config.yml"):
        shutil.copy(root() / name, tmp_path)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root() / "src" / "otad", tmp_path / "src" / "otad", ignore=ignored)
    (tmp_path / "src" / "otad" / "studies" / "toy.py").write_text(STUDY)
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def _results(folder):
    command = [sys.executable, "-m", "otad.publish", "results", "toy", "--scale", "smoke", "--cores", "1"]
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_a_part_is_completed_and_nothing_is_computed_twice(repository):
    assert "has 3 of 3 cells" in _results(repository)
    gathered = repository / "_build" / "results" / "smoke" / "toy.json"
    before = json.loads(gathered.read_text())
    cells = sorted((repository / "_build" / "cells" / "smoke" / "toy").rglob("*.json"))
    kept, lost = cells[0].stat().st_mtime_ns, cells[1]
    lost.unlink()
    shutil.rmtree(gathered.parent)
    assert "2 of 3 cells are there" in _results(repository)
    assert cells[0].stat().st_mtime_ns == kept
    assert lost.is_file()
    after = json.loads(gathered.read_text())
    assert after["rows"] == before["rows"] == [{"seed": s, "x": s} for s in (0, 1, 2)]
    assert after["missing"] == []


def test_progress_says_how_long_it_will_take():
    assert progress(done=30, before=10, total=50, seconds=60.0) == "[30/50 cells,   60 s] about 1.0 min left"


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A gathered file, as `ledger` finds it."""
    source = {
        "commit": "0123",
        "machine": "one",
        "threads": 1,
        "versions": {"torch": "2.15"},
        "date": "2026-11-25",
    }
    cells = [
        {"cell": {"seed": s}, "code": "a", "seconds": 90.0, "peak_memory_mb": 1.0, "from": f, "rows": 1}
        for s, f in ((0, 0), (1, 1))
    ]
    found = {
        "study": "toy",
        "scale": "laptop",
        "sources": [source, source | {"machine": "two"}],
        "missing": [{"seed": 2}],
        "cells": cells,
        "rows": [{"seed": 0, "image": 1.0}, {"seed": 1, "image": 2.0}],
    }
    (tmp_path / "src" / "otad").mkdir(parents=True)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "toy.json").write_text(json.dumps(found))
    monkeypatch.setattr(ledger, "__file__", str(tmp_path / "src" / "otad" / "ledger.py"))


def test_a_page_reads_rows_and_is_told_what_is_missing(study):
    stored = ledger.stored("toy")
    assert [row["image"] for row in stored.value] == [1.0, 2.0]
    said = stored.sentence()
    for word in (
        "make results STUDIES=toy",
        "3 minutes on one; and on two",
        "1 cells are still to be computed",
    ):
        assert word in said


def test_a_damaged_file_of_rows_is_named(study, tmp_path):
    from otad.studies import load, runner

    (damaged,) = tmp_path.rglob("*.json")
    damaged.write_text('{"scale": ')
    with pytest.raises(ValueError, match=f"{damaged.name} is damaged .*git checkout"):
        runner.known(load("pradot_code"), "smoke", tmp_path / "cells", damaged)
    with pytest.raises(ValueError, match=f"{damaged.name} is damaged .*git checkout results"):
        ledger.stored(damaged.stem)
