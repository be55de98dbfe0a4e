"""PRADOT against loops over embeddings and prototypes, and against what its terms promise."""

import math

import numpy as np
import ot
import pytest
import torch
import torch.nn.functional as F

from otad.methods.prototypes import pradot
from otad.methods.prototypes.pradot import AUTHORS_CODE, PRADOT, FusedCost, embeddings, grid, update
from otad.transport import sinkhorn


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain(images):
    """Stages of an image: its pixels, pooled by 2 and 4, with a constant so that angles differ."""
    maps = (F.avg_pool2d(images, 2), F.avg_pool2d(images, 4))
    return [torch.cat([m, m.square(), torch.ones_like(m[:, :1])], 1) for m in maps]


def small(**settings):
    return PRADOT(plain, **({"n": 2, "epochs": 3, "batch_size": 4, "alphas": (0.0, 0.4)} | settings))


# The cost, Eq. 1 and 3 ----------------------------------------------------------------------------------


def brute_cost(z, c, p, rho, alpha, squared, normalise):
    feature, place = torch.zeros(2, len(z), len(p), dtype=z.dtype)
    for i in range(len(z)):
        for j in range(len(p)):
            feature[i, j] = 1 - (z[i] @ p[j]) / (z[i].norm() * p[j].norm())
            gap = (c[i] - rho[j]).norm()
            place[i, j] = gap**2 if squared else gap
    if normalise:
        feature, place = feature / feature.max(), place / place.max()
    return (1 - alpha) * feature + alpha * place


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("normalise", [True, False])
def test_cost_equals_loops_over_pairs(alpha, squared, normalise):
    sides = normal(13, 5), rand(13, 2, seed=1), normal(17, 5, seed=2), rand(17, 2, seed=3)
    cost = FusedCost(*sides, alpha, squared, normalise)
    expected = brute_cost(*sides, alpha, squared, normalise)
    torch.testing.assert_close(cost[:], expected)
    torch.testing.assert_close(cost[4:9], expected[4:9])
    assert cost.shape == (13, 17)
    if normalise:
        assert float(cost[:].max()) <= 1 + 1e-12


def test_cost_is_found_in_blocks_of_rows(monkeypatch):
    method = PRADOT(plain, n=3, max_iter=40)
    features, prototypes = normal(2, 5, 3, 4), normal(3, 3, 4, 5, seed=1)
    whole = method.transport(features, prototypes, 0.3)
    monkeypatch.setattr(pradot, "LARGE", 1)
    by_rows = method.transport(features, prototypes, 0.3)
    torch.testing.assert_close(by_rows.plan, whole.plan)
    torch.testing.assert_close(by_rows.value, whole.value)


def test_cost_ignores_the_length_of_features_and_bears_zeros():
    z, p, c = normal(6, 4), normal(7, 4, seed=1), rand(7, 2, seed=2)
    cost = FusedCost(z, c[:6], p, c, 0.3, normalise=True)[:]
    scaled = FusedCost(100 * z, c[:6], 0.01 * p, c, 0.3, normalise=True)[:]
    torch.testing.assert_close(scaled, cost)
    nothing = FusedCost(0 * z, c[:6], p, c, 0.0)[:]
    torch.testing.assert_close(nothing, torch.ones_like(nothing))
    same = FusedCost(z[:1].repeat(6, 1), c[:1].repeat(6, 1), z[:1], c[:1], 0.3, normalise=True)[:]
    assert float(same.abs().max()) < 1e-12


def test_grids():
    assert grid(2, 4).tolist() == [[i / 2, j / 4] for i in (1, 2) for j in (1, 2, 3, 4)]
    assert grid(2, 3, "span").tolist() == [[i, j / 2] for i in (0, 1) for j in (0, 1, 2)]
    assert grid(1, 2, "centres").tolist() == [[0.5, 0.25], [0.5, 0.75]]
    features = torch.arange(2 * 3 * 2 * 4).view(2, 3, 2, 4)
    listed = embeddings(features)
    assert listed.shape == (16, 3)
    assert torch.equal(listed[8 + 1 * 4 + 2], features[1, :, 1, 2])


