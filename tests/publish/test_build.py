import subprocess
import time
from pathlib import Path

import pytest

from otad.publish import browser, links, root
from otad.publish.__main__ import main
from otad.publish.build import local, outdate, replace, report, restore


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
    lines = list(report(said, time.monotonic()))
    assert lines[0] == "2 of 1 pages to execute"
    assert lines[2].endswith("running: 10_page, 11_page")
    assert "[1/2 pages" in lines[3]
    assert "10_page (3.0 s, 200 MB)" in lines[3]
    assert lines[4:] == ["otad: notebooks/11_page.py, code cell 2 raised ValueError: no", "    x = 1"]


def test_progress_names_pages_whatever_stands_before_them(book):
    """A kernel that writes half a line, and a page whose start nobody saw."""
    said = [
        "half a linepage started: 10_page\n",
        "page done: 11_page 3.0 s, 200 MB\n",
        "page started: 12_page\n",
    ]
    lines = list(report(said, time.monotonic()))
    assert [line.split("] ")[1] for line in lines] == [
        "running: 10_page",
        "done: 11_page (3.0 s, 200 MB)",
        "running: 10_page, 12_page",
    ]


def test_a_new_book_replaces_the_old_whole(tmp_path):
    old, new = tmp_path / "html", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / f"{folder.name}.txt").write_text("x")
    replace(new, old)
    assert [p.name for p in tmp_path.iterdir()] == ["html"]
    assert [p.name for p in old.iterdir()] == ["new.txt"]


def test_a_book_set_aside_by_a_killed_build_is_put_back(tmp_path):
    (tmp_path / "html.old").mkdir()
    restore(tmp_path / "html")
    assert [p.name for p in tmp_path.iterdir()] == ["html"]
    (tmp_path / "html.old").mkdir()  # killed a moment later: the new one is in place
    restore(tmp_path / "html")
    assert (tmp_path / "html").is_dir()


@pytest.mark.parametrize(
    "lost", ["executed/smoke/10_page.ipynb", "executed/smoke/10_page.json", "html/index.html"]
)
def test_a_book_that_lost_a_part_is_no_longer_called_whole(lost, book):
    build = Path("_build")
    whole = [build / name for name in ("book.done", "html/index.html")]
    whole += [build / "executed" / "smoke" / f"10_page.{ext}" for ext in ("ipynb", "json")]
    for path in whole:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    outdate("smoke")
    assert all(path.is_file() for path in whole)
    (build / lost).unlink()
    outdate("smoke")
    assert not (build / "book.done").exists()
    assert (build / "executed/smoke/10_page.json").exists() == (lost == "html/index.html")


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
    bad += "<p style='font-size:9px'>tiny<sub style='font-size:5px'>2</sub></p>"
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
        "letters of 9 pixels, less than ten points: tiny",
        "oops",
        "asks the network",
    ):
        assert complaint in said


@pytest.mark.skipif(browser.executable() is None, reason="no Chromium found")
def test_code_and_tables_that_run_out_of_their_column_are_found(tmp_path):
    """On a desktop always, on a phone unless a box with a scrollbar that takes room shows that there is more."""
    wide = "<table><tr><td style='min-width:900px'>{}</td></tr></table>"
    line = "<pre style='font-size:14px;{}'>" + "x" * 999 + "</pre>"
    column = "<div style='width:300px;overflow:{}'>"
    _page(
        tmp_path,
        "good.html",
        "<style>::-webkit-scrollbar {height: 9px}</style>"
        + column.format("auto") + wide.format("scrolls") + "</div>"
        + column.format("hidden") + line.format("overflow:auto") + "</div>"
        + column.format("hidden") + line.format("white-space:pre-wrap;overflow-wrap:anywhere") + "</div>",
    )  # fmt: skip
    hidden = "<style>.no::-webkit-scrollbar {display: none}</style>"
    _page(
        tmp_path,
        "bad.html",
        hidden
        + column.format("hidden") + wide.format("cut") + "</div>"
        + column.format("hidden") + line.format("overflow:visible") + "</div>"
        + column.format("auto").replace("<div", "<div class='no'") + wide.format("no bar") + "</div>",
    )  # fmt: skip
    with browser.chromium() as chromium:
        assert browser.complaints(chromium, [tmp_path / "good.html"], "phone", "light") == []
        wide_screen = browser.complaints(chromium, [tmp_path / "good.html"], "desktop", "light")
        said = browser.complaints(chromium, [tmp_path / "bad.html"], "phone", "light")
    runs_out = [f"{what} runs out of its column" for what in ("table", "pre")]
    assert [line.split(": ")[1].split(" by ")[0] for line in wide_screen] == runs_out
    assert [line.split(": ")[1].split(" by ")[0] for line in said] == [*runs_out, runs_out[0]]


def test_the_snakefile_stays_readable():
    assert len(Path(root() / "Snakefile").read_text().splitlines()) <= 100


def test_an_unbuilt_book_is_named_in_one_line(book, capsys):
    for step in ("built", "accept"):
        assert main([step, "--scale", "smoke"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0] == said[1]
    assert said[0].startswith(
        "otad: there is no book at this scale (_build/executed/smoke/10_page.ipynb is missing)"
    )
    assert said[0].endswith("run `make book SCALE=smoke`")


@pytest.mark.parametrize("name", ["18-my-page", "18", "180_page", "1_page"])
def test_a_page_that_no_rule_would_execute_is_named(name, book, capsys):
    book(name, "")
    assert main(["book", "--scale", "smoke"]) == 1
    assert capsys.readouterr().err.startswith(f"otad: notebooks/{name}.py: a page is named by two digits")


def _make(*arguments):
    done = subprocess.run(["make", "-C", root(), *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_makefile_serves_to_this_machine_alone_and_checks_python_before_it_makes_anything():
    assert "$(" not in _make("help")
    assert "http.server --bind 127.0.0.1 " in _make("-n", "serve")
    lock = _make("-n", "lock")
    assert lock.index("sys.version_info < (3, 11)") < lock.index("-m venv")
    done = subprocess.run(
        ["make", "-C", root(), "lock", "PYTHON=false"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed, and PYTHON=false is none" in done.stderr


def test_jobs_of_paper_scale_share_the_gpus_of_this_machine(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert local("laptop", 4) == ["--cores", "4"]
    assert local("paper", 4) == ["--cores", "4", "--resources", "gpu=2"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert local("paper", 4)[-1] == "gpu=1"
