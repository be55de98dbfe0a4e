import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from otad.methods.flows.csflow import loss_a_dimension
from otad.studies import flows_opened as opened
from otad.studies.arenas import packaged


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_crescents_are_about_standard_and_no_gaussian():
    points = opened.crescents(4000, 1)
    assert points.shape == (4000, 2)
    assert points.mean(0).abs().max() < 0.3
    assert (points.std(0) - 1).abs().max() < 0.2
    assert stats.normaltest(points[:, 0].numpy()).pvalue < 1e-6
    assert torch.equal(points[:10], opened.crescents(4000, 1)[:10])
    assert not torch.equal(points[:10], opened.crescents(4000, 2)[:10])


def test_new_flows_on_the_plane_and_across_scales_change_nothing_but_order():
    points = rand(13, 2)
    z, log_det = opened.plane_flow(4, 8, 0)(points)
    torch.testing.assert_close(z.sort(1).values, points.sort(1).values)
    torch.testing.assert_close(log_det, torch.zeros(13))
    maps = [rand(2, 4, 8, 12), rand(2, 4, 4, 6), rand(2, 4, 2, 3)]
    assert opened.cross_flow(4, 5, 2, 0)(maps)[1].tolist() == [0, 0]


def test_flows_are_drawn_from_their_seed_alone():
    one, same, other = (opened.map_flow(4, 3, seed)(rand(2, 4, 5, 7))[0] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_three_flows_have_autograd_s_determinant_and_a_wrong_one_is_found():
    flows = opened.three_flows(3)
    for run, undo, x in flows.values():
        off, left = opened.against_autograd(run, undo, x)
        assert off < 1e-9
        assert left < 1e-9
    run, undo, x = flows["maps"]
    assert abs(run(x)[1].item()) > 1e-3
    off, left = opened.against_autograd(lambda x: (run(x)[0], 0 * run(x)[1]), lambda z: z, x)
    assert off > 1e-3
    assert left > 1e-3


def test_a_flow_of_one_factor_ends_where_the_exercise_says():
    scale, points = nn.Parameter(torch.zeros(1)), 3 * rand(256, 1)

    def loss(batch):
        z = points[batch] * scale.exp()
        return opened.weighed([z], scale.expand(len(batch)), 4.0)

    opened.learn([scale], loss, 256, 300, 0.05, 256, 0)
    assert float((points * scale.exp()).square().mean().detach()) == pytest.approx(4.0, rel=0.01)


def test_a_weight_of_one_is_the_likelihood_s():
    z, log_det = [rand(3, 2, 4, 4), rand(3, 2, 2, 2)], rand(3, seed=1)
    torch.testing.assert_close(opened.weighed(z, log_det, 1.0), loss_a_dimension(z, log_det))


def test_what_watch_sees_comes_back_an_epoch_a_number():
    weight, seen = nn.Parameter(torch.ones(1)), iter(range(5))
    found = opened.learn(
        [weight], lambda batch: weight.square().sum(), 7, 5, 0.1, 3, 0, lambda: float(next(seen))
    )
    assert found == [0, 1, 2, 3, 4]
    assert float(weight.detach()) < 1
    losses = opened.learn([weight], lambda batch: weight.square().sum(), 7, 5, 0.1, 3, 0)
    assert losses[-1] < losses[0]


def test_a_lattice_has_upright_lines_first():
    lines = opened.lattice(-1.0, 1.0, 3, points=5)
    assert len(lines) == 6
    assert [float(line[:, 0].std()) for line in lines[:3]] == [0, 0, 0]
    assert [float(line[0, 1]) for line in lines[3:]] == [-1, 0, 1]


def test_the_gap_to_chi_square_is_scipy_s():
    squares = rand(60, 5).square().sum(1)
    expected = stats.kstest(squares.double().numpy(), "chi2", args=(5,)).statistic
    assert opened.chi_square_gap(squares, 5) == pytest.approx(expected, abs=1e-9)
    assert opened.chi_square_gap(100 + squares, 5) > 0.9


@pytest.mark.parametrize("seed", [None, 3])
def test_maps_come_back_in_the_order_of_the_pictures_whatever_their_company(seed):
    values, sizes = torch.arange(11.0), []

    def judge(part):
        sizes.append(len(part))
        return values[part].view(-1, 1, 1) + 100 * len(part)

    found = opened.in_batches(judge, 11, 4, seed)
    assert sizes == [4, 4, 3]
    assert (found[:, 0, 0] % 100).tolist() == values.tolist()


def test_best_is_chosen_by_the_pictures_it_is_judged_on_and_honest_is_not():
    labels = torch.arange(40) < 20
    noise = rand(200, 40)  # two hundred epochs of guessing
    found = opened.last_and_best(noise, labels, 0)
    assert found["best"] > 65
    assert abs(found["honest"] - 50) < 16
    right = labels.float().expand(3, -1)
    assert opened.last_and_best(right, labels, 0) == {"last": 100, "best": 100, "honest": 100}
    assert opened.auroc_of_epochs(torch.stack([right[0], -right[0]]), labels).tolist() == [100, 0]


def net(images):
    return [nn.functional.avg_pool2d(images, 8)]


def test_pyramids_halve_and_are_standardised_by_the_training_pictures():
    data = packaged("carpet", 64, 6, 3, 1, 0)
    learnt, asked = opened.pyramids(net, data, 3)
    assert [m.shape[-1] for m in learnt] == [8, 4, 2]
    assert len(asked[0]) == len(data.test)
    for m in learnt:
        torch.testing.assert_close(m.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
        torch.testing.assert_close(m.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)


def test_both_trainings_on_small_maps_run_and_repeat():
    data = packaged("carpet", 64, 6, 3, 1, 0)
    learnt, asked = opened.pyramids(net, data, 3)
    few = [opened.volume_weighed(learnt, asked, data.labels, w, 2, 0) for w in (1, 1, 8)]
    assert few[0] == few[1]
    assert few[0] != few[2]
    scores, of_learnt, of_asked = opened.watched(learnt[0], asked[0], 3, 0)
    assert scores.shape == (3, len(data.test))
    assert (len(of_learnt), len(of_asked)) == (6, len(data.test))
    assert not torch.equal(scores[0], scores[2])


def test_the_spread_of_readings_has_both_ends():
    data = packaged("carpet", 64, 1, 3, 1, 0)
    right = data.masks.float()
    found = opened.spread([right, -right], data)
    assert found["image, most"] == 100
    assert found["pixel AUROC, least"] == 0
    assert math.isclose(found["pixel, most"], 100)
    assert np.isfinite(found["image AUROC, least"])


def test_pixels_are_sorted_by_what_they_show():
    data = packaged("carpet", 64, 1, 3, 1, 0)
    own = data.masks.float() + 2 * (~data.labels)[:, None, None]
    found = opened.sorts(data, own, torch.arange(4.0).view(4, 1, 1).expand(4, 5, 7))
    assert [set(m.flatten().tolist()) for m in found.values()] == [{2}, {1}, {0, 1}, {2, 3}]


def test_a_bent_grid_has_its_upright_lines_apart():
    grid = opened.bent(lambda x: 2 * x + 1, 1.5, lines=4)
    upright, level = grid.values()
    assert len(upright) == len(level) == 4
    assert all(float(line[:, 0].std()) == 0 and float(line[:, 1].max()) == 4 for line in upright)
    assert all(float(line[:, 1].std()) == 0 for line in level)
