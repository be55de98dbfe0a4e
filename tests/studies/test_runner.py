"""Cells in any order, each in a file of its own; a killed run redoes only what it was at; parts gather into one file."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from otad.studies import Study, runner

computed: list[dict] = []


def _cells(scale):
    return [{"class": c, "seed": s} for c in ("carpet", "wood") for s in range(3)]


def _compute(cell, scale):
    computed.append(cell)
    if cell["class"] == "wood" and cell["seed"] == 1:
        raise ValueError("a bad board")
    yield {"method": "FCA", "image": 90.0 + cell["seed"]}
    yield {"method": "SWW", "image": 80.0}


def _sound(cell, scale):
    computed.append(cell)
    return [{"image": float(cell["seed"])}]


STUDY = Study("toy", _cells, _compute, seconds=30.0)
SOUND = Study("toy", _cells, _sound, seconds=20.0)


@pytest.fixture(autouse=True)
def version(monkeypatch):
    """Today's code, and a way to change it."""
    computed.clear()
    now = {"code": "aaaa"}
    monkeypatch.setattr(runner, "code", lambda study, scale="laptop": now["code"])
    monkeypatch.setattr(runner, "source", lambda: {"commit": "0123", "machine": "one"})
    return now


def test_a_cell_that_raises_is_named_and_the_others_go_on(tmp_path):
    with pytest.raises(runner.CellError, match=r'toy {"class": "wood", "seed": 1}') as error:
        runner.run(STUDY, "smoke", _cells("smoke"), tmp_path)
    assert "a bad board" in str(error.value)
    assert len(computed) == 6
    assert len(list(tmp_path.rglob("*.json"))) == 5


def test_a_row_that_no_file_can_hold_is_named_and_the_others_go_on(tmp_path):
    mean = Study("toy", _cells, lambda cell, scale: [{"image": float("nan") if cell["seed"] == 1 else 1.0}])
    with pytest.raises(runner.CellError, match=r'"carpet", "seed": 1}(.|\n)*"wood", "seed": 1}'):
        runner.run(mean, "smoke", _cells("smoke"), tmp_path)
    assert len(list(tmp_path.rglob("*.json"))) == 4


def test_finished_cells_are_not_computed_again_until_code_or_key_changes(tmp_path, version):
    assert runner.run(SOUND, "smoke", _cells("smoke")[:4], tmp_path) == 4
    assert runner.run(SOUND, "smoke", reversed(_cells("smoke")), tmp_path) == 2
    assert runner.run(SOUND, "laptop", _cells("laptop")[:1], tmp_path) == 1  # another scale
    version["code"] = "bbbb"
    assert runner.run(SOUND, "smoke", _cells("smoke"), tmp_path) == 6


def test_jobs_take_about_a_minute_and_hold_every_cell_once():
    jobs = runner.jobs(SOUND, "laptop")
    assert [len(job) for job in jobs] == [3, 3]
    assert [cell for job in jobs for cell in job] == _cells("laptop")


def test_gathering_is_sorted_a_row_a_line_and_says_what_is_missing(tmp_path):
    target = tmp_path / "results" / "toy.json"
    with pytest.raises(runner.CellError):
        runner.run(STUDY, "smoke", reversed(_cells("smoke")), tmp_path)
    lacking = runner.gather(STUDY, "smoke", tmp_path, target)
    assert lacking == [{"class": "wood", "seed": 1}]
    kept = json.loads(target.read_text())
    assert kept["missing"] == lacking
    assert [(r["class"], r["seed"], r["method"]) for r in kept["rows"][:3]] == [
        ("carpet", 0, "FCA"),
        ("carpet", 0, "SWW"),
        ("carpet", 1, "FCA"),
    ]
    assert len(kept["sources"]) == 1
    assert kept["sources"][0]["machine"] == "one"
    assert sum('"method"' in line for line in target.read_text().splitlines()) == 10


def test_rows_of_a_tree_that_differs_from_its_commit_are_not_gathered(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "source", lambda: {"commit": "0123-dirty", "machine": "one"})
    runner.run(SOUND, "smoke", _cells("smoke")[:2], tmp_path)
    with pytest.raises(ValueError, match="2 cells of .* from a tree that differs from its commit"):
        runner.gather(SOUND, "smoke", tmp_path, tmp_path / "toy.json")
    assert not (tmp_path / "toy.json").exists()


