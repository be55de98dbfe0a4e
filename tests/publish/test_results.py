"""What `make results` may run, and how a page says where stored rows come from."""

import subprocess
from pathlib import Path

import pytest

from otad import ledger
from otad.publish import __main__ as command
from otad.publish import results


def test_the_command_names_the_studies_to_choose_from(monkeypatch, capsys):
    monkeypatch.setattr(results, "commit", lambda: "unknown")
    assert command.main(["results", "nosuch"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("otad: 'nosuch' is no study; the studies are ")
    assert "pradot_code" in said


def _git(*arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def committed(book):
    """The small repository under git, all of it committed."""
    book("20_long", "")
    Path("results").mkdir()
    Path("src").mkdir()
    Path("results/20_long.json").write_text("old")
    Path(".gitignore").write_text("_build\n")
    _git("init")
    _git("add", ".")
    _git("commit", "-m", "all")


@pytest.mark.parametrize(
    "name", ["notebooks/20_long.py", "Snakefile", "src/a new.py", "notebooks/own_data.txt"]
)
def test_a_long_run_refuses_what_is_not_committed_and_names_it(committed, name):
    with open(name, "a") as file:
        file.write("\n# edited\n")
    with pytest.raises(ValueError, match=rf"differs from its commit: {name}; .* commit these files first"):
        results.commit()


def test_results_may_be_new_and_notes_may_lie_about(committed):
    Path("results/20_long.json").write_text("new")
    Path("note.txt").write_text("not in the way")
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    assert results.commit() == head[:12]


def test_a_renamed_file_counts(committed):
    _git("mv", "notebooks/20_long.py", "notebooks/21_long.py")
    with pytest.raises(
        ValueError, match=r"differs from its commit: notebooks/20_long.py, notebooks/21_long.py;"
    ):
        results.commit()


def test_a_missing_result_says_how_to_compute_it():
    with pytest.raises(ValueError, match=r"results/99_none.json does not exist: `make results` computes it"):
        ledger.stored("99_none")


def test_the_sentence_tells_where_a_value_comes_from():
    provenance = {
        "command": "make results STUDIES=toy",
        "seconds": 1800.0,
        "machine": "x86_64, 2 cores",
        "threads": 1,
        "versions": {"torch": "2.15.0"},
        "commit": "0123456789ab",
        "date": "2026-11-25T10:00:00+00:00",
        "codes": ["new"],
    }
    said = ledger.Stored([], provenance).sentence()
    assert "2 cores, with 1 thread, torch" in said
    assert "with 2 threads, torch" in ledger.Stored([], {**provenance, "threads": 2}).sentence()
    for word in (
        "make results STUDIES=toy",
        "30 minutes",
        "x86_64, 2 cores",
        "2.15.0",
        "0123456789ab",
        "2026-11-25",
    ):
        assert word in said


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        (["new", "new", "new"], "The code has not changed since."),
        (["old", "old", "old"], "has changed since: the next `make results` computes it anew."),
        (["old", "new", "old"], "has changed since: the next `make results` computes 2 of them anew."),
    ],
)
def test_the_sentence_of_a_study_counts_its_cells_and_says_whether_the_code_has_changed(codes, told):
    provenance = {
        "command": "make results STUDIES=toy",
        "seconds": 60.0,
        "machine": "x86_64",
        "threads": 1,
        "versions": {"torch": "2.15.0"},
        "commit": "0123456789ab",
        "date": "2026-11-25",
        "codes": codes,
    }
    said = ledger.Stored([], provenance).sentence("new")
    assert said.startswith("3 cells, stored by `make results STUDIES=toy`")
    assert said.endswith(told)
    assert "changed" not in ledger.Stored([], provenance).sentence()


def test_a_gathered_study_says_which_code_its_cells_ran():
    found = ledger.stored("pradot_code")
    assert len(found.provenance["codes"]) == len({(r["class"], r["seed"]) for r in found.value})
