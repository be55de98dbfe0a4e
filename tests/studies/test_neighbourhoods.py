"""What page 25 opens."""

import pytest
import torch
from scipy.spatial.distance import mahalanobis

from otad.features.pretrained import efficientnet_lite0
from otad.studies import neighbourhoods as study


def test_the_busiest_place_by_hand():
    masks = torch.zeros(3, 8, 12, dtype=torch.bool)
    masks[:2, 4:8, 8:12] = True  # place (1, 2) of a map of 2 × 3
    masks[2, 0:4, 0:4] = True
    assert study.busiest(masks, (2, 3)) == (1, 2)


def test_the_channels_that_go_together():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(40, 5, generator=generator)
    points[:, 4] = -2 * points[:, 1] + 0.01 * points[:, 0]
    points[:, 2] = 3.0  # constant: goes together with nothing
    assert set(study.most_alike(points)) == {1, 4}


def test_distances_are_scipy_s():
    generator = torch.Generator().manual_seed(1)
    normal, points = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in (17, 4))
    found = study.distances(points, normal, ridge=0.5)
    inverse = torch.linalg.inv(torch.cov(normal.T) + 0.5 * torch.eye(3)).numpy()
    mean = normal.mean(0)
    for point, m, e, n in zip(points, *found.values(), strict=True):
        assert m == pytest.approx(float((point - mean).norm()))
        assert e == pytest.approx(mahalanobis(point, mean, inverse))
        assert n == pytest.approx(float((normal - point).norm(dim=1).min()))


def test_all_neighbours_are_the_mean_distance():
    generator = torch.Generator().manual_seed(2)
    train, test = (torch.randn(n, 3, generator=generator) for n in (6, 9))
    labels = torch.arange(9) > 4
    found = study.by_neighbours(train, test, labels, (1, 6, 50))
    assert list(found) == [1, 6]  # no more than there are
    far = torch.cdist(test, train).square().mean(1)
    better = (far[labels][:, None] > far[~labels]).float().mean()
    assert found[6] == pytest.approx(100 * float(better), abs=1e-4)


def test_tuning_draws_together_and_leaves_the_network_alone():
    net = efficientnet_lite0(stages=(16, 32))
    generator = torch.Generator().manual_seed(3)
    before = torch.randn(6, 112, 4, 4, generator=generator)
    was = [w.clone() for w in net.parameters()]
    losses = [loss for loss, _ in study.tuned(net, before, 6, lr=1e-3)]
    assert losses[-1] < losses[0]
    assert all(torch.equal(a, b) for a, b in zip(was, net.parameters(), strict=True))
    held = [loss for loss, _ in study.tuned(net, before, 6, lr=1e-3, clip=1e-9)]
    assert held[-1] == pytest.approx(held[0], rel=1e-3)  # a clip that lets nothing move


def test_a_stage_that_tells_nothing_is_at_chance():
    maps, labels = torch.rand(8, 2, 3, 3), torch.arange(8) > 3
    found = study.judged(torch.nn.Conv2d(2, 2, 1).requires_grad_(False), maps[:4], maps, labels)
    assert set(found) == {"AUROC", "good", "bad"}
    flat = torch.nn.Conv2d(2, 2, 1)
    torch.nn.init.zeros_(flat.weight)
    assert study.judged(flat, maps[:4], maps, labels)["AUROC"] == pytest.approx(50)


def test_pose_alone_differs():
    still, moved = (study.wandering("tray", 48, {"train": 2, "good": 1, "each": 1}, w, 0) for w in (0.0, 3.0))
    assert still.kinds == moved.kinds
    assert still.train.shape == moved.train.shape
    assert not torch.equal(still.train, moved.train)
