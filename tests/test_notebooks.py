"""Every page at smoke scale, on a pretended GPU; some of them without one too, and one with nothing but the package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

from otad import ledger
from otad.publish import notebooks, pages, root
from otad.publish.execute import execute, to_bytes, without_timings
from otad.publish.expected import _bounded, _kept, _unlike
from otad.publish.records import outputs, read_page

from .conftest import TWICE

pytestmark = pytest.mark.timeout(1800)  # a test may wait for an execution
WHOLE = ("fca", "foct", "pradot", "ttad")  # papers whose part of the book is complete
NEEDS_MORE = {"ttad-20"}  # claims whose page says why no data at hand can test them
ALONE = "01_one_dimensional_transport"


@pytest.mark.parametrize("page", pages())
def test_page_runs_at_smoke_scale_without_errors_or_warnings(page_runs, page):
    done = executed(page_runs, page)
    for output in outputs(nbformat.read(done, as_version=4)):
        assert output.get("name") != "stderr", output.text
    assert read_page(done).cost["scale"] == "smoke"


def executed(page_runs, page, kernel="gpu"):
    """The notebook of a page, when its execution has ended well; one that nobody has begun is executed here."""
    folders, futures = page_runs
    output, future = folders[kernel] / f"{page}.ipynb", futures[kernel, page]
    if not future.cancel():
        assert future.exception() is None
    elif not output.is_file():
        execute(page, "smoke", output, kernel=kernel)
    return output


@pytest.mark.parametrize("page", TWICE)
def test_a_page_records_the_same_with_and_without_a_gpu(page_runs, page):
    """CUDA's rules are kept, and what is not a time is what the CPU gave. Words at this scale mean nothing, but are the same."""
    expected, found = (read_page(executed(page_runs, page, name)).records for name in ("plain", "gpu"))
    assert found.keys() == expected.keys()
    differences = [
        f"{key}: {line}"
        for key, was in expected.items()
        if not (_timed(was) or _timed(found[key]))  # some claims about time are judged on a GPU only
        for line in _unlike(_kept(was["value"]), _kept(found[key]["value"]), was["tolerance"])
    ]
    assert differences == []


def _timed(record):
    """Tell whether a record is a time, an error of rounding, or a verdict about times."""
    return _bounded(record) or (isinstance(record["value"], dict) and "timed" in record["value"])


def test_a_started_kernel_gives_the_bytes_of_a_forked_one(page_runs, tmp_path):
    """One page again, by the kernel of `make book`."""
    execute(ALONE, "smoke", tmp_path / "started.ipynb")
    started, forked = (
        to_bytes(without_timings(nbformat.read(path, as_version=4)))
        for path in (tmp_path / "started.ipynb", executed(page_runs, ALONE, "plain"))
    )
    assert started == forked


@pytest.mark.parametrize("paper", WHOLE)
def test_every_claim_table_and_figure_of_a_paper_has_its_page(page_runs, paper):
    found = [read_page(executed(page_runs, page)) for page in pages()]
    claims, figures = ledger.claims(), ledger.figures()
    judged = {claim for page in found for claim in page.verdicts}
    assert set(claims["id"][claims["paper"] == paper]) - NEEDS_MORE == {
        c for c in judged if c.startswith(paper)
    }
    shown = {name for page in found for name in page.shows}
    assert {f"{paper} {id}" for id in figures["id"][figures["paper"] == paper]} - shown == set()


@pytest.mark.parametrize("page", pages())
def test_a_page_opens_with_one_sentence_of_its_own(page_runs, page):
    assert read_page(executed(page_runs, page)).short.strip()  # ledger.say(…, short=True)


@pytest.mark.parametrize("page", pages())
def test_the_paired_notebook_matches_its_source(page):
    paired = root() / "notebooks" / f"{page}.ipynb"
    assert paired.is_file(), "run `make notebooks`"
    assert paired.read_bytes() == to_bytes(notebooks.read(page, colab=True)), (
        f"{paired.name} is stale: run `make notebooks`"
    )


@pytest.mark.parametrize("page", pages())
def test_no_page_installs_pins_or_hides(page):
    source = (root() / "notebooks" / f"{page}.py").read_text(encoding="utf-8")
    for word in ("pip install", "numpy==", "torch==", "filterwarnings", 'device = "cuda"', "tqdm.auto"):
        assert word not in source


def test_a_paired_notebook_runs_alone_with_only_the_package_installed(tmp_path, monkeypatch):
    """A new environment with the package's own dependencies, its kernel, an empty directory."""
    source, alone = root() / "notebooks" / f"{ALONE}.ipynb", tmp_path / "alone"
    bin_, uv = Path(sys.executable).parent, Path(sys.executable).with_name("uv")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", root()], check=True)
    wheel = next((tmp_path / "dist").glob("otad-*.whl"))
    subprocess.run([uv, "venv", "--quiet", "--python", bin_ / "python", alone], check=True)
    lock = root() / "requirements.txt"
    install = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        alone / "bin" / "python",
        "--constraint",
        _pins(lock, tmp_path),
    ]
    subprocess.run([*install, wheel, "ipykernel"], check=True)
    kernel = tmp_path / "share" / "kernels" / "alone"
    kernel.mkdir(parents=True)
    argv = [str(alone / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "alone", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    done = papermill.execute_notebook(
        str(source),
        str(tmp_path / "out.ipynb"),
        parameters={"scale": "smoke"},
        kernel_name="alone",
        language="python",
        progress_bar=False,
        cwd=str(tmp_path / "empty"),
    )
    assert any("record" in output.get("metadata", {}) for output in outputs(done))
    assert os.listdir(tmp_path / "empty") == []


def _pins(lock, folder):
    """The locked versions without their hashes, as constraints."""
    lines = [
        line.split(" \\")[0]
        for line in lock.read_text().splitlines()
        if line and not line.startswith((" ", "#"))
    ]
    (folder / "pins.txt").write_text("\n".join(lines) + "\n")
    return folder / "pins.txt"
