import os
import platform
from pathlib import Path

import nbformat
import papermill
import pytest

from otad.machine import model
from otad.publish import expected, records
from otad.publish.execute import PageError, clean, execute, without_timings, write

OUTPUT = Path("_build/executed/smoke/10_page.ipynb")


def test_a_page_is_executed_recorded_and_costed(book):
    cost = execute("10_page", "smoke", OUTPUT)
    page = records.read_all("smoke")[0]
    assert page.title == "A page"
    assert page.records["x"]["value"] == 1.0
    assert page.cost == cost
    assert cost["seconds"] > 0
    assert 50 < cost["peak_memory_mb"] < 5000
    assert cost["machine"].startswith(f"{model()} ({platform.machine()}, {os.cpu_count()} core")
    assert "machine" not in OUTPUT.read_text(), "what was asked of the kernel is no part of the page"


def test_a_page_that_raises_names_itself_and_leaves_the_old_output(book):
    write(OUTPUT, b"good")
    book("10_page", "import time\n\n\ndef f():\n    ledger.record('x', float('nan'))\n\n\ntime.sleep(0)\nf()")
    told = r"^notebooks/10_page.py, code cell 3 raised ValueError: 'x': nan .*\n    line \d+ of its cell: ledger.record\('x', .*\)$"
    with pytest.raises(PageError, match=told):
        execute("10_page", "smoke", OUTPUT)
    book("10_page", "x = 1\n\nif x:")
    with pytest.raises(PageError, match="code cell 3 raised .*(Syntax|Indentation)Error"):
        execute("10_page", "smoke", OUTPUT)
    assert OUTPUT.read_bytes() == b"good"
    assert [p.name for p in OUTPUT.parent.iterdir()] == ["10_page.ipynb"]


def test_unknown_scale_and_parameter_are_refused_before_anything_runs(book):
    with pytest.raises(ValueError, match="scale is 'tiny'"):
        execute("10_page", "tiny", OUTPUT)
    with pytest.raises(ValueError, match="unknown notebook parameter depth"):
        execute("10_page", "smoke", OUTPUT, depth=3)
    assert not OUTPUT.exists()


def test_a_kernel_that_lost_its_port_is_started_again_and_a_dead_one_is_not(book, monkeypatch):
    starts, real = [], papermill.execute_notebook

    def unlucky(*args, **kwargs):
        starts.append(1)
        if len(starts) < 3:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return real(*args, **kwargs)

    monkeypatch.setattr(papermill, "execute_notebook", unlucky)
    execute("10_page", "smoke", OUTPUT)
    assert len(starts) == 3
    book("10_page", "import os; os._exit(1)")
    with pytest.raises(PageError, match="Kernel died"):
        execute("10_page", "smoke", OUTPUT)
    assert len(starts) == 4


def _notebook():
    new = nbformat.v4
    streams = [new.new_output("stream", name="stdout", text=t) for t in ("a\n", "b\n")]
    cell = new.new_code_cell(
        "x",
        outputs=[*streams, new.new_output("stream", name="stderr", text="c")],
        metadata={"tags": ["timing"]},
    )
    cell.metadata["execution"] = {"iopub.status.busy": "now"}
    notebook = new.new_notebook(
        cells=[cell],
        metadata={"papermill": {"duration": 1.5}, "language_info": {"name": "python", "version": "3.11"}},
    )
    return notebook


def test_cleaning_leaves_nothing_of_the_run():
    notebook = clean(_notebook())
    assert "papermill" not in notebook.metadata
    assert notebook.metadata.language_info == {"name": "python"}
    assert notebook.cells[0].metadata == {"tags": ["timing"]}
    assert [o.text for o in notebook.cells[0].outputs] == ["a\nb\n", "c"]
    assert notebook.cells[0].id == "cell-000"


def test_timings_are_set_apart():
    assert without_timings(_notebook()).cells[0].outputs == []


def _recorded(value, key="x", **extra):
    entry = {"key": key, "value": value, "tolerance": 1e-3, "timing": False, "bounds": None, **extra}
    output = nbformat.v4.new_output("display_data", data={}, metadata={"record": entry})
    cells = [nbformat.v4.new_markdown_cell("# A page"), nbformat.v4.new_code_cell(outputs=[output])]
    write(OUTPUT, nbformat.writes(nbformat.v4.new_notebook(cells=cells)).encode())


def test_a_recorded_value_is_compared_with_the_accepted_one(book):
    _recorded({"a": [1.0, 2.0]})
    with pytest.raises(ValueError, match="make accept SCALE=smoke"):
        expected.differences("smoke")
    expected.accept("smoke")
    assert expected.differences("smoke") == []
    _recorded({"a": [1.0005, 2.0]})
    assert expected.differences("smoke") == []
    _recorded({"a": [1.0, 2.1]})
    assert expected.differences("smoke") == ["x (10_page): a[1] expected 2.0, got 2.1 (tolerance 0.001)"]
    _recorded(1.0, key="y")
    assert len(expected.differences("smoke")) == 2


