"""What is committed under results/: every cell of a study, and how long one takes, which is what jobs are cut by."""

import json

import pytest

from otad.publish import root
from otad.studies import load, names, runner

STORED = [name for name in names() if (root() / "results" / f"{name}.json").is_file()]


@pytest.fixture(scope="module")
def kept():
    """The cells of each study that has stored some, by key."""
    return {name: runner.kept("laptop", root() / "results" / f"{name}.json") for name in STORED}


@pytest.mark.parametrize("name", STORED)
def test_a_study_s_file_has_its_cells_and_no_other(name, kept):
    asked = {json.dumps(c, sort_keys=True, ensure_ascii=False) for c in load(name).cells("laptop")}
    assert set(kept[name]) == asked


@pytest.mark.parametrize("name", STORED)
def test_a_study_knows_how_long_a_cell_takes(name, kept):
    seconds = [cell["seconds"] for cell in kept[name].values()]
    assert 0.4 < load(name).seconds / (sum(seconds) / len(seconds)) < 2.5