@pytest.mark.parametrize(("coordinates", "n"), [("cells", 2), ("span", 2), ("span", 1)])
def test_costs_of_maps_put_both_sides_on_the_grid(coordinates, n):
    h, w = 3, 5
    features, prototypes = normal(2, 4, h, w), normal(n, h, w, 4, seed=1)
    cost = PRADOT(plain, coordinates=coordinates).cost(features, prototypes, 1.0)[:].view(2, h, w, n, h, w)
    for i, j, k, m in [(0, 0, 2, 4), (1, 3, 0, 3), (2, 2, 2, 2)]:
        if coordinates == "cells":
            expected = ((i - k) / h) ** 2 + ((j - m) / w) ** 2
        elif n == 1:
            expected = (i / 2 - (k + 0.5) / h) ** 2 + (j / 4 - (m + 0.5) / w) ** 2
        else:
            expected = ((i - k) / 2) ** 2 + ((j - m) / 4) ** 2
        for image, copy in [(0, n - 1), (1, 0)]:
            assert float(cost[image, i, j, copy, k, m]) == pytest.approx(expected)


# Transport and update, Eq. 4 and 5 ----------------------------------------------------------------------


def test_plan_is_pots_for_the_normalised_cost():
    method = PRADOT(plain, n=2, epsilon=0.05, max_iter=5000, tol=1e-11)
    features, prototypes = normal(3, 6, 3, 4), normal(2, 3, 4, 6, seed=1)
    coupling = method.transport(features, prototypes, 0.3)
    c = grid(3, 4)
    cost = brute_cost(
        embeddings(features), c.repeat(3, 1), prototypes.flatten(0, 2), c.repeat(2, 1), 0.3, True, True
    )
    expected = ot.sinkhorn([], [], cost.numpy(), 0.05, method="sinkhorn_log", numItermax=5000, stopThr=1e-12)
    np.testing.assert_allclose(coupling.plan, expected, atol=1e-11)
    assert coupling.converged


def test_plus_is_the_sign_that_makes_the_problem_convex():
    """The plan minimises ⟨M,T⟩ + ε Σ T (log T − 1); with the printed minus, mixing plans would not help."""
    cost, eps = rand(5, 6), 0.1
    best = sinkhorn(cost, eps, max_iter=5000, tol=1e-13).plan

    def objective(plan, sign):
        return float((cost * plan).sum() + sign * eps * (plan * (plan.log() - 1)).sum())

    others = [sinkhorn(rand(5, 6, seed=s), 0.2, max_iter=5000, tol=1e-13).plan for s in range(1, 6)]
    for other in others:
        middle = (best + other) / 2
        assert objective(best, 1) < objective(middle, 1) < (objective(best, 1) + objective(other, 1)) / 2
        assert objective(middle, -1) > (objective(best, -1) + objective(other, -1)) / 2


def test_update_equals_the_sum_over_embeddings():
    features, prototypes = normal(3, 5, 2, 4), normal(2, 2, 4, 5, seed=1)
    plan = rand(24, 16, seed=2)
    found = update(prototypes, plan, features, 0.9).flatten(0, 2)
    z = embeddings(features)
    for i, p in enumerate(prototypes.flatten(0, 2)):
        expected = 0.9 * p + 0.1 * 16 * sum(plan[k, i] * z[k] for k in range(24))
        torch.testing.assert_close(found[i], expected)


def test_update_forgets_at_eta_zero_and_stands_still_at_one():
    features, prototypes = normal(2, 3, 2, 3), normal(2, 2, 3, 3, seed=1)
    # A plan that gives prototype (k, cell) the embedding of its cell in image k.
    plan = torch.eye(12, dtype=torch.float64) / 12
    torch.testing.assert_close(update(prototypes, plan, features, 0.0), features.movedim(1, -1))
    assert torch.equal(update(prototypes, plan, features, 1.0), prototypes)


def test_learning_is_algorithm_1():
    method = small(n=3, seed=4, batch_size=5, epochs=2, eta=0.7)
    features = normal(12, 4, 3, 2)
    found = method.learn(features, 0.4)
    generator = torch.Generator().manual_seed(4)
    p = torch.randn(3, 3, 2, 4, generator=generator).double()
    order = torch.randperm(12, generator=generator)
    for _ in range(2):
        shuffled = order[torch.randperm(12, generator=generator)]
        for start in (0, 5, 10):
            batch = features[shuffled[start : start + 5]]
            cost = method.cost(batch, p, 0.4, normalise=True)[:]
            p = update(p, sinkhorn(cost, 0.01).plan, batch, 0.7)
    torch.testing.assert_close(found, p)
    assert torch.equal(method.learn(features, 0.4), found)
    assert not torch.equal(small(n=3, seed=5, batch_size=5, epochs=2, eta=0.7).learn(features, 0.4), found)


