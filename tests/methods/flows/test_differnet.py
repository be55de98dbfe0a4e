import pytest
import torch
import torch.nn.functional as F

from otad.methods import DifferNet
from otad.methods.flows.differnet import loss_a_dimension, turned

from .test_couplings import differnet
from .test_fastflow import images

small = {"blocks": 2, "hidden": 16, "views": 2, "test_views": 4, "epochs": 20, "lr": 1e-2, "batch_size": 8}


def net(images):
    mean = F.avg_pool2d(images, 4)
    return [torch.cat([mean, F.avg_pool2d(images.square(), 4) - mean.square()], 1)]


def test_loss_and_score_are_the_public_code_s():
    g, flow = differnet()
    z, log_det = (part.detach() for part in flow(g["x"]))
    assert float(loss_a_dimension(z, log_det)) == pytest.approx(float(g["loss"]), rel=1e-4)
    torch.testing.assert_close(
        z.view(2, 3, -1).square().mean((1, 2)), g["score_of_3_views"], rtol=1e-4, atol=1e-5
    )


def test_turning_by_quarters_is_turning_by_quarters():
    square = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    for k in range(4):
        found = turned(square, torch.full((2,), k * torch.pi / 2))
        expected = min(
            (torch.rot90(square, s * k, (2, 3)) for s in (1, -1)),
            key=lambda e: float((e - found).abs().max()),
        )
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_a_wide_picture_keeps_its_shapes():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(80.0), indexing="ij")
    disc = (((x - 39.5) ** 2 + (y - 19.5) ** 2) < 100).float().expand(1, 3, 40, 80)
    found = turned(disc, torch.tensor([0.7]))
    assert float((found - disc).abs().mean()) < 0.01


def test_learning_lowers_the_loss_and_ranks_what_is_odd():
    query = images(2, seed=1, size=(32, 32))
    query[1, :, 8:20, 8:20] = 1.0
    method = DifferNet(net, **small).fit(images(12, size=(32, 32)))
    assert method.losses_[-1] < method.losses_[0]
    scores = method.score(query)
    assert scores.maps.shape == (2, 32, 32)
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])


def test_the_same_seed_learns_the_same_and_pictures_stand_alone():
    both = images(3, seed=2, size=(32, 32))
    runs = [DifferNet(net, **{**small, "epochs": 2}, seed=s).fit(images(4, size=(32, 32))) for s in (0, 0, 1)]
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    assert torch.equal(runs[0].score(both).image_scores[1:2], runs[0].score(both[1:2]).image_scores)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        DifferNet(net).score(images(1))
    with pytest.raises(ValueError, match="views is 0"):
        DifferNet(net, views=0).fit(images(2))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        DifferNet(net, **{**small, "lr": 1e30}).fit(images(4, size=(32, 32)))
