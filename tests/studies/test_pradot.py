"""PRADOT's studies: seeds that chose the protocol judge nothing, and every cell is there once."""

import json

import pandas as pd
import pytest
import torch

from otad.publish import root
from otad.studies import load, pradot_ablations, pradot_results, scoring

NAMES = ("pradot_ablations", "pradot_code", "pradot_prototypes", "pradot_results", "pradot_transport")


def _text(cell):
    return json.dumps(cell, sort_keys=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_every_cell_is_there_once(name, scale):
    cells = [_text(cell) for cell in load(name).cells(scale)]
    assert cells
    assert len(cells) == len(set(cells))


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_cells_are_those_of_the_study(name):
    kept = json.loads((root() / "results" / f"{name}.json").read_text(encoding="utf-8"))
    stored = [_text(head["cell"]) for head in kept["cells"]] + [_text(cell) for cell in kept["missing"]]
    assert sorted(stored) == sorted(map(_text, load(name).cells("laptop")))
    heads = iter(kept["rows"])
    for head in kept["cells"]:
        for _ in range(head["rows"]):
            row = next(heads)
            assert {k: row[k] for k in head["cell"]} == head["cell"]


def test_no_seed_that_chose_the_protocol_is_judged():
    for module, judged in ((pradot_results, {"score"}), (pradot_ablations, {"maps", "batches"})):
        cells = module.cells("laptop")
        what = [cell.get("what", cell.get("part")) for cell in cells]
        seeds = {
            kind: {c["seed"] for c, w in zip(cells, what, strict=True) if (w in judged) == kind}
            for kind in (True, False)
        }
        assert min(seeds[True]) >= module.FIRST_SEED > max(seeds[False])


def test_a_batch_is_never_larger_than_the_pictures_and_never_half_of_one():
    sizes = pradot_ablations.setting("laptop")
    batches = [n * ratio for n, ratio in pradot_ablations.grid("laptop")]
    assert min(batches) >= 1
    assert max(batches) <= sizes["largest"] <= sizes["n_train"]


def test_differences_of_a_table_say_what_the_claims_say():
    cells = [("2", "0"), ("2", "0.3"), ("2", "avg"), ("3", "0"), ("3", "0.3"), ("3", "avg"), ("2+3", "avg")]
    table = pd.DataFrame(
        {"LOCO image": [5.0, 7, 8, 4, 1, 6, 11], "LOCO local": [2.0, 1, 3, 2, 2, 2, 9]},
        index=pd.MultiIndex.from_tuples(cells),
    )
    found = pradot_ablations.differences(table, table)
    assert found.loc[("pradot-04", "average > α = 0"), "LOCO image"] == 3
    assert found.loc[("pradot-06", "gain > averaging's, stage 2"), "LOCO image"] == (11 - 8) - (8 - 7)
    assert found.loc[("pradot-06", "gain > averaging's, stage 3"), "LOCO local"] == (9 - 3) - (2 - 2)
    assert found.loc["pradot-07"].isna().to_numpy().tolist() == [[True, False]]
    assert found.loc[("pradot-19", "α = 0 > α = 0.3")].tolist() == [3, 0]
    turned = table.assign(
        **{"LOCO image": [9.0, 7, 8, 4, 1, 6, 11]}
    )  # its own better one is α = 0, the means' α = 0.3
    other = pradot_ablations.differences(turned, table)
    assert other.loc[("pradot-06", "gain > averaging's, stage 2"), "LOCO image"] == (11 - 8) - (8 - 7)


class Marked:
    """Four pictures, 13 × 17: two good ones, a logical and a structural defect."""

    labels = torch.tensor([False, False, True, True])
    groups = ("good", "good", "logical", "structural")

    def part(self, group):
        return [i for i, g in enumerate(self.groups) if g in ("good", group)]


def test_groups_are_judged_apart_each_beside_all_good_pictures():
    tops = torch.tensor([0.1, 0.5, 0.9, 0.3])  # the structural defect beats one good picture of two
    assert scoring.detection(tops, Marked()) == {"logical": 100.0, "structural": 50.0, "mean": 75.0}


def test_a_cell_of_the_smallest_size_has_its_rows():
    cell = {"what": "score", "group": "textures", "class": "carpet", "seed": 100}
    rows = list(pradot_results.compute(cell, "smoke"))
    assert [row["method"] for row in rows] == [
        "PRADOT",
        "PatchCore",
        "PatchCore, all patches",
        "PatchCore, cosine",
        "PatchCore, p = 3",
    ]
    assert all(0 <= row[metric] <= 100 for row in rows for metric in ("image", "pixel"))
    cell = {"part": "maps", "class": "wood", "seed": 100}
    rows = list(pradot_ablations.compute(cell, "smoke"))
    assert [(row["stage"], row["α"]) for row in rows][3::4] == [("2", "avg"), ("3", "avg"), ("2+3", "avg")]
    assert rows[0]["normal far"] > rows[2]["normal far"]  # α = 0 travels farther than α = 0.9
