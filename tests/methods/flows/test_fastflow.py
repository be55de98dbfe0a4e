import math

import pytest
import torch
import torch.nn.functional as F

from otad.methods import FastFlow
from otad.methods.flows.fastflow import improbability, log_density, negative_log_likelihood

from .test_couplings import fastflow, rand


def net(images):
    return [F.avg_pool2d(images, 2), F.avg_pool2d(images, 4).repeat(1, 2, 1, 1)]


def images(n, seed=0, size=(16, 24)):
    return 0.4 + 0.2 * torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(seed))


def test_loss_and_map_are_the_public_code_s():
    g, flow = fastflow()
    z, log_det = flow(g["x"])
    second = g["second_scale_z"]
    loss = negative_log_likelihood(z, log_det) + negative_log_likelihood(second, torch.zeros(len(second)))
    assert float(loss.detach()) == pytest.approx(float(g["loss_two_scales"]), rel=1e-4)
    maps = [
        F.interpolate(
            improbability(m)[:, None], g["map_two_scales"].shape[-2:], mode="bilinear", align_corners=False
        )
        for m in (z, second)
    ]
    torch.testing.assert_close(torch.stack(maps).mean(0)[:, 0], g["map_two_scales"], rtol=1e-4, atol=1e-5)


def test_the_density_of_the_identity_is_the_normal_one():
    z = rand(5, 3, 2, 2)
    expected = torch.distributions.Normal(0, 1).log_prob(z).flatten(1).sum(1)
    torch.testing.assert_close(log_density(z, torch.zeros(5)), expected)


def test_learning_lowers_the_loss_and_finds_what_is_odd():
    query = images(2, seed=1)
    query[1, :, 4:10, 8:14] = 1.0
    method = FastFlow(net, steps=4, epochs=30, lr=1e-2, batch_size=8, output="energy").fit(images(16))
    assert len(method.losses_) == 30
    assert method.losses_[-1] < method.losses_[0] - 1
    scores = method.score(query)
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])
    y, x = divmod(int(scores.maps[1].argmax()), 24)
    assert 2 <= y < 12
    assert 6 <= x < 16


def test_the_probability_saturates_where_the_energy_does_not():
    z = torch.stack([torch.full((3, 1, 1), v) for v in (0.0, 1.0, 30.0, 60.0)])
    probability, energy = (improbability(z, output).flatten() for output in ("probability", "energy"))
    assert float(probability[2]) == float(probability[3]) == 0
    assert energy.tolist() == pytest.approx([0.0, 0.5, 450.0, 1800.0])
    assert probability[:2].tolist() == pytest.approx([-1.0, -math.exp(-0.5)])


def test_no_picture_s_map_depends_on_another():
    method = FastFlow(net, steps=2, epochs=2, batch_size=4).fit(images(6))
    both = images(3, seed=2)
    assert torch.equal(method.score(both).maps[1:2], method.score(both[1:2]).maps)


def test_the_same_seed_learns_the_same():
    runs = [FastFlow(net, steps=2, epochs=3, seed=s).fit(images(6)).losses_ for s in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_kernels_come_by_turns():
    method = FastFlow(net, steps=3, epochs=1).fit(images(4))
    sizes = [block.subnet[0].kernel_size[0] for block in method.flows_[0].couplings]
    assert sizes == [3, 1, 3]
    method = FastFlow(net, steps=3, epochs=1, kernels="one").fit(images(4))
    assert {block.subnet[0].kernel_size[0] for block in method.flows_[0].couplings} == {1}


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        FastFlow(net).score(images(1))
    with pytest.raises(ValueError, match="steps is 0"):
        FastFlow(net, steps=0).fit(images(2))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        FastFlow(net, steps=2, epochs=3, lr=1e30).fit(images(4))