def test_prototypes_find_two_clusters_and_use_all_of_themselves():
    """Global prototypes of features around two directions: all end on one of them, in equal shares."""
    a, b = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    left = torch.zeros(8, 4, 4, dtype=torch.bool)
    left[:, :, :2] = True
    features = (
        torch.where(left[:, None], a.view(3, 1, 1), b.view(3, 1, 1)) + 0.01 * normal(8, 3, 4, 4).float()
    )
    method = PRADOT(plain, n=2, epochs=30, batch_size=4, eta=0.8)
    found = F.normalize(method.learn(features, 0.0), dim=-1)
    to_a, to_b = (found @ a).flatten(), (found @ b).flatten()
    assert float(torch.maximum(to_a, to_b).min()) > 0.99
    assert int((to_a > 0.9).sum()) == int((to_b > 0.9).sum()) == 16
    # With a heavy position, each prototype takes the direction of its own half.
    local = F.normalize(method.learn(features, 0.95), dim=-1)
    assert float((local @ a)[:, :, :2].min()) > 0.99
    assert float((local @ b)[:, :, 2:].min()) > 0.99


def test_held_out_images_choose_the_epoch():
    features = normal(10, 4, 3, 2)
    method = small(val_ratio=0.3, epochs=4, eta=0.2, seed=1)
    order = torch.randperm(10, generator=_after_drawing(2, 3, 2, 4, seed=1))
    held = features[order[:3]]
    losses, found = [], method.learn(features, 0.4)
    for epochs in range(1, 5):
        p = small(val_ratio=0.3, epochs=epochs, eta=0.2, seed=1)
        last = _last(p, features, 0.4)
        losses.append(float(method.transport(held, last, 0.4).value))
        if losses[-1] == min(losses):
            best = last
    assert torch.equal(found, best)
    assert len(set(losses)) == 4


