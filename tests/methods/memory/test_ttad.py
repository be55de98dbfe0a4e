import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, kl_divergence

from otad.features.pretrained import Backbone
from otad.methods.memory.patchcore import PatchCore, greedy_coreset
from otad.methods.memory.ttad import (
    ALIGNMENTS,
    PLANS,
    TTAD,
    assign,
    distances,
    draw_views,
    gaussian,
    gaussian_kl,
    moment_gap,
    transport_loss,
    turn,
)
from otad.transport import hard_plan, sinkhorn


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def tiny(seed=0, strides=(2, 4)):
    """Two stages with batch norm, weights drawn from a seed; statistics that are not the identity."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stages = {}
        for stride, c_in, c_out in ((2, 3, 5), (4, 5, 6)):
            norm = nn.BatchNorm2d(c_out)
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.2, 0.5)
            conv = nn.Conv2d(c_in, c_out, 3, 2, 1, bias=False)
            stages[stride] = nn.Sequential(conv, norm, nn.LeakyReLU(0.1))
        return Backbone("tiny", "random", stages, strides, (0.5,) * 3, (0.25,) * 3)


def pictures(n=7, height=16, width=16, seed=0):
    return rand(n, 3, height, width, seed=seed, dtype=torch.float32)


def detector(**changes):
    settings = {"n_memory": 23, "epochs": 2, "batch_size": 3, "lr": 0.05, "views": 2} | changes
    return TTAD(tiny(), **settings).fit(pictures(5, seed=1))


def shifted():
    return 0.3 + 0.2 * pictures(7, seed=2)


def parameters(net):
    return torch.cat([p.detach().flatten() for p in net.state_dict().values() if p.is_floating_point()])


# Memory and scores: Eqs. 1 and 2 ---------------------------------------------------------------------------


def test_memory_and_scores_are_patchcore_without_reweighting():
    ttad = detector()
    points = ttad.patches(pictures(5, seed=1))
    assert points.shape == (5 * 8 * 8, 11)
    expected = points[greedy_coreset(points, 23, 0, projection=128)]
    assert torch.equal(ttad.memory_, expected)
    reference = PatchCore(tiny(), reweight=False)
    reference.memory_ = expected
    scores, wanted = ttad.score(shifted()), reference.score(shifted())
    assert torch.equal(scores.maps, wanted.maps)
    assert torch.equal(scores.image_scores, wanted.image_scores)
    by_hand = [  # Eq. 2, read literally
        max(min(float((z - m).norm()) for m in expected) for z in ttad.patches(image[None]))
        for image in shifted()[:2]
    ]
    np.testing.assert_allclose(scores.image_scores[:2], by_hand, rtol=1e-5)


def test_moments_are_those_of_all_training_patches():
    ttad = detector()
    points = ttad.patches(pictures(5, seed=1)).double()
    torch.testing.assert_close(ttad.mean_.double(), points.mean(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ttad.covariance_.double(), points.T.cov(correction=0), rtol=1e-3, atol=1e-5)


# Plans: Eqs. 4 to 6 ----------------------------------------------------------------------------------------


def test_the_hard_plan_is_eq_6_read_slowly():
    points, memory = rand(17, 4), rand(13, 4, seed=1)
    soft = assign(points, memory, "continuous", 0.1)
    expected = torch.zeros(17, 13, dtype=torch.float64)
    for i, j in itertools.product(range(17), range(13)):
        best_of_row = all(soft[i, j] >= soft[i, k] for k in range(13))
        best_of_column = all(soft[i, j] >= soft[k, j] for k in range(17))
        expected[i, j] = float(best_of_row or best_of_column)
    assert torch.equal(assign(points, memory, "discrete", 0.1), expected)
    assert torch.equal(hard_plan(soft), expected)
    assert bool((expected.sum(1) >= 1).all())  # nobody goes free: neither patches nor memory entries
    assert bool((expected.sum(0) >= 1).all())
    assert 17 <= int(expected.sum()) < 17 + 13


def test_the_continuous_plan_is_sinkhorns_with_uniform_marginals():
    points, memory = rand(17, 4), rand(13, 4, seed=1)
    plan = assign(points, memory, "continuous", 0.1, max_iter=500)
    cost = torch.cdist(points, memory)
    exact = sinkhorn(cost, 0.1 * float(cost.mean()), max_iter=2000, tol=1e-10).plan
    assert float((plan - exact).abs().sum()) < 5e-3
    torch.testing.assert_close(plan.sum(1), torch.full((17,), 1 / 17, dtype=torch.float64))
    assert float((plan.sum(0) - 1 / 13).abs().sum()) < 1e-3


@pytest.mark.parametrize(("n", "m"), [(5, 3), (3, 5)])
def test_hungarian_is_the_cheapest_one_to_one_assignment(n, m):
    points, memory = rand(n, 2), rand(m, 2, seed=1)
    plan, cost = assign(points, memory, "hungarian"), torch.cdist(points, memory)
    assert int(plan.sum()) == 3
    assert float(plan.sum(0).max()) == float(plan.sum(1).max()) == 1
    if n > m:
        best = min(
            sum(cost[i, j] for j, i in enumerate(rows)) for rows in itertools.permutations(range(n), m)
        )
    else:
        best = min(
            sum(cost[i, j] for i, j in enumerate(cols)) for cols in itertools.permutations(range(m), n)
        )
    torch.testing.assert_close((plan * cost).sum(), best)


def test_copying_the_target_changes_no_plan_and_no_loss():
    points, memory = rand(17, 4), rand(13, 4, seed=1)
    for kind in ("continuous", "discrete"):
        once, twice = (assign(p, memory, kind, 0.1, 200) for p in (points, points.repeat(2, 1)))
        scale = 2.0 if kind == "continuous" else 1.0
        torch.testing.assert_close(twice * scale, once.repeat(2, 1), rtol=1e-6, atol=1e-12)
        losses = [
            transport_loss(p, memory, plan) / plan.sum()
            for p, plan in ((points, once), (points.repeat(2, 1), twice))
        ]
        torch.testing.assert_close(*losses)


# Losses and their gradients --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PLANS)
def test_transport_loss_is_the_sum_over_the_plan(kind):
    points, memory = rand(17, 4), rand(13, 4, seed=1)
    plan = assign(points, memory, kind, 0.1)
    by_hand = sum(
        plan[i, j] * (points[i] - memory[j]).norm() for i, j in itertools.product(range(17), range(13))
    )
    torch.testing.assert_close(transport_loss(points, memory, plan), by_hand)


def losses():
    memory = rand(13, 4, seed=1)
    mean, covariance = gaussian(rand(40, 4, seed=2))
    fixed = {kind: assign(rand(17, 4), memory, kind, 0.1) for kind in PLANS}
    plans = {kind: partial(transport_loss, memory=memory, plan=plan) for kind, plan in fixed.items()}
    return plans | {
        "moments": lambda p: moment_gap(p, mean, covariance),
        "kl": lambda p: gaussian_kl(p, mean, covariance),
    }


@pytest.mark.parametrize("kind", ["moments", "kl", *PLANS])
def test_gradients_agree_with_finite_differences(kind):
    loss, points = losses()[kind], rand(17, 4).requires_grad_()
    loss(points).backward()
    step = 1e-6
    for i, c in itertools.product((0, 7, 16), range(4)):
        up, down = points.detach().clone(), points.detach().clone()
        up[i, c] += step
        down[i, c] -= step
        slope = float(loss(up) - loss(down)) / (2 * step)
        assert abs(slope - float(points.grad[i, c])) < 1e-6 * max(1, abs(slope))


def test_gradient_reaches_batch_norm_as_finite_differences_say():
    """The whole step: image, views, network, patches, plan held fixed, loss."""
    net = tiny().double()
    images, memory = rand(2, 3, 12, 16), rand(13, 11, seed=3)
    ttad = TTAD(net, patch_size=3)
    plan = assign(ttad.patches(images), memory, "discrete", 0.1)
    scale = net.stages["2"][1].weight.requires_grad_()

    def loss():
        maps = net(images)
        from otad.methods.memory.patchcore import patch_features

        points = patch_features(maps, 3).movedim(1, -1).flatten(0, 2)
        return transport_loss(points, memory, plan) / plan.sum()

    loss().backward()
    for c in range(5):
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                scale[c] += step
                values.append(float(loss()))
                scale[c] -= step
        slope = (values[0] - values[1]) / 2e-6
        assert abs(slope - float(scale.grad[c])) < 1e-6


def test_a_patch_that_lies_on_its_entry_has_no_gradient():
    memory = rand(5, 3)
    points = memory[:2].clone().requires_grad_()
    plan = torch.zeros(2, 5, dtype=torch.float64)
    plan[0, 0] = plan[1, 1] = 1
    loss = transport_loss(points, memory, plan)
    loss.backward()
    assert float(loss.detach()) < 1e-6
    assert bool(points.grad.isfinite().all())


def test_kl_is_that_of_two_normals():
    source, target = (
        rand(40, 4, seed=2),
        0.3 + rand(50, 4, seed=4) @ torch.diag(torch.tensor([1, 2, 0.5, 1])).double(),
    )
    mean, covariance = gaussian(source)
    lift = 1e-3 * covariance.diagonal().mean() * torch.eye(4, dtype=torch.float64)
    found, spread = gaussian(target)
    expected = kl_divergence(
        MultivariateNormal(mean, covariance + lift), MultivariateNormal(found, spread + lift)
    )
    torch.testing.assert_close(gaussian_kl(target, mean, covariance), expected)
    assert abs(float(gaussian_kl(source, mean, covariance))) < 1e-12
    assert float(moment_gap(source, mean, covariance)) == 0
    assert float(gaussian_kl(rand(2, 4), mean, covariance)) > 0  # fewer patches than channels


# Views -----------------------------------------------------------------------------------------------------


def test_the_eight_views_are_different_and_view_0_is_the_picture():
    image = rand(2, 3, 6, 6)
    seen = [turn(image, v) for v in range(8)]
    assert torch.equal(seen[0], image)
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(seen, 2))
    for view in range(8):
        torch.testing.assert_close(turn(image, view).sort(-1).values.sum(), image.sum())
    assert turn(rand(3, 4, 9), 4).shape == turn(rand(3, 4, 9), 6).shape == (3, 4, 9)


def test_drawn_views():
    def generator():
        return torch.Generator().manual_seed(0)

    flips = draw_views(50, "flips", 3, True, generator())
    assert flips.shape == (50, 4)
    assert bool((flips[:, 0] == 0).all())
    assert set(flips[:, 1:].unique().tolist()) == set(range(1, 8))
    assert all(len(set(row)) == 4 for row in flips.tolist())
    assert set(draw_views(30, "flips", 2, False, generator())[:, 1:].unique().tolist()) == {2, 4, 6}
    assert torch.equal(draw_views(3, "copy", 2, True, generator()), torch.zeros(3, 3, dtype=torch.long))
    assert draw_views(3, "none", 2, True, generator()).shape == (3, 1)
    with pytest.raises(ValueError, match="views is 4: these pictures have 3"):
        draw_views(3, "flips", 4, False, generator())


# Adapting --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_the_source_is_never_changed_and_adapting_twice_gives_the_same(alignment):
    ttad = replace(detector(), alignment=alignment, lr=0.001)
    before, images = parameters(ttad.backbone), shifted()
    scores = ttad.score(images)
    first, second = ttad.adapt(images), ttad.adapt(images)
    assert torch.equal(parameters(ttad.backbone), before)
    assert not any(p.requires_grad for p in ttad.backbone.parameters())
    assert torch.equal(ttad.score(images).maps, scores.maps)
    assert torch.equal(first.score(images).maps, second.score(images).maps)
    assert first.losses_ == second.losses_
    assert len(first.losses_) == (0 if alignment == "none" else 2 * 3)
    assert torch.equal(first.score(images).maps, scores.maps) == (alignment == "none")
    assert ttad.losses_ == []


@pytest.mark.parametrize("alignment", ["continuous", "discrete", "hungarian"])
def test_the_loss_falls(alignment):
    ttad = replace(detector(epochs=8), alignment=alignment, augmentation="none", batch_size=7, lr=0.02)
    losses = ttad.adapt(shifted()).losses_
    assert losses[-1] < 0.96 * losses[0]


def test_what_update_updates():
    images, source = shifted(), tiny().state_dict()
    touched = {}
    for update in ("none", "bn_affine", "bn_statistics", "all"):
        state = replace(detector(), update=update).adapt(images).backbone.state_dict()
        touched[update] = {
            k for k in source if not torch.equal(source[k], state[k]) and "num_batches" not in k
        }
    affine = {f"stages.{s}.1.{n}" for s in (2, 4) for n in ("weight", "bias")}
    statistics = {f"stages.{s}.1.{n}" for s in (2, 4) for n in ("running_mean", "running_var")}
    assert touched["none"] == set()
    assert touched["bn_affine"] == affine
    assert touched["bn_statistics"] == statistics
    assert touched["all"] == affine | {"stages.2.0.weight", "stages.4.0.weight"}


def test_statistics_are_those_of_the_target():
    ttad = replace(detector(), update="bn_statistics", augmentation="none", batch_size=7)
    images = shifted()
    adapted = ttad.adapt(images).backbone
    x = adapted.stages["2"][0]((images - 0.5) / 0.25)
    norm = adapted.stages["2"][1]
    torch.testing.assert_close(norm.running_mean, x.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, x.movedim(1, 0).flatten(1).var(1))
    assert not any(m.training for m in adapted.modules())


def test_frozen_stages_are_kept_and_give_what_computing_them_again_gives():
    ttad = replace(detector(), frozen=2)
    images = shifted()
    adapted = ttad.adapt(images)
    source, state = tiny().state_dict(), adapted.backbone.state_dict()
    assert all(torch.equal(source[k], state[k]) for k in source if k.startswith("stages.2."))
    assert not torch.equal(source["stages.4.1.weight"], state["stages.4.1.weight"])
    # By hand: the same loop without the shortcut, gradients only where they are wanted.
    by_hand = detector()
    by_hand = replace(by_hand, update="bn_affine")
    import otad.methods.memory.ttad as module

    class Slow(module._Target):
        def _maps(self, pairs):
            return self.net(torch.stack([turn(self.images[i], v) for i, v in pairs]))

    original, module._Target = module._Target, Slow
    try:
        slow = ttad.adapt(images)
    finally:
        module._Target = original
    torch.testing.assert_close(adapted.score(images).maps, slow.score(images).maps, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(adapted.losses_, slow.losses_, rtol=1e-4)


def test_epochs_are_yielded_one_by_one():
    ttad, images = detector(epochs=3), shifted()
    seen = list(ttad.adapting(images))
    assert [len(d.losses_) for d in seen] == [3, 6, 9]
    assert torch.equal(seen[-1].score(images).maps, ttad.adapt(images).score(images).maps)
    assert torch.equal(seen[0].score(images).maps, replace(ttad, epochs=1).adapt(images).score(images).maps)
    assert not torch.equal(seen[0].score(images).maps, seen[1].score(images).maps)


def test_seeds_draw_other_views_and_no_global_state_is_touched():
    ttad, images = detector(), shifted()
    state = torch.random.get_rng_state()
    a, b = ttad.adapt(images), replace(ttad, seed=1).adapt(images)
    assert torch.equal(state, torch.random.get_rng_state())
    assert a.losses_ != b.losses_


def test_copies_change_nothing():
    ttad, images = replace(detector(), augmentation="none"), shifted()
    once, copied = (replace(ttad, augmentation=a).adapt(images) for a in ("none", "copy"))
    np.testing.assert_allclose(once.losses_, copied.losses_, rtol=1e-4)


@pytest.mark.parametrize("change", [{"lr": 1e30}, {"reduction": "sum", "lr": 1e10}])
def test_a_failed_adaptation_says_so_and_leaves_the_unadapted_scores(change):
    ttad, images = replace(detector(), **change), shifted()
    before = ttad.score(images).maps
    with pytest.raises(
        FloatingPointError, match=r"adaptation failed in epoch 1, after \d step.*unadapted scores"
    ):
        ttad.adapt(images)
    assert torch.equal(ttad.score(images).maps, before)


def test_the_printed_sum_is_the_mean_times_the_links():
    images = shifted()
    mean, total = (
        replace(detector(epochs=1, batch_size=7, augmentation="none"), reduction=r, lr=1e-9).adapt(images)
        for r in ("mean", "sum")
    )
    links = total.losses_[0] / mean.losses_[0]
    assert 7 * 64 <= round(links) < 7 * 64 + 23
    assert abs(links - round(links)) < 1e-3


def test_pictures_that_are_not_square():
    ttad = TTAD(tiny(), n_memory=23, epochs=1, batch_size=3).fit(pictures(3, 12, 20))
    assert ttad.adapt(0.5 * pictures(4, 12, 20)).score(pictures(2, 12, 20)).maps.shape == (2, 12, 20)


# Errors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"alignment": "sinkhorn"}, "alignment is 'sinkhorn': expected one of 'none', 'moments'"),
        ({"augmentation": "crop"}, "augmentation is 'crop'"),
        ({"update": "head"}, "update is 'head'"),
        ({"reduction": "max"}, "reduction is 'max'"),
        ({"epochs": 0}, "epochs is 0: expected 1 or more"),
        ({"epsilon": 0.0}, "epsilon is 0.0"),
        ({"momentum": 1.0}, "momentum 1.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        TTAD(tiny(), **change)


def test_use_before_fit_and_bad_images_are_refused():
    ttad = TTAD(tiny(), n_memory=23)
    for use in (ttad.score, ttad.adapt):
        with pytest.raises(ValueError, match="call fit with clean normal images first"):
            use(pictures())
    with pytest.raises(ValueError, match="n_memory is 23, the 1 images have 16 patches"):
        ttad.fit(pictures(1, 8, 8))
    with pytest.raises(ValueError, match="images hold values from"):
        ttad.fit(pictures() * 2)
    with pytest.raises(ValueError, match="images hold NaN"):
        detector().adapt(pictures() * torch.nan)
    with pytest.raises(ValueError, match="no batch norm in stages beyond stride 4"):
        detector(frozen=4).adapt(shifted())
    with pytest.raises(ValueError, match="kind is 'kl'"):
        assign(rand(3, 2), rand(4, 2), "kl")


def test_distances_are_distances():
    a, b = rand(17, 4), rand(13, 4, seed=1)
    torch.testing.assert_close(distances(a, b), torch.cdist(a, b))
