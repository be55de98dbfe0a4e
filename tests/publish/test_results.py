"""A long run: computed by its page, kept with its provenance, read back, and named by whoever lacks it."""

import json
import subprocess
from pathlib import Path

import pytest

from otad import ledger
from otad.publish import __main__ as command
from otad.publish import results
from otad.publish.execute import PageError


def _page(name, code):
    """A page whose parameters cell has `long`, as it comes out of the template."""
    path = Path("notebooks") / f"{name}.py"
    path.write_text(path.read_text().replace("seed = 0\n", "seed = 0\nlong = False\n") + code)


@pytest.fixture
def long_page(book):
    book("20_long", "")
    _page(
        "20_long",
        'rows = [{"seed": s, "score": 0.5 + s} for s in (1, 2)]\nif long:\n    ledger.store(rows)\n',
    )
    Path("results").mkdir()


def test_a_long_run_is_kept_with_its_provenance(long_page):
    assert results.long_pages() == ["20_long"]  # the fixture's other page has none
    (path,) = results.compute([], "smoke")
    kept = json.loads(path.read_text())
    assert path == Path.cwd() / "results" / "20_long.json"
    assert kept["value"] == [{"seed": 1, "score": 1.5}, {"seed": 2, "score": 2.5}]
    provenance = kept["provenance"]
    assert provenance["command"] == "make results PAGES=20_long"
    assert {"commit", "machine", "versions", "date", "threads", "scale"} <= provenance.keys()
    assert provenance["seconds"] > 0
    # A row a line: a diff shows the cells that moved.
    assert sum('"seed"' in line for line in path.read_text().splitlines()) == 2


def test_a_page_that_fails_leaves_the_old_result(long_page):
    Path("results/20_long.json").write_text("good")
    page = Path("notebooks/20_long.py")
    page.write_text(page.read_text() + "\n# %%\nraise RuntimeError('out of place')\n")
    with pytest.raises(PageError, match="out of place"):
        list(results.compute(["20_long"], "smoke"))
    assert Path("results/20_long.json").read_text() == "good"


def test_the_command_names_studies_and_pages_to_choose_from(long_page, monkeypatch, capsys):
    monkeypatch.setattr(results, "commit", lambda: "unknown")
    assert command.main(["results", "nosuch"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("otad: 'nosuch' is no study and no page with a long run; the studies are ")
    assert "pradot_code" in said
    assert said.endswith("the pages 20_long\n")


def test_what_has_no_long_run_or_stores_nothing_is_refused(long_page):
    with pytest.raises(ValueError, match="'10_page' has no long run; the pages that have one are 20_long"):
        list(results.compute(["10_page"], "smoke"))
    page = Path("notebooks/20_long.py")
    page.write_text(page.read_text().replace("ledger.store(rows)", "pass"))
    with pytest.raises(ValueError, match="stored 0 values"):
        list(results.compute(["20_long"], "smoke"))


def _git(*arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def committed(long_page):
    """The small repository under git, all of it committed."""
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
        list(results.compute(["20_long"], "smoke"))
    assert Path("results/20_long.json").read_text() == "old"


def test_results_may_be_new_and_notes_may_lie_about(committed):
    Path("results/20_long.json").write_text("new")
    Path("note.txt").write_text("not in the way")
    (path,) = results.compute(["20_long"], "smoke")
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    assert json.loads(path.read_text())["provenance"]["commit"] == head[:12]


def test_a_renamed_file_counts(committed):
    _git("mv", "notebooks/20_long.py", "notebooks/21_long.py")
    with pytest.raises(
        ValueError, match=r"differs from its commit: notebooks/20_long.py, notebooks/21_long.py;"
    ):
        list(results.compute(["21_long"], "smoke"))


def test_a_missing_result_says_how_to_compute_it():
    with pytest.raises(ValueError, match=r"results/99_none.json does not exist: `make results` computes it"):
        ledger.stored("99_none")


def test_the_sentence_tells_where_a_value_comes_from():
    provenance = {
        "command": "make results PAGES=20_long",
        "seconds": 1800.0,
        "machine": "x86_64, 2 cores",
        "threads": 1,
        "versions": {"torch": "2.15.0"},
        "commit": "0123456789ab",
        "date": "2026-11-25T10:00:00+00:00",
    }
    said = ledger.Stored([], provenance).sentence()
    assert "2 cores, with 1 thread, torch" in said
    assert "with 2 threads, torch" in ledger.Stored([], {**provenance, "threads": 2}).sentence()
    for word in (
        "make results PAGES=20_long",
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
    assert said.startswith("3 cells, stored by a long run: `make results STUDIES=toy`")
    assert said.endswith(told)
    assert "changed" not in ledger.Stored([], provenance).sentence()


def test_a_gathered_study_says_which_code_its_cells_ran():
    found = ledger.stored("pradot_code")
    assert len(found.provenance["codes"]) == len({(r["class"], r["seed"]) for r in found.value})
