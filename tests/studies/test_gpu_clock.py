"""The study that times a graphics card: its cells at smoke scale, which run anywhere, and what it says without a card."""

import pytest
import torch

from otad import ledger, studies
from otad.studies import benchmark_clock, runner
from otad.studies import fca_reference_clocks as clocks
from otad.studies import gpu_clock as study

CELLS = study.cells("smoke")


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(map(str, cell.values())))
def test_a_cell_gives_times_that_can_be_stored(cell):
    rows = list(study.compute(cell, "smoke"))
    runner.text_of({"rows": rows})
    for key in ("seconds", "ms", "kernel", "plain", "processor", "ours", "POT", "exact", "loop"):
        assert all(row[key] > 0 for row in rows if key in row)


def test_the_kernels_of_a_card_are_held_against_double_precision():
    (kernel,) = study.kernel({"T": 3}, "smoke")
    assert max(kernel["kernel off"], kernel["plain off"]) < 1e-5
    (plan,) = study.plans({}, "smoke")
    assert max(plan["ours off"], plan["POT off"]) < 1e-4


def test_it_asks_what_pages_12_and_26_ask():
    cells = study.cells("laptop")
    passes = [cell for cell in cells if cell["what"] == "benchmark"]
    assert [{"seed": cell["seed"]} for cell in passes] == benchmark_clock.cells("laptop")
    assert list(study.MAPS) == [cell["T"] for cell in cells if cell["what"] == "kernel"]
    drawn = list(study.drawn({"seed": study.SEEDS[0]}, "smoke"))
    assert {row["part"] for row in drawn if "part" in row} >= {
        "network",
        "sort",
        "a reference",
        "selection",
        "N",
    }
    assert {row["reference"] for row in drawn if "reference" in row} >= {
        *map(str, clocks.KS),
        "aggregate",
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_card_it_says_so_and_is_left_out():
    with pytest.raises(ValueError, match="times a GPU"):
        list(study.compute(CELLS[0], "laptop"))
    assert "gpu_clock" in studies.names()
    assert studies.possible() == [name for name in studies.names() if name != "gpu_clock"]


def test_pages_find_what_is_stored():
    rows = ledger.stored("gpu_clock").value
    table = study.table(rows)
    assert list(table.columns) == list(study.STATISTICS)
    assert {"random 1", "random 10", "aggregate", "all"} <= {*table.index}
    assert table.loc["all"].gt(table.loc["aggregate"]).all()
    assert set(study.parts(rows).index) == {*study.SEEDS}
    assert clocks.with_all(study.parts(rows)).gt(clocks.with_one(study.parts(rows))).all()
    assert clocks.lines(study.clocked(rows), 65536)["all"].notna().all()
    assert len(study.milliseconds(rows)) == benchmark_clock.n_passes("laptop")
    assert list(study.kernels(rows).index) == list(study.MAPS)
    assert study.one(rows, "sinkhorn")["n"] == 3136