@pytest.mark.parametrize("spoilt", [OUTPUT, OUTPUT.with_suffix(".json")])
def test_a_damaged_file_of_an_executed_page_is_named(spoilt, book):
    _recorded(1.0)
    spoilt.write_text('{"cells": [')
    with pytest.raises(ValueError, match=f"{spoilt.name} is damaged .*make book"):
        records.read_all("smoke")


def test_an_error_of_rounding_is_compared_with_its_bound_alone(book):
    _recorded([1e-8, 0.0], below=1e-6)
    expected.accept("smoke")
    assert expected.accepted("smoke") == {}
    _recorded([9e-7, -9e-7], below=1e-6)
    assert expected.differences("smoke") == []
    _recorded([2e-6, 0.0], below=1e-6)
    assert expected.differences("smoke") == ["x (10_page): 2e-06 is outside [None, 1e-06]"]


def test_a_verdict_is_compared_by_its_word_and_mean(book):
    verdict = {
        "claim": "fca-01",
        "verdict": "holds",
        "kind": "margins",
        "n": 5,
        "mean": 0.5,
        "p": 1e-7,
        "effect": "margin 0.5",
    }
    _recorded(verdict)
    expected.accept("smoke")
    _recorded({**verdict, "p": 3e-7, "effect": "margin 0.500"})
    assert expected.differences("smoke") == []
    _recorded({**verdict, "verdict": "fails"})
    assert expected.differences("smoke") == [
        "x (10_page): verdict expected 'holds', got 'fails' (tolerance 0.001)"
    ]


def test_a_plain_number_is_compared(book):
    _recorded(2.5)
    expected.accept("smoke")
    assert expected.differences("smoke") == []
    _recorded(2.6)
    assert len(expected.differences("smoke")) == 1


def test_a_timed_verdict_keeps_its_direction_and_its_bounds(book):
    verdict = {
        "claim": "fca-07",
        "verdict": "holds",
        "kind": "margins",
        "n": 5,
        "mean": 0.5,
        "timed": [0.1, 2],
    }
    _recorded(verdict)
    expected.accept("smoke")
    _recorded({**verdict, "mean": 0.9})
    assert expected.differences("smoke") == []
    _recorded({**verdict, "verdict": "inconclusive"})  # a noisy machine
    assert expected.differences("smoke") == []
    _recorded({**verdict, "verdict": "fails"})
    assert len(expected.differences("smoke")) == 1
    _recorded({**verdict, "verdict": "inconclusive", "mean": 0.05})  # the speed is gone, whatever the word
    assert expected.differences("smoke") == ["x (10_page): 0.05 is outside [0.1, 2]"]


def test_a_claim_that_needs_another_machine_may_be_judged_there(book):
    undecided = {"claim": "fca-16", "verdict": "inconclusive", "kind": "undecided"}
    measured = {"claim": "fca-16", "verdict": "holds", "kind": "margins", "n": 5, "mean": 0.2}
    _recorded(undecided)
    expected.accept("smoke")
    _recorded({**measured, "timed": [-0.5, 0.5]})
    assert expected.differences("smoke") == []
    _recorded(measured)  # a word about anything but time is a change
    assert expected.differences("smoke") != []
    _recorded({**measured, "timed": [-0.5, 0.5], "mean": 0.7})
    assert expected.differences("smoke") == ["x (10_page): 0.7 is outside [-0.5, 0.5]"]


def test_what_lies_beyond_the_spread_is_listed(book):
    value = {"rows": 3, "trained": 2, "spreads": 3.4, "gap": 8.9, "beyond": ["image of RD, 100: too far"]}
    _recorded(value, key="agreement 10", timing=True)
    assert expected.notices("smoke") == ["10_page: image of RD, 100: too far"]
    expected.accept("smoke")
    assert expected.differences("smoke") == []


def test_a_timing_is_only_held_to_its_bounds(book):
    _recorded(3.0, timing=True, bounds=[1.0, None])
    expected.accept("smoke")
    _recorded(30.0, timing=True, bounds=[1.0, None])
    assert expected.differences("smoke") == []
    _recorded(0.5, timing=True, bounds=[1.0, None])
    assert expected.differences("smoke") == ["x (10_page): 0.5 is outside [1.0, None]"]
    _recorded({"sizes": [3.0, 0.7]}, timing=True, bounds=[1.0, None])
    assert expected.differences("smoke") == ["x (10_page): 0.7 is outside [1.0, None]"]


def test_two_pages_cannot_record_one_key(book):
    book("11_other", "pass")
    _recorded(1.0)
    OUTPUT.with_name("11_other.ipynb").write_bytes(OUTPUT.read_bytes())
    with pytest.raises(ValueError, match="'x' is recorded by 10_page and by 11_other"):
        records.read_all("smoke")


def test_a_page_is_told_where_finished_cells_lie(book):
    book("10_page", "import os\nledger.record('cells', os.environ['OTAD_CELLS'])")
    execute("10_page", "smoke", OUTPUT)
    assert records.read_all("smoke")[0].records["cells"]["value"] == str(Path("_build/cells").resolve())