def test_a_part_computed_elsewhere_is_completed_and_not_repeated(tmp_path, monkeypatch):
    here, there, target = tmp_path / "here", tmp_path / "there", tmp_path / "toy.json"
    runner.run(SOUND, "smoke", _cells("smoke")[:4], there)
    runner.gather(SOUND, "smoke", there, target)
    computed.clear()
    monkeypatch.setattr(runner, "source", lambda: {"commit": "0123", "machine": "two"})
    assert runner.todo(SOUND, "smoke", here, target) == {1: 2}
    for number in runner.todo(SOUND, "smoke", here, target):
        runner.run(SOUND, "smoke", runner.jobs(SOUND, "smoke")[number], here)
    assert computed == _cells("smoke")[4:]
    assert runner.gather(SOUND, "smoke", here, target) == []
    kept = json.loads(target.read_text())
    assert [s["machine"] for s in kept["sources"]] == ["one", "two"]
    assert [c["from"] for c in kept["cells"]] == [0, 0, 0, 0, 1, 1]
    assert [r["image"] for r in kept["rows"]] == [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]
    assert runner.todo(SOUND, "smoke", here, target) == {}


def test_old_results_are_not_taken_for_todays(tmp_path, version):
    target = tmp_path / "toy.json"
    runner.run(SOUND, "smoke", _cells("smoke"), tmp_path / "cells")
    runner.gather(SOUND, "smoke", tmp_path / "cells", target)
    before = target.read_bytes()
    assert runner.todo(SOUND, "laptop", tmp_path / "cells", target) == {0: 3, 1: 3}
    version["code"] = "bbbb"
    assert runner.todo(SOUND, "smoke", tmp_path / "cells", target) == {0: 3, 1: 3}
    assert runner.gather(SOUND, "smoke", tmp_path / "cells", target) == []
    assert target.read_bytes() == before  # nothing new: the old cells stay


def test_old_cells_stay_until_they_are_computed_again_but_not_those_of_a_dirty_tree(tmp_path, version):
    target, folder = tmp_path / "toy.json", tmp_path / "cells"
    runner.run(SOUND, "smoke", _cells("smoke"), folder)
    runner.gather(SOUND, "smoke", folder, target)
    version["code"] = "bbbb"
    runner.run(SOUND, "smoke", _cells("smoke")[:2], folder)
    assert runner.gather(SOUND, "smoke", folder, target) == []
    codes = [cell["code"] for cell in json.loads(target.read_text())["cells"]]
    assert codes == ["bbbb"] * 2 + ["aaaa"] * 4
    assert sum(runner.todo(SOUND, "smoke", folder, target).values()) == 4
    dirty = json.loads(target.read_text())
    dirty["sources"][0]["commit"] = "0123456789ab-dirty"
    for cell in dirty["cells"]:
        cell["from"] = 0
    target.write_text(json.dumps(dirty))
    assert runner.gather(SOUND, "smoke", folder, target) == _cells("smoke")[2:]


def test_a_killed_run_redoes_only_what_it_was_at(tmp_path):
    """A real kill -9 in the middle of a cell."""
    script = tmp_path / "slow.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from otad.studies import Study, runner
        runner.code, runner.source = lambda study, scale: "aaaa", dict
        def compute(cell, scale):
            with open(r"{tmp_path / "started"}", "a") as file:
                print(cell["seed"], file=file)
            time.sleep(0.2 if cell["seed"] < 2 or len(sys.argv) > 1 else 60)
            return [{{"image": 1.0}}]
        study = Study("slow", lambda scale: [{{"seed": s}} for s in range(4)], compute)
        runner.run(study, "smoke", study.cells("smoke"), Path(r"{tmp_path / "cells"}"))
        """)
    )
    first = subprocess.Popen([sys.executable, script])
    started = tmp_path / "started"
    deadline = time.monotonic() + 60
    while not (started.is_file() and started.read_text().split() == ["0", "1", "2"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    subprocess.run([sys.executable, script, "quick"], check=True)
    assert started.read_text().split() == ["0", "1", "2", "2", "3"]
    assert len(list((tmp_path / "cells").rglob("*.json"))) == 4


def test_a_page_reads_cells_of_paper_scale_that_are_there_and_computes_the_others(
    tmp_path, monkeypatch, version
):
    monkeypatch.setenv("OTAD_CELLS", str(tmp_path))
    runner.run(SOUND, "paper", _cells("paper")[:1], tmp_path)
    computed.clear()
    rows = [runner.rows_of(SOUND, "paper", cell) for cell in _cells("paper")[:2]]
    assert rows == [[cell | {"image": float(cell["seed"])}] for cell in _cells("paper")[:2]]
    assert computed == _cells("paper")[1:2]
    runner.rows_of(SOUND, "laptop", _cells("laptop")[0])
    version["code"] = "bbbb"
    runner.rows_of(SOUND, "paper", _cells("paper")[0])
    assert computed == [_cells("paper")[1], _cells("paper")[0], _cells("paper")[0]]
