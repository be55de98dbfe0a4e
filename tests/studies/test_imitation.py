"""Students, level by level and epoch by epoch."""

import pytest
import torch

from otad.features.pretrained import efficientnet_lite0
from otad.methods import KDAD, STPM, Glance, ReverseDistillation, UniAD
from otad.studies import imitation as study


@pytest.fixture(scope="module")
def net():
    return efficientnet_lite0(stages=(4, 8))


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(4, 3, 32, 48, generator=torch.Generator().manual_seed(23))


def _students(net):
    small = {"window": 3, "hidden": 8, "heads": 2, "layers": 1, "feedforward": 8}
    return {
        "STPM": STPM(net, epochs=1, sigma=None),
        "RD": ReverseDistillation(net, width=4, epochs=1, sigma=None),
        "KDAD": KDAD(net, epochs=1, judged=2),
        "Glance": Glance(net, epochs=1, size=4, hidden=4),
        "UniAD": UniAD(net, (5, 6), epochs=1, **small),
    }


@pytest.mark.parametrize("name", ["STPM", "RD", "KDAD", "Glance", "UniAD"])
def test_a_method_s_levels_have_the_sizes_of_its_maps(net, pictures, name):
    method = _students(net)[name]
    with pytest.raises(ValueError, match="call fit with normal images first"):
        study.levels(method, pictures)
    found = study.levels(method.fit(pictures), pictures[:3])
    sizes = {"Glance": [(8, 12), (8, 12)], "UniAD": [(5, 6)]}.get(name, [(8, 12), (4, 6)])
    assert [tuple(m.shape) for m in found.values()] == [(3, *size) for size in sizes]
    assert all(float(m.min()) >= -1e-6 for m in found.values())


def test_the_product_of_stpm_s_levels_is_its_map(net, pictures):
    method = _students(net)["STPM"].fit(pictures)
    levels = study.levels(method, pictures)
    large = [
        torch.nn.functional.interpolate(m[:, None], (32, 48), mode="bilinear", align_corners=False)[:, 0]
        for m in levels.values()
    ]
    assert torch.allclose(large[0] * large[1], method.score(pictures).maps, atol=1e-6)


@pytest.mark.parametrize("loss", ["places", "flattened"])
def test_epoch_by_epoch_is_what_fit_does(net, pictures, loss):
    method = ReverseDistillation(net, width=4, loss=loss, epochs=3, batch_size=3, seed=5)
    walked = [(value, student.training) for value, student in study.by_epoch(method, pictures)]
    assert [value for value, _ in walked] == pytest.approx(method.fit(pictures).losses_, rel=1e-6)
    assert not any(training for _, training in walked)


def test_a_student_that_imitates_all_is_at_chance(pictures):
    class Perfect(torch.nn.Module):
        def forward(self, maps):
            return None, maps

    maps = [torch.rand(4, 5, 8, 12), torch.rand(4, 7, 4, 6)]
    masks, labels = torch.zeros(4, 32, 48, dtype=torch.bool), torch.tensor([False, False, True, True])
    masks[2:, 8:24, 8:24] = True
    found = study.judged(Perfect(), maps, masks, labels)
    assert found["good pictures"] == pytest.approx(0, abs=1e-5)
    assert found["defects"] == pytest.approx(0, abs=1e-5)


def test_the_loudest_place_by_hand():
    maps = torch.ones(1, 2, 2, 5)
    assert study.loudest(maps, 0.1) == pytest.approx(0.1)
    maps[0, :, 1, 3] = 3.0  # squared length 18 beside nine of 2
    assert study.loudest(maps, 0.1) == pytest.approx(0.5)
