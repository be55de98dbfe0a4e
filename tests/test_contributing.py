"""Whoever follows CONTRIBUTING.md to the letter, in a copy of the repository, ends on the scoreboard and in the ledger."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from otad.publish import root
from otad.publish.records import outputs, read_page

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"# (\S+\.\w+)(?:: (.+))?\n")
PYTHON = ".venv/bin/python"
EXECUTED = "_build/try/04_scoreboard.ipynb"
SHOW_LEDGER = f"""
from pathlib import Path
from otad.publish.generated import ledger_page
from otad.publish.records import read_page
print(ledger_page([read_page(Path("{EXECUTED}"))], "smoke"))
"""


def blocks():
    """The fenced blocks of the text: (language, body)."""
    return BLOCK.findall((root() / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def write(home, name, where, body):
    """Do to a file what a block's first line says; return its path."""
    path = home / name
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not where:
        assert not old, f"{name} exists already"
        new = body
    elif table := re.fullmatch(r"a line in (\w+)", where):
        new = re.sub(rf"^{table[1]} = {{\n", lambda found: found[0] + body, old, count=1, flags=re.MULTILINE)
    elif heading := re.fullmatch(r'cells before "(.+)"', where):
        start = f"# %% [markdown]\n# {heading[1]}\n"
        new = old.replace(start, f"{body}\n{start}", 1)
    else:
        assert where == "a line at the end", where
        new = old + body
    assert new != old, f"{name} has no place for {where!r}"
    path.write_text(new, encoding="utf-8")
    return path


def run(home, *command):
    """Run Python in the copy, with the copy's package."""
    environment = os.environ | {"PYTHONPATH": str(home / "src")}
    done = subprocess.run(
        [sys.executable, *command], cwd=home, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """A copy of the repository after the steps: its folder, and the files that they wrote."""
    home = tmp_path_factory.mktemp("copy")
    listed = ["git", "ls-files", "-co", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=root(), capture_output=True, text=True, check=True).stdout.split():
        if (root() / name).is_file():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root() / name, home / name)
    written, last = [], ""
    todo = blocks()
    # The page is executed once, when the claim is written too: step 5 says to execute it "as in step 4".
    todo.sort(key=lambda block: block[1].startswith((f"{PYTHON} -m otad.publish", "page done")))
    for language, body in todo:
        if place := PLACE.match(body):
            written.append(write(home, *place.groups(), body[place.end() :]))
        elif language == "text":
            assert body.strip() in last
        elif body.startswith(PYTHON):
            last = run(home, *shlex.split(body)[1:])
    return home, written


def test_the_steps_write_what_they_promise(followed):
    home, written = followed
    names = [str(path.relative_to(home)) for path in written]
    assert names[0].startswith("src/otad/methods/")
    assert names[1] == "src/otad/methods/__init__.py"
    assert names[2].startswith("tests/methods/")
    assert names[3:] == ["notebooks/04_scoreboard.py", "src/otad/published/community.csv", names[3]]


def test_the_new_method_is_on_the_scoreboard(followed):
    page = read_page(followed[0] / EXECUTED)
    assert 0 <= page.records["p04_MeanColour"]["value"]["image"] <= 100
    shown = "".join(
        output.get("data", {}).get("text/html", "")
        for output in outputs(nbformat.read(followed[0] / EXECUTED, as_version=4))
    )
    assert "<th>MeanColour</th>" in shown


def test_the_new_claim_is_in_the_ledger_and_no_number_of_the_papers_has_changed(followed):
    papers, _, own = run(followed[0], "-c", SHOW_LEDGER).partition("## Claims of our own")
    assert "<tr id='own-99'>" in own
    assert "Colour alone is not enough" in own
    assert "n = 2" in own.partition("own-99")[2]
    assert "own-99" not in papers
    assert "0 are judged so far" in papers


def test_what_the_steps_write_is_as_the_linter_likes_it(followed):
    home, written = followed
    code = {str(path) for path in written if path.suffix == ".py"}
    ruff = Path(sys.executable).with_name("ruff")
    for check in (["check"], ["format", "--check"]):
        done = subprocess.run([ruff, *check, *code], cwd=home, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_of_make_that_the_text_names_exists():
    targets = set(re.findall(r"^(\w+):", (root() / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = (root() / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE)
    assert {"notebooks", "lint", "test", "book", "check", "accept"} <= set(named) <= targets
