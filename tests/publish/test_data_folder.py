"""The folder of data sets on its way from the command line to a page."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from otad.publish import __main__ as command
from otad.publish import root

REAL = root() / "src" / "otad" / "publish"
TARGET = "_build/executed/paper/10_page.json"
# Stands for `python -m otad.publish`: writes down what it was told, makes the receipt.
STUB = f"""
import pathlib, sys


def main():
    with open("told.txt", "a") as file:
        print(sys.argv[sys.argv.index("--data") + 1], file=file)
    pathlib.Path("{TARGET}").write_text("receipt")
"""


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.setenv("OTAD_DATA", "")  # so that what a test leaves there is taken back
    monkeypatch.delenv("OTAD_DATA")


@pytest.mark.parametrize("step", ["book", "results"])
def test_paper_scale_without_a_folder_is_refused_before_anything_starts(step, monkeypatch, capsys):
    monkeypatch.setitem(command.STEPS, step, lambda options: pytest.fail("it was started"))
    assert command.main([step, "--scale", "paper"]) == 1
    assert "DATA=/path make book SCALE=paper" in capsys.readouterr().err


def test_a_named_folder_reaches_the_pages_as_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("my data", "sets"):
        (tmp_path / folder / "mvtec_ad").mkdir(parents=True)
    seen = []
    monkeypatch.setitem(command.STEPS, "book", lambda options: seen.append(os.environ.get("OTAD_DATA")))
    command.main(["book", "--scale", "paper", "--data", "my data"])
    monkeypatch.setenv("OTAD_DATA", "~/sets")
    command.main(["book", "--scale", "paper"])
    monkeypatch.delenv("OTAD_DATA")
    command.main(["book"])
    assert seen == [str(tmp_path / "my data"), str(tmp_path / "sets"), None]


@pytest.mark.parametrize(
    ("folder", "what"), [("missing", "is no folder"), ("", "holds none of the data sets")]
)
def test_a_folder_without_data_is_refused_before_every_page_does(folder, what, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(command.STEPS, "book", lambda options: pytest.fail("it was started"))
    assert command.main(["book", "--scale", "paper", "--data", str(tmp_path / folder)]) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path / folder} {what}; expected in it: mvtec_ad, " in said


@pytest.mark.parametrize("cores", ["0", "-1", "two", "1.5"])
def test_a_number_of_cores_that_snakemake_would_wait_for_is_refused(cores, capsys):
    for step in ("book", "results"):
        with pytest.raises(SystemExit):
            command.main([step, f"--cores={cores}"])
        assert f"must be a whole number from 1 on; got '{cores}'" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "exported"), [(["DATA=/a b/c"], "/a b/c"), ([], "/of/the/environment")])
def test_make_exports_the_folder_whatever_its_name(given, exported):
    show = ["--eval", "show: ; @printenv OTAD_DATA", "show"]
    environment = {**os.environ, "OTAD_DATA": "/of/the/environment"}
    done = subprocess.run(
        ["make", "-s", *show, *given], cwd=root(), env=environment, capture_output=True, text=True
    )
    assert done.stdout == exported + "\n", done.stderr


def test_another_folder_executes_the_pages_again(book, tmp_path, monkeypatch):
    package = tmp_path / "src" / "otad" / "publish"
    package.mkdir(parents=True)
    for name in ("__init__", "processes", "notebooks", "execute", "inputs"):
        shutil.copy(REAL / f"{name}.py", package)
    shutil.copy(REAL.parent / "scale.py", package.parent)
    (package.parent / "studies").mkdir()
    for name in ("__init__", "sources"):
        shutil.copy(REAL.parent / "studies" / f"{name}.py", package.parent / "studies")
    (package / "__main__.py").write_text(STUB)
    (tmp_path / "src" / "otad" / "__init__.py").write_text("")
    (tmp_path / "requirements.txt").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "src"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for folder in ("/one place", "/one place", "/another"):
        monkeypatch.setenv("OTAD_DATA", folder)
        arguments = ["--cores", "1", "--config", "scale=paper", "--nolock"]
        run = [sys.executable, "-m", "snakemake", *arguments, "--", TARGET]
        done = subprocess.run(run, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert Path("told.txt").read_text().splitlines() == ["/one place", "/another"]
