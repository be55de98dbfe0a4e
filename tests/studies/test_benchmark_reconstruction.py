"""What DRAEM paints with: at paper scale the textures of DTD, as in its paper; below it the package's own, and the rows that are stored know of no other."""

import numpy as np
import pytest
import torch
from PIL import Image

from otad.data.readers import dtd
from otad.methods import DRAEM
from otad.studies import benchmark_arena as arena
from otad.studies import benchmark_reconstruction as study
from otad.studies import load
from otad.studies.reached import reached


@pytest.fixture(autouse=True)
def forget():
    """Let no test see the textures of another."""
    study.foreign.cache_clear()
    yield
    study.foreign.cache_clear()


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder with three textures of two classes as DTD has them."""
    for k, name in enumerate(("banded_0002", "banded_0004", "woven_0001")):
        path = tmp_path / "dtd" / "images" / name.split("_")[0] / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 48, 3), 40 + 60 * k, np.uint8)).save(path)
    monkeypatch.setenv("OTAD_DATA", str(tmp_path))
    return tmp_path


def test_at_paper_scale_draem_paints_with_dtd(data):
    side = arena.setting("paper")["side"]
    method = study.draem("paper", 0)
    assert isinstance(method, DRAEM)
    assert method.sources.shape == (3, 3, side, side)
    assert method.sources.mean(dim=(1, 2, 3)).tolist() == pytest.approx([40 / 255, 100 / 255, 160 / 255], abs=0.01)  # fmt: skip
    assert torch.equal(method.sources, dtd.textures(data / "dtd", side, study.DESCRIBED))
    assert study.draem("paper", 500).sources is method.sources  # read once; no seed chooses others


def test_the_choice_has_twenty_of_each_of_dtd_s_classes(tmp_path):
    for k in range(47):
        (tmp_path / "images" / f"class{k}").mkdir(parents=True)
        for number in range(25):
            (tmp_path / "images" / f"class{k}" / f"{number}.jpg").touch()
    chosen = dtd.texture_files(tmp_path, study.DESCRIBED)
    counts = [sum(path.parent.name == f"class{k}" for path in chosen) for k in range(47)]
    assert counts == [20] * 47
    side = arena.setting("paper")["side"]
    assert 3 * 4 * study.DESCRIBED * 3 * side**2 < 2e9  # bytes, of three copies


def test_without_dtd_paper_scale_says_what_is_missing_and_paints_with_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("OTAD_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"dtd is missing, .*expected in it: images/CLASS/NAME\.jpg"):
        study.draem("paper", 0)
    monkeypatch.delenv("OTAD_DATA")
    with pytest.raises(ValueError, match="no folder was named for dtd"):
        study.draem("paper", 0)


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_below_paper_scale_the_package_s_own_textures_are_taken(scale, data):
    side = arena.setting(scale)["side"]
    assert study.foreign(scale).shape == (16, 3, side, side)


@pytest.mark.parametrize("name", ["benchmark_reconstruction", "pradot_rivals", "which_method"])
def test_stored_rows_do_not_depend_on_what_only_paper_scale_reads(name):
    where = {
        scale: {module for module, _ in reached(load(name).compute.__module__, "compute", scale=scale)}
        for scale in ("laptop", "paper")
    }
    assert "otad.data.readers.dtd" in where["paper"] - where["laptop"]
