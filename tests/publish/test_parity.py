import json
import re

import pytest

from otad import ledger
from otad.publish import parity, root

SOURCE = {
    "commit": "0123456789ab",
    "machine": "a machine",
    "threads": 1,
    "versions": {"anomalib": "2.7.0", "FrEIA": "0.2", "torch": "2.15.0"},
    "date": "2026-01-02",
}


def _head(relative, why=""):
    said = {"part": "heads", "method": "PaDiM", "what": "a < b", "agrees": not why, "why": why}
    return said | {"largest": relative, "range": 1.0, "relative": relative, "values": 4, "from": 0}


def _pair(seed, ours, theirs, name="leather"):
    said = {"part": "auroc", "method": "cflow", "what": "as shipped", "class": name, "seed": seed}
    return said | {"ours": ours, "theirs": theirs, "from": 0}


def _race(ratio, target=2.0):
    said = {"part": "speed", "method": "PatchCore", "what": "search", "size": "3 × 4", "target": target}
    times = {
        "ours seconds": 0.01,
        "theirs seconds": 0.01 * ratio,
        "floor seconds": 0.005,
        "limit": "a product",
    }
    return said | times | {"ratio": ratio, "lowest": ratio, "highest": ratio, "repeats": 3, "from": 0}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A function that returns the page of these rows."""
    (tmp_path / "results").mkdir()
    (tmp_path / "_toc.yml").touch()
    monkeypatch.chdir(tmp_path)

    def write(rows):
        basis = [_head(1e-6), _pair(0, 90.0, 90.0), _pair(1, 90.0, 90.0), _race(2.0)]
        (tmp_path / parity.FILE).write_text(json.dumps({"sources": [SOURCE], "rows": rows or basis}))
        return parity.parity_page()

    return write


def _rows(page, heading):
    part = page.split(f"## {heading}")[1].split("\n## ")[0]
    return [
        re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", part) if "<td>" in row
    ]


def test_what_agrees_and_what_does_not_stand_apart(written):
    page = written([_head(3e-7), _head(0.25, "a habit"), _pair(0, 1.0, 1.0), _pair(1, 1.0, 1.0), _race(2.0)])
    assert "1 comparisons are of code that means the same" in page
    assert "values, is 3e-07: rounding," in page
    assert _rows(page, "The same scores?") == [
        ["PaDiM", "a &lt; b", "3e-07 of it"],
        ["PaDiM", "a &lt; b", "25 %", "a habit"],
    ]


@pytest.mark.parametrize(
    ("gaps", "word"),
    [((0.1, -0.2, 0.3, 0.0, -0.1), "equivalent"), ((9, 8, 9, 7, 8), "differs"), ((9, -8, 3, -2, 1), "open")],
)
def test_a_pair_of_sides_is_judged_over_seeds(written, gaps, word):
    pairs = [_pair(k, 80.0 + gap, 80.0) for k, gap in enumerate(gaps)]
    cells = _rows(written([_head(0.0), *pairs, _race(2.0)]), "The same AUROC?")[0]
    mean, low, high = ledger.t_interval([float(g) for g in gaps])
    assert cells[2:] == [f"{80 + mean:.1f}", "80.0", f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]", word]


def test_classes_are_averaged_within_a_seed(written):
    pairs = [_pair(k, 80.0 + d, 80.0, c) for k in range(5) for c, d in (("leather", 5.0), ("bottle", -5.0))]
    cells = _rows(written([_head(0.0), *pairs, _race(2.0)]), "The same AUROC?")[0]
    assert cells[-2:] == ["+0.0 [+0.0, +0.0]", "equivalent"]


@pytest.mark.parametrize(
    ("lowest", "highest", "said"), [(2.0, 2.4, "met"), (1.5, 1.9, "not met"), (1.9, 2.1, "open")]
)
def test_a_target_is_met_by_all_repeats_by_none_or_open(written, lowest, highest, said):
    race = _race(2.0) | {"lowest": lowest, "highest": highest}
    page = written([_head(0.0), _pair(0, 1.0, 1.0), _pair(1, 1.0, 1.0), race])
    assert _rows(page, "How fast?")[0][-2:] == [f"2: {said}", "4.0"]
    assert f" 1 {said}" in page.split("Of 1 targets:")[1].split(";")[0]


def test_the_page_says_where_its_numbers_come_from(written):
    assert (
        "a machine; 1 thread; anomalib 2.7.0, FrEIA 0.2, torch 2.15.0; commit `0123456789ab`; 2026-01-02."
        in written([])
    )


def test_without_the_file_it_says_how_to_make_it(tmp_path, monkeypatch):
    (tmp_path / "_toc.yml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"parity_anomalib.json does not exist: tests/parity/__init__.py says how"
    ):
        parity.parity_page()


def test_the_stored_rows_make_a_page_of_every_method():
    page = parity.parity_page()
    stored = json.loads((root() / parity.FILE).read_text())["rows"]
    assert all(row["relative"] <= 1e-4 for row in stored if row.get("agrees"))
    for part, heading in (("heads", "The same scores?"), ("speed", "How fast?")):
        own = [row for row in stored if row["part"] == part]
        assert {row["method"] for row in own} == {"PaDiM", "PatchCore", "CFlow", "FastFlow"}
        assert len(_rows(page, heading)) == len(own)
    seeds = {(row["method"], row["what"]): set() for row in stored if row["part"] == "auroc"}
    for row in stored:
        if row["part"] == "auroc":
            seeds[row["method"], row["what"]].add((row["class"], row["seed"]))
    assert len(_rows(page, "The same AUROC?")) == len(seeds)
    first = next(iter(seeds.values()))
    assert len(first) >= 5
    assert all(own == first for own in seeds.values())  # all are judged on the same pairs of class and seed
