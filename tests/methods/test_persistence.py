"""A fitted method goes into a file and comes back with the same scores, to the bit."""

import json
import os

import pytest
import torch

from otad import methods
from otad.features.pretrained import efficientnet_lite0
from otad.methods import (
    FOCT,
    GNL,
    METHODS,
    PRADOT,
    SPADE,
    TTAD,
    Aota,
    CFlow,
    DifferNet,
    FastFlow,
    FastRecon,
    HistogramContrast,
    PaDiM,
    PatchCore,
    RegAD,
    RegionContrast,
    Weathering,
    load,
    save,
)
from otad.methods.matching.fca import FCA
from otad.transport import Embedding, PairNetwork

safetensors = pytest.importorskip("safetensors.torch")


def images(seed=0, n=4):
    return torch.rand(n, 3, 64, 96, generator=torch.Generator().manual_seed(seed))


def small(x):
    """A backbone without weights, of one map."""
    return [torch.nn.functional.avg_pool2d(x, 8)]


def large(x):
    return [torch.nn.functional.avg_pool2d(x, 4)]


@pytest.fixture(scope="module")
def lite0():
    return efficientnet_lite0(stages=(8, 16))


def fitted(name, lite0):
    """Each method at a size of seconds; MAEDAY, whose network is not at hand, is in a test of its own."""
    made = {
        "FCA": lambda: FCA(small, patch_size=3, reference=torch.rand(3, 9).sort(dim=-1).values),
        "Aota": lambda: Aota(small, patch_size=3),
        "Weathering": lambda: Weathering(patch_size=5),
        "PatchCore": lambda: PatchCore(lite0, coreset_ratio=0.5),
        "PaDiM": lambda: PaDiM(lite0, dimension=20),
        "SPADE": lambda: SPADE(lite0, k=2),
        "FastRecon": lambda: FastRecon(lite0),
        "FastFlow": lambda: FastFlow(lite0, steps=2, hidden_ratio=0.1, epochs=1),
        "CFlow": lambda: CFlow(small, blocks=2, positions=8, epochs=1),
        "DifferNet": lambda: DifferNet(small, (1.0,), blocks=2, hidden=8, views=1, test_views=2, epochs=1),
        "TTAD": lambda: TTAD(lite0, n_memory=40, epochs=1, max_iter=5, batch_size=2),
        "PRADOT": lambda: PRADOT(lite0, n=2, epochs=1, max_iter=5),
        "GNL": lambda: GNL(lite0, views=1, width=4, epochs=1),
        "HistogramContrast": lambda: HistogramContrast(),
        "RegionContrast": lambda: RegionContrast(min_size=20),
    }
    detector = made[name]()
    return detector.fit(images()) if hasattr(detector, "fit") else detector


@pytest.mark.parametrize(
    "name",
    [
        "FCA",
        "Aota",
        "Weathering",
        "PatchCore",
        "PaDiM",
        "SPADE",
        "FastRecon",
        "FastFlow",
        "CFlow",
        "DifferNet",
        "TTAD",
        "PRADOT",
        "GNL",
        "HistogramContrast",
        "RegionContrast",
    ],
)
def test_scores_are_the_same_to_the_bit(name, lite0, tmp_path):
    detector, path = fitted(name, lite0), tmp_path / "ein Ordner" / "größe 1.safetensors"
    path.parent.mkdir()
    save(detector, path)
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    backbone = getattr(detector, "backbone", None)
    again = load(path, backbone)
    assert type(again) is type(detector)
    expected, found = detector.score(images(1, 2)), again.score(images(1, 2))
    assert torch.equal(found.maps, expected.maps)
    assert torch.equal(found.image_scores, expected.image_scores)