def _after_drawing(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    torch.randn(*shape, generator=generator)
    return generator


def _last(method, features, alpha):
    """Prototypes after the last epoch: learning whose held-out loss is made to fall for ever."""
    transport, count = method.transport, iter(range(0, -1000, -1))

    def falling(batch, p, alpha):
        coupling = transport(batch, p, alpha)
        return type(coupling)(coupling.plan, torch.tensor(float(next(count))), 0, 0.0, True)

    method.transport = falling
    return method.learn(features, alpha)


# Scores, Eq. 6 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"normalise_scores": True}, AUTHORS_CODE])
def test_scores_are_the_cheapest_prototypes(settings):
    method = PRADOT(plain, **settings)
    features, prototypes = normal(3, 5, 3, 4), normal(2, 3, 4, 5, seed=1)
    scores, index = method.assign(features, prototypes, 0.3)
    assert scores.shape == index.shape == (3, 3, 4)
    c = grid(3, 4, method.coordinates)
    for image in range(3):
        sides = embeddings(features[image : image + 1]), c, prototypes.flatten(0, 2), c.repeat(2, 1)
        cost = brute_cost(*sides, 0.3, method.squared, method.normalise_scores)
        torch.testing.assert_close(scores[image].flatten(), cost.amin(1))
        assert torch.equal(index[image].flatten(), cost.argmin(1))


def test_more_position_brings_the_assigned_prototype_nearer():
    method = PRADOT(plain)
    features, prototypes = normal(2, 5, 6, 7), normal(2, 6, 7, 5, seed=1)
    c, gaps = grid(6, 7), []
    for alpha in (0.0, 0.3, 0.7, 1.0):
        cell = method.assign(features, prototypes, alpha)[1] % 42
        gaps.append(float((c[cell.flatten()] - c.repeat(2, 1)).norm(dim=1).mean()))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 0.2
    assert gaps[-1] == 0


@pytest.mark.parametrize("combine", ["mean", "sum", "n_prototypes"])
@pytest.mark.parametrize("align", [False, True])
def test_maps_combine_alphas_and_stages(combine, align):
    train, test = rand(6, 3, 16, 24).float(), rand(3, 3, 16, 24, seed=1).float()
    method = small(combine=combine, align_corners=align).fit(train)
    assert [p.shape for p in (stage[0.4] for stage in method.prototypes_)] == [(2, 8, 12, 7), (2, 4, 6, 7)]
    total = 0
    for stage, features in enumerate(plain(test)):
        by_alpha = []
        for alpha in (0.0, 0.4):
            s = method.assign(features, method.prototypes_[stage][alpha], alpha)[0]
            by_alpha.append(F.interpolate(s[None], size=(16, 24), mode="bilinear", align_corners=align)[0])
        weight = {"mean": 1 / 2, "sum": 1, "n_prototypes": (192, 48)[stage] / 2}[combine]
        total = total + weight * sum(by_alpha) / 2
    scores = method.score(test)
    torch.testing.assert_close(scores.maps, total)
    torch.testing.assert_close(scores.image_scores, total.amax((1, 2)))
    assert method.parts(test).shape == (2, 2, 3, 16, 24)
    torch.testing.assert_close(method.score(test[1:2]).maps[0], scores.maps[1])


def test_a_blob_and_a_swap_are_found():
    """Left half red, right half blue. A green blob is new; a blue patch at the left is only out of place."""
    images = 0.2 + 0.05 * rand(12, 3, 32, 32).float()
    images[:, 0, :, :16] += 0.6
    images[:, 2, :, 16:] += 0.6
    blob, swap = images[10].clone(), images[11].clone()
    blob[:, 8:16, 16:24] = torch.tensor([0.2, 0.8, 0.2]).view(3, 1, 1)
    swap[:, 8:16, 4:12] = images[11, :, 8:16, 20:28]

    def pixels(x):
        return [F.avg_pool2d(x, 4)]

    method = PRADOT(pixels, n=2, epochs=20, batch_size=5, alphas=(0.0, 0.95), eta=0.8).fit(images[:10])
    good, found, moved = method.parts(torch.stack([images[0], blob, swap]))[0].unbind(1)
    inside = (slice(10, 14), slice(18, 22)), (slice(10, 14), slice(6, 10))
    assert float(found[0][inside[0]].min()) > 5 * float(good[0].max())  # the global prototypes see the blob
    assert float(moved[0][inside[1]].max()) < 2 * float(good[0].max())  # but have seen the moved patch
    assert float(moved[1][inside[1]].min()) > 3 * float(good[1].max())  # the local ones have not, there


# Settings and refusals ----------------------------------------------------------------------------------


def test_defaults_are_those_of_the_paper():
    method = PRADOT(plain)
    assert (method.n, method.alphas, method.eta, method.epsilon, method.max_iter) == (
        16,
        (0.0, 0.3),
        0.95,
        0.01,
        100,
    )
    assert (method.epochs, method.batch_size, method.prototypes_) == (50, 64, None)
    code = PRADOT(plain, **AUTHORS_CODE)
    assert all(getattr(code, name) != getattr(method, name) for name in AUTHORS_CODE)


def test_first_prototypes():
    features = torch.zeros(2, 5, 20, 20)
    gauss = PRADOT(plain, epochs=0).learn(features, 0.0)
    uniform = PRADOT(plain, epochs=0, initial="uniform").learn(features, 0.0)
    assert gauss.shape == uniform.shape == (16, 20, 20, 5)
    assert abs(float(gauss.mean())) < 0.02
    assert abs(float(gauss.std()) - 1) < 0.02
    assert 0 <= float(uniform.min()) < 0.01 < 0.99 < float(uniform.max()) <= 1
    assert abs(float(uniform.std()) - 1 / math.sqrt(12)) < 0.01
    # One seed starts all alphas from the same prototypes.
    assert torch.equal(gauss, PRADOT(plain, epochs=0).learn(features, 0.3))


def test_same_result_in_any_number_of_backbone_calls_and_on_any_dtype():
    train, test = rand(5, 3, 16, 16), rand(2, 3, 16, 16, seed=1)
    double, single = small().fit(train), small().fit(train.float())
    assert single.prototypes_[0][0.0].dtype == single.score(test.float()).maps.dtype == torch.float32
    torch.testing.assert_close(
        single.score(test.float()).maps.double(), double.score(test).maps, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alphas": ()}, "alphas are"),
        ({"alphas": (0.0, 1.2)}, "alphas are"),
        ({"eta": -0.1}, "eta is -0.1"),
        ({"val_ratio": 1.0}, "val_ratio 1.0"),
        ({"n": 0}, "n is 0"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"combine": "max"}, "combine is 'max'"),
        ({"initial": "zeros"}, "initial is 'zeros'"),
        ({"coordinates": "polar"}, "coordinates is 'polar'"),
        ({"drop_last": True, "batch_size": 64}, "no batch of 64 from 3"),
        ({"epsilon": 0.0}, "reg is 0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings).fit(torch.rand(3, 3, 8, 8))


def test_bad_input_is_refused():
    images = torch.rand(4, 3, 8, 12)
    with pytest.raises(ValueError, match="call fit"):
        small().score(images)
    with pytest.raises(ValueError, match="shape"):
        small().fit(images[:0])
    with pytest.raises(ValueError, match="no feature map"):
        PRADOT(lambda x: []).fit(images)
    method = small().fit(images)
    with pytest.raises(ValueError, match="size that fit saw"):
        method.score(torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueError, match="NaN"):
        method.score(images * torch.nan)
