"""Builds that are killed, and builds in unkind surroundings: real processes, real signals."""

import contextlib
import os
import re
import shlex
import subprocess
import sys
import time

import psutil
import pytest

from otad.publish.processes import alone, cached_here, follow

HOLD = """
import signal
from pathlib import Path
from otad.publish.processes import alone
with alone(Path("lock"), "Another build"):
    print("held", flush=True)
    signal.pause()
"""
CHILD = """
import signal, sys
sys.platform = {platform!r}
from otad.publish.processes import die_with
die_with({parent})
print("lives", flush=True)
signal.pause()
"""
PARENT = """
import os, signal, subprocess, sys
subprocess.Popen([sys.executable, "-c", {child!r}.replace("PARENT", str(os.getpid()))])
signal.pause()
"""
LONG = 600  # seconds: this is no test of speed, and other work may fill the machine
pytestmark = pytest.mark.timeout(1800)
# Whom to kill: a word of their command line.
OF_HTML = ("main html", "jupyter_book.cli")
VICTIMS = (*OF_HTML, "otad.publish book", "snakemake.cli", "main execute", "ipykernel_launcher")


def _python(code, **kwargs):
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **kwargs)


@pytest.mark.parametrize("platform", ["linux", "another"])
def test_a_child_dies_with_its_parent(platform):
    child = CHILD.format(platform=platform, parent="PARENT")
    parent = _python(PARENT.format(child=child))
    assert parent.stdout.readline() == "lives\n"
    parent.kill()
    assert parent.communicate(timeout=60)[0] == ""  # the child had this pipe as well: it is closed


@pytest.mark.parametrize("platform", ["linux", "another"])
def test_a_child_that_is_late_for_its_parent_ends_at_once(platform):
    child = _python(CHILD.format(platform=platform, parent=os.getpid() + 1))
    assert child.communicate(timeout=60)[0] == ""
    assert child.returncode == 1


def test_who_waits_is_told_for_whom_and_a_killed_holder_leaves_no_lock(tmp_path):
    holder = _python(HOLD, cwd=tmp_path)
    assert holder.stdout.readline() == "held\n"
    waiting = _python(HOLD, cwd=tmp_path)
    said = waiting.stdout.readline()
    assert said.startswith(f"Another build (process {holder.pid}: {shlex.quote(sys.executable)} -c ")
    assert said.endswith("waiting for it to end.\n")
    holder.kill()
    assert waiting.stdout.readline() == "held\n"
    waiting.kill()
    for process in (holder, waiting):
        process.communicate()
    with alone(tmp_path / "lock", "Another build"):
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()}: ")


def test_lines_of_two_processes_stay_whole(tmp_path):
    code = "from otad.publish.processes import say\nfor i in range(5000): say(f'page started: {i}')"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}  # the worst case: every write goes out at once
    with (tmp_path / "log").open("ab") as log:
        both = [subprocess.Popen([sys.executable, "-c", code], stdout=log, env=environment) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 10_000
    assert all(re.fullmatch(r"page started: \d+", line) for line in lines)


def test_a_log_is_followed_to_its_end(tmp_path):
    code = "import time\nprint('one\\ntw', end='', flush=True)\ntime.sleep(0.5)\nprint('o\\nthree', end='')"
    with (tmp_path / "log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=log)
    assert list(follow(process, tmp_path / "log")) == ["one\n", "two\n", "three\n"]


def test_caches_move_and_weights_stay(book, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    monkeypatch.delenv("TORCH_HOME", raising=False)
    environment = cached_here()
    assert environment["XDG_CACHE_HOME"] == str(tmp_path / "_build" / "cache")
    assert environment["TORCH_HOME"] == "/elsewhere/torch"
    monkeypatch.setenv("TORCH_HOME", "/weights")
    assert cached_here()["TORCH_HOME"] == "/weights"


# Whole builds --------------------------------------------------------------------------------------


def _build(folder):
    """Start a build without a home, in the plainest locale."""
    if not sys.prefix.isascii():
        pytest.skip(
            "in locale C, Python 3.11 cannot read the .pth file of an environment whose path is not ASCII"
        )
    environment = {**os.environ, "HOME": "/dev/null", "LC_ALL": "C"}
    environment = {
        k: v for k, v in environment.items() if not k.startswith(("XDG", "MPL", "IPYTHON", "JUPYTER"))
    }
    command = [sys.executable, "-m", "otad.publish", "book", "--scale", "smoke", "--cores", "2"]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def _content(folder):
    """What the book says, less what its pages cost."""
    pages = (folder / "_build" / "html").rglob("*.html")
    return {path.name: path.read_text() for path in pages if path.name != "status.html"}


@pytest.fixture(scope="module")
def built(small_book):
    """The small book, built once: its content."""
    said, _ = (process := _build(small_book)).communicate(timeout=LONG)
    assert process.returncode == 0, said
    return _content(small_book)


def test_a_book_is_built_with_a_space_and_an_umlaut_without_a_home_in_locale_c(built):
    assert {"welcome.html", "10_page.html", "11_page.html", "ledger.html"} <= built.keys()


def _family(top):
    try:
        return [psutil.Process(top.pid), *psutil.Process(top.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _victim(top, word):
    """Wait for a process of the build whose command line has this word."""
    while top.poll() is None:
        for process in _family(top):
            with contextlib.suppress(psutil.Error):
                if word in " ".join(process.cmdline()):
                    return process
        time.sleep(0.02)
    raise AssertionError(f"the build ended before there was a {word}: {top.stdout.read()}")


def test_kill_9_of_any_process_leaves_nothing_and_the_next_build_makes_the_same_book(small_book, built):
    for word in VICTIMS:
        # There is something to do: for some, the HTML alone.
        os.utime(small_book / ("CONTRIBUTING.md" if word in OF_HTML else "notebooks/10_page.py"))
        top = _build(small_book)
        victim = _victim(top, word)
        family = _family(top)
        victim.kill()
        said, _ = top.communicate(timeout=LONG)
        assert top.returncode != 0 or word == "ipykernel_launcher", (
            said
        )  # a kernel is started again, if it was new
        assert "waiting" not in said
        assert psutil.wait_procs(family, timeout=60)[1] == [], word
    said, _ = (last := _build(small_book)).communicate(timeout=LONG)
    assert last.returncode == 0, said
    assert "waiting" not in said
    assert _content(small_book) == built


def test_what_is_no_message_of_ours_is_shown_as_well(book, tmp_path):
    (tmp_path / "Snakefile").write_text("rule book:\n    shell: 'no-such-command'\n")
    said, _ = (process := _build(tmp_path)).communicate(timeout=LONG)
    assert process.returncode == 1, said
    assert "otad: the book was not built" in said
    assert "no-such-command: command not found" in said
