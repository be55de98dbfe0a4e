"""Page 11's cells: every texture and seed once, and rows that say what they are."""

import json

import pytest
import torch

from otad.data.drawn import defects
from otad.studies import fca_statistics as study
from otad.studies import load


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_every_cell_is_there_once_and_no_seed_that_chose_the_protocol(scale):
    cells = load("fca_statistics").cells(scale)
    assert len({json.dumps(cell) for cell in cells}) == len(cells)
    assert len(cells) == study.setting(scale)["n_seeds"] * len(study.classes(scale))
    assert min(cell["seed"] for cell in cells) == study.FIRST_SEED


def test_two_textures_in_a_row_show_all_kinds_of_defects():
    shown = [study.pictures({"seed": 100, "texture": t}, "laptop")[2] for t in study.classes("laptop")[:2]]
    assert [len(kinds) for kinds in shown] == [4, 4]
    assert {kind for kinds in shown for kind in kinds} - {"good"} == set(defects.KINDS)


def test_features_of_a_kind_live_on_one_grid():
    images = torch.rand(2, 3, 64, 64)
    found = {f: study.features_of(f, images, 100, "smoke") for f in study.FEATURES}
    assert {f: tuple(x.shape[2:]) for f, x in found.items()} == dict.fromkeys(study.COMPETING, (16, 16)) | {
        "network, deeper": (8, 8)
    }
    assert torch.equal(found["colours"], study.dense("colours", images, 100, "smoke")[..., 2::4, 2::4])


def test_a_cell_has_rows_of_every_feature_and_statistic_and_both_widths_on_the_first_seed():
    name = study.classes("smoke")[0]
    first, later = (list(study.compute({"seed": s, "texture": name}, "smoke")) for s in (100, 101))
    pairs = {(row["feature"], row["statistic"]) for row in first}
    assert pairs == {(f, s) for f in study.FEATURES for s in study.STATISTICS}
    counts = {w: sum(row["what"] == w for row in first) for w in ("cut", "kept", "widths as printed")}
    assert counts == {"cut": 20, "kept": 20, "widths as printed": 8}
    assert "widths as printed" not in {row["what"] for row in later}
    assert all(0 <= row["AUROC"] <= 100 for row in first)


def test_the_frame_is_compared_with_the_inside():
    m = torch.ones(1, 64, 64)
    part = study.inner("smoke")
    m[part] = 0.5
    assert study.frame(m, part) == pytest.approx(2)