@pytest.mark.parametrize("navigator", [PairNetwork, Embedding, None])
def test_foct_comes_back_in_the_middle_of_its_stream(navigator, tmp_path):
    own = {"steps": 2, "warm": True, "support_steps": 1, "capacity": 8, "memory": "after"}
    inside = torch.zeros(2, 64, 96, dtype=torch.bool)
    inside[:, 16:48, 24:72] = True
    method = FOCT(small, 3, 0.3, 0.3, 2, 2, navigator=navigator, **own).fit(images(n=2), inside)
    method.stream(images(2, 1))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", small)
    assert again.navigator is method.navigator
    for call in ("score", "stream", "stream"):
        expected, found = (getattr(m, call)(images(3, 2)) for m in (method, again))
        assert torch.equal(found.maps, expected.maps)
    refitted = [m.fit(images(4, 2), inside).score(images(3, 1)).maps for m in (method, again)]
    assert torch.equal(*refitted)


def test_a_navigator_of_ones_own_is_refused(tmp_path):
    method = FOCT(small, 3, navigator=lambda dimension: PairNetwork(dimension, (4,)), steps=1).fit(
        images(n=2)
    )
    with pytest.raises(ValueError, match="navigator is a function.*PairNetwork"):
        save(method, tmp_path / "one")


def test_regad_comes_back_with_what_it_learnt_and_what_it_saw(lite0, tmp_path):
    method = RegAD(lite0, epochs=1, batch_size=2).learn([images(1), images(2)]).fit(images(n=2))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", lite0)
    assert torch.equal(again.score(images(3, 1)).maps, method.score(images(3, 1)).maps)
    expected, found = (m.fit(images(5, 2)).score(images(3, 1)).maps for m in (method, again))
    assert torch.equal(found, expected)


def test_another_backbone_is_refused(lite0, tmp_path):
    path = tmp_path / "one"
    save(PatchCore(small, coreset_ratio=0.5).fit(images()), path)
    for other in (large, lite0, None):
        with pytest.raises(ValueError, match="was fitted with the backbone kind .*small; given was"):
            load(path, other)
    save(PatchCore(lite0, coreset_ratio=0.5).fit(images()), path)
    changed = efficientnet_lite0(stages=(8, 16))
    next(changed.parameters()).data += 1e-3
    with pytest.raises(ValueError, match="sha256"):
        load(path, changed)


def test_a_write_that_stops_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "one"
    detector = PatchCore(small, coreset_ratio=0.5).fit(images())
    save(detector, path)
    before = path.read_bytes()

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    detector.fit(images(2))
    with pytest.raises(KeyboardInterrupt):
        save(detector, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_are_not_ours_or_not_whole_are_refused(tmp_path):
    path = tmp_path / "one"
    with pytest.raises(ValueError, match="is no file"):
        load(path)
    save(PatchCore(small, coreset_ratio=0.5).fit(images()), path)
    whole = path.read_bytes()
    for part in (b"", whole[:5], whole[:-8], b"PK" + whole[2:]):
        path.write_bytes(part)
        with pytest.raises(ValueError, match="cannot be read"):
            load(path, small)
    safetensors.save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="not of otad.methods.save"):
        load(path, small)
    header = {"format": 99, "otad": "9.0", "method": "PatchCore", "backbone": None, "given": {}, "learnt": {}}
    safetensors.save_file({"x": torch.zeros(2)}, path, {"otad": json.dumps(header)})
    with pytest.raises(ValueError, match="format 99, of otad 9.0.*update otad"):
        load(path, small)
    safetensors.save_file(
        {"x": torch.zeros(2)}, path, {"otad": json.dumps(header | {"format": 1, "method": "New"})}
    )
    with pytest.raises(ValueError, match="holds a New"):
        load(path)
    safetensors.save_file(
        {"x": torch.zeros(2)}, path, {"otad": json.dumps(header | {"format": 2, "method": "RegAD"})}
    )
    with pytest.raises(ValueError, match="holds a RegAD of another kind: fit again"):
        load(path)


def test_what_is_no_method_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Linear is no method"):
        save(torch.nn.Linear(1, 1), tmp_path / "one")
    assert {"save", "load"} <= {*dir(methods)} - {*METHODS}
