"""Page 90: who takes part, what a group of defects is, what is kept, and the maps that are stored."""

import math
from dataclasses import dataclass

import pytest
import torch
from safetensors import safe_open

from otad import methods
from otad.methods import PatchCore, Scores
from otad.studies import which_method as study

CALLED = {"R-D": "ReverseDistillation", "P-SVDD": "PatchSVDD"}  # in the benchmark, and in the package


@dataclass
class Pictures:
    """Four pictures of 20 × 10: good, a speck, a swapped part, a large scratch."""

    name: str = "toy"

    def __post_init__(self):
        self.masks = torch.zeros(4, 20, 10, dtype=torch.bool)
        self.masks[1, 3, 4] = True  # half a percent
        self.masks[2, 5:15] = True
        self.masks[3, :2, :2] = True
        self.labels = torch.tensor([False, True, True, True])
        self.kinds = ["good", "scratch", "swapped", "scratch"]
        self.groups = ["good", "structural", "logical", "structural"]


def test_every_method_takes_part_or_has_a_reason():
    there = {CALLED.get(name, name) for name in study.BUILDS}
    assert there.isdisjoint(study.ABSENT)
    assert there | set(study.ABSENT) == set(methods.METHODS)
    assert set(study.PLANS) == set(study.BUILDS)
    assert all(reason.strip() for reason in study.ABSENT.values())


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_each_class_has_a_cell_a_method(scale):
    cells = study.cells(scale)
    board = [(c["class"], c["method"]) for c in cells if c["what"] == "board"]
    assert len(set(board)) == len(board) == len(study.classes(scale)) * len(study.PLANS)
    judged = {c["seed"] for c in cells if c["what"] == "few"}
    assert len(judged) == study.setting(scale)["seeds"]
    assert study.SEED not in judged


def test_groups_by_hand():
    assert study.groups(Pictures()) == [[], ["structural", "tiny"], ["logical"], ["structural", "large"]]


def test_a_folder_s_pictures_have_groups_too():
    data = Pictures(name="transistor")
    del data.groups
    data.kinds[2] = "misplaced"
    assert study.groups(data)[2] == ["logical"]
    data.name = "leather"
    assert [g[:1] for g in study.groups(data)] == [[], ["texture"], ["texture"], ["texture"]]


def test_drawn_are_a_good_picture_and_some_of_each_kind():
    assert study.drawn(Pictures()) == [
        0,
        1,
        3,
        2,
    ]  # smallest and largest damage, then the one with a logical defect
    counts = {}
    for name in study.classes("laptop"):
        data = study.packaged(name, 48, 1, 2, 2, 3)
        chosen = study.drawn(data)
        assert not data.labels[chosen[0]]
        assert data.labels[chosen[1:]].all()
        counts[name] = len(chosen)
    assert sum(counts.values()) == 10


def test_each_group_is_judged_beside_the_good_pictures():
    data = Pictures()
    maps = data.masks.float()
    maps[2] = 0
    found = study.by_group(data, Scores(maps, torch.tensor([0.5, 1.0, 0.0, 0.2])))
    expected = {"structural": 50, "logical": 0, "tiny": 100, "large": 0}
    assert {g: found[f"image {g}"] for g in expected} == expected
    assert found["pixel structural"] == pytest.approx(100)
    assert found["pixel logical"] == pytest.approx(50)
    assert "image texture" not in found


def test_maps_come_back_with_the_largest_of_good_ones_in_the_middle():
    maps = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))
    maps[1, 10, 20], maps[2, 5, 5] = 9.0, 1.5
    good = torch.tensor([True, False, False])
    found = study.unpacked(study.packed(maps, good, [2, 0, 1]))
    assert found.shape == (3, study.SMALL, study.SMALL)
    assert found[1].max() == study.MIDDLE / 255 < 0.5
    assert found[2].max() == 1  # cut
    assert found[0, 2, 1] == pytest.approx(0.75, abs=0.01)  # of blocks of 2 × 3 pixels
    flat = study.unpacked(study.packed(torch.ones(2, 64, 64), good[:2], [0]))
    assert (flat == 0).all()


def test_numbers_kept_are_those_of_the_file(tmp_path):
    cell = study._cell("board", "transistor", 3, "PatchCore", "smoke")
    data = study.pictures("transistor", 3, "smoke")
    method, _, took = study.judged(cell, "smoke", data.train, data.test)
    assert isinstance(method, PatchCore)
    methods.save(method, tmp_path / "kept")
    with safe_open(tmp_path / "kept", framework="pt") as file:
        held = sum(math.prod(file.get_slice(k).get_shape()) for k in file.keys())  # noqa: SIM118
    assert study.kept(method) == held > 0
    assert took["picture ms"] > 0


@pytest.mark.parametrize("method", ["HistogramContrast", "FOCT", "DRAEM"])
def test_a_row_of_the_board(method):
    cell = study._cell("board", "transistor", study.SEED, method, "smoke")
    (row,) = study.compute(cell, "smoke")
    data = study.pictures("transistor", study.SEED, "smoke")
    assert len(row["tops"]) == len(data.test)
    assert study.unpacked(row["maps"]).shape[0] == len(study.drawn(data))
    learns = method != "HistogramContrast"
    assert (row["kept"] > 0, row["n"] > 0) == (learns, learns)
    assert {f"{m} {g}" for m in ("image", "pixel", "PRO") for g in ("structural", "logical")} <= set(row)


def test_few_pictures_have_a_row_a_number():
    cells = [c for c in study.cells("smoke") if c["what"] == "few"][:2]
    found = {c["method"]: [row["n"] for row in study.compute(c, "smoke")] for c in cells}
    assert found == {"FCA": [0], "PaDiM": [1, 4]}


def test_what_is_known_of_the_pictures():
    cell = {"what": "pictures", "class": "transistor", "seed": study.SEED}
    rows = list(study.compute(cell, "smoke"))
    assert [row["i"] for row in rows] == list(range(len(rows)))
    assert all((row["kind"] == "good") == (row["groups"] == []) == (row["share"] == 0) for row in rows)


def test_trained_counts_what_descent_moves_and_nothing_of_a_memory():
    data = study.pictures(study.classes("smoke")[-1], study.SEED, "smoke")
    memory = study.ALL_PLANS["PatchCore"].settings("smoke")
    assert study.trained("PatchCore", memory, data, "smoke") == 0
    assert study.trained("PRADOT", {}, data, "smoke") == 0  # epochs of transport, without descent
    plan = study.ALL_PLANS["STPM"].settings("smoke")
    method = study.BUILDS["STPM"]("smoke", study.SEED, **plan)
    own = getattr(method, "method", method).build_student().parameters()
    assert study.trained("STPM", plan, data, "smoke") == sum(p.numel() for p in own) > 0
