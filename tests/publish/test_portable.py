"""What moves with the processor, with the threads, and from run to run is found; what moves within its tolerance is not."""

import pytest

from otad.publish import expected, records
from otad.publish.__main__ import main
from otad.publish.execute import execute
from otad.publish.portable import portable

MOVES = """\
import os
import uuid
older, two = os.environ.get("ATEN_CPU_CAPABILITY") == "default", os.environ["OMP_NUM_THREADS"] == "2"
ledger.record("x", {"a": [3.0, 2.0 * (1.2 if older else 1.00001 if two else 1)]})
ledger.record("seconds", 5.0 if older else 1.0, timing=True)
print(uuid.uuid4())"""
RAISES = """\
import os
if os.environ["OMP_NUM_THREADS"] == "2":
    raise RuntimeError("out of place")
ledger.record("y", 1.0)"""


@pytest.fixture
def accepted(book):
    """Two pages, executed and accepted."""
    for page, code in {"10_page": MOVES, "11_page": RAISES}.items():
        book(page, code)
        execute(page, "smoke", records.folder("smoke") / f"{page}.ipynb")
    expected.accept("smoke")


def test_what_moves_is_found(accepted, capsys):
    with pytest.raises(ValueError, match="3 differences") as error:
        portable(["10_page", "11_page"], "smoke")
    older, threads, first, second, twice, same = capsys.readouterr().out.splitlines()[2:]
    assert older.startswith("| 10_page | older processor |")
    assert older.endswith("| 1 | 0.2 (x) | 1 |")
    assert threads.startswith("| 10_page | two threads |")
    assert threads.endswith("| 1 | 1e-05 (x) | 0 |")
    assert first.endswith("| 1 | 0 (y) | 0 |")
    assert second.endswith("| 1 |")
    assert twice.endswith("| 1 |")
    assert same.endswith("| 0 |")
    said = str(error.value)
    assert "10_page, older processor: x (10_page): a[1] expected 2.0, got 2.4 (tolerance 0.001)" in said
    assert "11_page, two threads: notebooks/11_page.py, code cell 3 raised RuntimeError: out of place" in said
    assert "10_page, twice, smoke: " in said


def test_nothing_is_executed_for_an_unknown_page_or_without_accepted_values(book, capsys):
    assert main(["portable", "12_page", "--scale", "smoke"]) == 1
    assert main(["portable", "10_page", "--scale", "smoke"]) == 1
    said = capsys.readouterr()
    assert "there is no page 12_page; the pages are 10_page" in said.err
    assert "make accept SCALE=smoke" in said.err
    assert said.out == ""
