"""The rehearsal itself: stand-ins that every reader takes, cells of every kind, and what is wrong is said. Tiny; `make rehearse` is not."""

import json
import shutil
import sys

import pytest
import torch

from otad.data.annotations import GROUPS
from otad.data.readers import dtd, fabrics, folders, loco, realiad
from otad.data.readers.files import read_image
from otad.data.readers.locations import BANKS, LAYOUTS
from otad.features.pretrained import resnet50, wide_resnet50_2
from otad.features.zoo import alexnet
from otad.studies import Study, load, names, runner

from . import __main__ as command
from . import cell as child
from .folders import AD, BANK, CLASSES, FULL, LOCO, Amount, more, write

TINY = Amount(train=2, batch=3, each=2, shrink=16)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    place = tmp_path_factory.mktemp("stand-ins")
    write(place, TINY)
    return place


def test_stand_ins_are_the_data_sets_that_pages_look_for(root):
    assert sorted(path.name for path in root.iterdir() if path.is_dir()) == sorted(LAYOUTS | BANKS)


@pytest.mark.parametrize("name", AD)
def test_mvtec_ad_is_read(root, name):
    data = folders.load(root / "mvtec_ad", name)
    assert data.test.shape[2:] == TINY.size(*AD[name])
    assert len(data.train) == (TINY.batch if name in FULL else TINY.train)
    assert [data.kinds.count(kind) for kind in dict.fromkeys(data.kinds)] == [2, 2, 2]
    assert data.masks.flatten(1).any(1).tolist() == data.labels.tolist()


@pytest.mark.parametrize("name", LOCO)
def test_mvtec_loco_is_read_with_both_sorts_of_rules(root, name):
    data = loco.load(root / "mvtec_loco", name)
    assert data.test.shape[2:] == TINY.size(*LOCO[name][1])
    assert [len(data.part(group)) for group in GROUPS] == [4, 4]
    rules = loco.read_rules(root / "mvtec_loco" / name / loco.CONFIG).values()
    assert sorted(rule.relative_saturation for rule in rules) == [False, True]
    for group, found in zip(data.groups, data.defects, strict=True):
        for defect in found:
            assert (defect.saturation_area < defect.mask.sum()) == (group == "logical")


def test_real_iad_is_read_from_above(root):
    data = realiad.load(root / "realiad", "audiojack")
    assert data.test.shape == (6, 3, *TINY.size(1024, 1024))
    assert data.test.flatten(1).amax(1).min() > 0  # none of the black views
    assert data.labels.sum() == 4


@pytest.mark.parametrize(
    ("dataset", "category"),
    [*((dataset, name) for dataset in ("dtd_synthetic", "wft", "aitex") for name in CLASSES[dataset])],
)
def test_fabrics_are_read(root, dataset, category):
    data = fabrics.load(root / dataset, dataset, category)
    assert data.labels.any()
    assert data.masks.flatten(1).any(1).tolist() == data.labels.tolist()
    if dataset == "aitex":
        assert len(data.train) == 16 - 2  # squares of a strip, without the bare table
        assert len(data.test) == 1 + 2


def test_textures_to_paint_with_are_read(root):
    files = dtd.texture_files(root / "dtd")
    assert [path.parent.name for path in files] == [name for name in BANK for _ in range(TINY.train)]
    found = dtd.textures(root / "dtd", 64)
    assert found.shape == (len(files), 3, 64, 64)
    assert found.flatten(1).std(1).min() > 0.01
    assert (found[0] - found[1]).abs().max() > 0.1  # no copies
    sizes = {read_image(path).shape[1:] for path in files}
    assert sizes == {torch.Size(TINY.size(*true)) for _, true in BANK.values()}


def test_a_data_set_that_was_added_since_is_written_beside_the_others(root, tmp_path, capsys):
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "dtd")
    capsys.readouterr()
    write(tmp_path, TINY)
    assert capsys.readouterr().out == "written: dtd\n"
    assert len(dtd.texture_files(tmp_path / "dtd")) == 3 * TINY.train
    write(tmp_path, TINY)
    assert not capsys.readouterr().out


def test_data_sets_that_are_written_side_by_side_are_the_same(root, tmp_path):
    write(tmp_path, TINY, at_once=2)
    found = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
    assert all((tmp_path / path).read_bytes() == (root / path).read_bytes() for path in found)


def test_true_sizes_are_the_default():
    assert Amount().size(256, 4096) == (256, 4096)


def test_other_amounts_do_not_mingle(root):
    with pytest.raises(ValueError, match="holds other amounts"):
        write(root, Amount(train=1, shrink=16))


