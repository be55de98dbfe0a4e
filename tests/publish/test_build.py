import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otad.publish import browser, links, root
from otad.publish.build import only_build, replace, report

HOLD = "import time\nfrom otad.publish.build import only_build\nwith only_build():\n    print('held', flush=True)\n    time.sleep(60)\n"


def test_a_killed_build_leaves_no_lock(book):
    holder = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    waiting = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert "waiting" in waiting.stdout.readline()
    os.kill(holder.pid, signal.SIGKILL)
    assert waiting.stdout.readline() == "held\n"
    waiting.kill()
    waiting.wait()
    holder.wait()
    start = time.monotonic()
    with only_build():
        assert time.monotonic() - start < 1


def test_progress_counts_pages_and_passes_errors_on(book):
    said = [
        "job        count\n",
        "execute        2\n",
        "page started: 10_page\n",
        "page started: 11_page\n",
        "page done: 10_page 3.0 s, 200 MB\n",
        "otad: notebooks/11_page.py, code cell 2 raised ValueError: no\n",
        "    x = 1\n",
        "RuleException:\n",
        "rubbish\n",
    ]
    log = io.StringIO()
    lines = list(report(said, log, time.monotonic()))
    assert lines[0] == "2 of 1 pages to execute"
    assert lines[2].endswith("running: 10_page, 11_page")
    assert "[1/2 pages" in lines[3]
    assert "10_page (3.0 s, 200 MB)" in lines[3]
    assert lines[4:] == ["otad: notebooks/11_page.py, code cell 2 raised ValueError: no", "    x = 1"]
    assert log.getvalue() == "".join(said)


def test_a_new_book_replaces_the_old_whole(tmp_path):
    old, new = tmp_path / "html", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / f"{folder.name}.txt").write_text("x")
    replace(new, old)
    assert [p.name for p in tmp_path.iterdir()] == ["html"]
    assert [p.name for p in old.iterdir()] == ["new.txt"]


def _page(folder, name, body):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"<!doctype html><html><body class='bd-article'>{body}</body></html>")


def test_broken_links_and_anchors_are_found(tmp_path):
    _page(
        tmp_path,
        "a.html",
        "<a href='b.html#here'>good</a><a href='b.html#there'>bad</a><a href='c.html'>bad</a><img src='d.png'>",
    )
    _page(tmp_path, "b.html", "<p id='here'></p><a href='https://example.org'>not ours</a>")
    assert links.broken(tmp_path) == [
        "a.html: b.html#there has no such anchor",
        "a.html: c.html does not exist",
        "a.html: d.png does not exist",
    ]


@pytest.mark.skipif(browser.executable() is None, reason="no Chromium found")
def test_the_browser_complains_of_what_a_reader_would(tmp_path):
    _page(tmp_path, "good.html", "<p>fine</p>")
    bad = "<div style='width:2000px'>wide</div><img src='no.png'><span class='math'>x^2</span>"
    svg = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='20' height='10'/>"
    bad += f'<img alt="squeezed" style="width:50px;height:90px" src="{svg}">'
    _page(
        tmp_path,
        "bad.html",
        f"{bad}<script>console.error('oops')</script><script src='https://example.org/x.js'></script>",
    )
    with browser.chromium() as chromium:
        assert browser.complaints(chromium, [tmp_path / "good.html"], "phone", "dark") == []
        said = "\n".join(browser.complaints(chromium, [tmp_path / "bad.html"], "phone", "dark"))
    for complaint in (
        "not drawn: no.png",
        "without alt text",
        "out of shape: 50 x 90 for 20 x 10",
        "mathematics not drawn",
        "wider than the screen",
        "oops",
        "asks the network",
    ):
        assert complaint in said


def test_the_snakefile_stays_readable():
    assert len(Path(root() / "Snakefile").read_text().splitlines()) <= 100