def test_copies_of_test_pictures_keep_their_marks(root):
    data = loco.load(root / "mvtec_loco", "juice_bottle", 64)
    twice = more(data, TINY)
    assert twice.kinds[::2] == twice.kinds[1::2] == data.kinds
    assert torch.equal(twice.masks[1::2], data.masks)


# Cells --------------------------------------------------------------------------------------------


def test_a_cell_of_each_kind_is_chosen():
    cells = [
        {"class": name, "seed": seed, "condition": condition, "method": method}
        for name in ("carpet", "tile", "juice_bottle")
        for seed in (0, 1)
        for condition in ("clean", "contrast", "brightness")
        for method in ("PatchCore", "TTAD")
    ]
    found = command.chosen(cells)
    kinds = [(c["class"], c["condition"], c["method"]) for c in found]
    assert sorted(kinds) == [
        (name, condition, method)
        for name in ("juice_bottle", "tile")
        for condition in ("clean", "contrast")
        for method in ("PatchCore", "TTAD")
    ]
    assert {c["class"] for c in command.chosen(cells, full=True)} == {"carpet", "juice_bottle"}


def test_classes_without_a_stand_in_are_left_out():
    cells = [{"group": "dtd_synthetic", "class": name} for name in ("Woven_125", "Mesh_114")]
    assert command.chosen(cells) == cells[1:]


@pytest.mark.parametrize("name", names())
def test_every_study_has_cells_on_the_stand_ins(name, root, monkeypatch):
    monkeypatch.setenv("OTAD_DATA", str(root))
    cells = load(name).cells("paper")
    assert bool(command.chosen(cells)) == bool(cells)


def test_repetitions_are_fewer_and_sizes_stay():
    sizes = {"side": 224, "steps": 300, "tried": (10, 50), "method": {"n": 16, "epochs": 50, "max_iter": 1}}
    cut = {"side": 224, "steps": 2, "tried": (2, 2), "method": {"n": 16, "epochs": 2, "max_iter": 1}}
    assert child.fewer(sizes, 2) == cut


def test_methods_learn_shorter_and_keep_their_sizes():
    class Method:
        epochs, steps, max_iter = 500, 8, None

        def fit(self, images):
            self.seen = (self.epochs, self.steps, self.max_iter)
            return self

    child.shorten(Method, child.OF_METHODS["FastFlow"], 2)
    assert Method().fit([]).seen == (2, 8, None)


def test_networks_that_have_learnt_nothing_say_so(monkeypatch):
    for room in (child.pretrained, child.zoo):
        monkeypatch.setattr(room, "_built", room._built)
    child.learnt_nothing()
    assert resnet50((8,)).weights == "random, seed 0"
    assert alexnet((8,)).weights == "random, seed 0"
    image = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    *_, deep = wide_resnet50_2((8, 16, 32))(torch.nn.functional.interpolate(image, 96, mode="bilinear"))
    assert 0.1 < float(deep.std()) < 10  # as those that have learnt


# What is told -------------------------------------------------------------------------------------

STAND_IN = """
import json, sys, time
study = sys.argv[1]
if study == "raises":
    raise ValueError("no such picture")
if study == "waits":
    time.sleep(60)
print(json.dumps({"seconds": 1.0, "peak_memory_mb": 9000 if study == "large" else 700, "rows": 3, "cpu": 1.0}))
"""


@pytest.mark.parametrize(
    ("study", "wrong"),
    [("fine", ""), ("raises", "no such picture"), ("waits", "stopped after 1 seconds"), ("large", "8.8 GiB")],
)
def test_what_went_wrong_is_told_with_study_and_cell(study, wrong, tmp_path, monkeypatch):
    (tmp_path / "cell.py").write_text(STAND_IN)
    monkeypatch.setattr(command, "COMMAND", [sys.executable, str(tmp_path / "cell.py")])
    line = command.rehearse(study, {"class": "tile"}, 1, 1.0 if study == "waits" else None)
    assert wrong in line["wrong"]
    assert bool(line["wrong"]) == bool(wrong)
    assert command.told(line).startswith(f'{study} {{"class": "tile"}}: ')


def test_a_cell_is_computed_as_results_are(monkeypatch, capsys):
    toy = Study("toy", lambda scale: [{}], lambda cell, scale: [{"image": cell["seed"] / 2}])
    monkeypatch.setattr(child, "load", lambda name: toy)
    monkeypatch.setattr(runner, "code", lambda study, scale: "")
    monkeypatch.setattr(child, "learnt_nothing", lambda: None)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    child.main("toy", '{"seed": 1}', "0")
    assert json.loads(capsys.readouterr().out)["rows"] == 1
    toy = Study("toy", toy.cells, lambda cell, scale: [])
    with pytest.raises(ValueError, match="no rows"):
        child.main("toy", '{"seed": 1}', "0")
