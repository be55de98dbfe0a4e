import numpy as np
import pytest
import torch

from otad.methods import Glance, load, save
from otad.methods.distillation.glance import Networks, Surroundings, correlation, distorted, inconsistency

from .networks import found, odd, pictures, tiny, weights

small = {"epochs": 4, "size": 6, "hidden": 8, "reach": 2, "lr": 1e-2, "batch_size": 4, "sigma": None}


def backbone():
    """Maps of strides 2 and 4, frozen."""
    return tiny((2, 4))


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("hole", [0, 1, 2])
def test_the_surroundings_do_not_see_the_patch_and_see_all_around_it(hole):
    net, x = Networks(5, size=4, hidden=6, hole=hole, reach=3), drawn(1, 5, 9, 11).requires_grad_()
    net.around(x)[0, :, 4, 5].square().sum().backward()
    seen = x.grad[0].abs().sum(0) > 0
    expected = torch.zeros(9, 11, dtype=torch.bool)
    expected[1:8, 2:9] = True
    expected[4 - hole : 5 + hole, 5 - hole : 6 + hole] = False
    assert torch.equal(seen, expected)
    changed = x.detach().clone()
    changed[:, :, 4, 5] += 1
    torch.testing.assert_close(net.around(changed)[0, :, 4, 5], net.around(x)[0, :, 4, 5], rtol=0, atol=1e-6)
    assert not torch.allclose(net.local(changed)[0, :, 4, 5], net.local(x)[0, :, 4, 5])


def test_the_local_network_sees_the_patch_alone():
    net, x = Networks(5, size=4, hidden=6, hole=1, reach=3), drawn(1, 5, 9, 11).requires_grad_()
    net.local(x)[0, :, 4, 5].square().sum().backward()
    assert x.grad[0].abs().sum(0).nonzero().tolist() == [[y, x] for y in (3, 4, 5) for x in (4, 5, 6)]


def test_at_the_border_what_is_missing_is_made_up_for():
    ring = Surroundings(3, 2, hole=1, reach=2)
    torch.nn.init.constant_(ring.convolution.weight, 0.1)
    torch.nn.init.zeros_(ring.convolution.bias)
    found = ring(torch.ones(1, 3, 6, 7))
    torch.testing.assert_close(found, torch.full((1, 2, 6, 7), 0.1 * 3 * (25 - 9)))


def test_correlations_are_numpy_s():
    z = drawn(2, 4, 5, 6)
    matrix = np.corrcoef(z.movedim(1, 0).flatten(1).numpy())
    expected = np.square(matrix[~np.eye(4, dtype=bool)]).mean()
    assert float(correlation(z)) == pytest.approx(expected, rel=1e-4)
    twice = torch.cat([z[:, :1], -3 * z[:, :1]], 1)
    assert float(correlation(twice)) == pytest.approx(1, rel=1e-5)
    assert float(correlation(z[:, :1])) == 0


def test_distortions_touch_what_the_mask_says_and_nothing_else():
    images = 0.1 + 0.8 * torch.rand(40, 3, 24, 40, generator=torch.Generator().manual_seed(1))
    kept = images.clone()
    spoilt, masks = distorted(images, 6, torch.Generator().manual_seed(0))
    assert torch.equal(images, kept)
    changed = (spoilt != images).any(1)
    assert not bool((changed & ~masks).any())
    assert float(changed[masks].float().mean()) > 0.9  # a pixel may keep its place in disorder
    assert 0 <= float(spoilt.min()) <= float(spoilt.max()) <= 1
    heights, widths = masks.any(2).sum(1), masks.any(1).sum(1)
    assert 6 <= int(heights.min()) <= int(heights.max()) <= 8
    assert 6 <= int(widths.min()) < int(widths.max()) <= 14
    disordered = [torch.equal(a.flatten(1).sort(1).values, b.flatten(1).sort(1).values) for a, b in zip(spoilt, images, strict=True)]  # fmt: skip
    assert 5 < sum(disordered) < 35


def test_inconsistency_by_hand():
    a, b = torch.zeros(1, 2, 1, 2), torch.zeros(1, 2, 1, 2)
    b[0, :, 0, 1] = torch.tensor([3.0, 4.0])
    assert inconsistency(a, b).flatten().tolist() == [0, 12.5]


def test_learning_lowers_both_losses_and_finds_what_is_odd():
    method = Glance(backbone(), **{**small, "epochs": 25}).fit(pictures(12))
    assert len(method.local_losses_) == len(method.losses_) == 25
    assert method.local_losses_[-1] < 0.5 * method.local_losses_[0]
    assert method.losses_[-1] < 0.7 * method.losses_[0]
    scores = method.score(odd())
    assert scores.maps.shape == (2, 24, 40)
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])
    assert found(scores.maps)


def test_the_score_is_the_weighted_sum_of_the_two_heads():
    method = Glance(backbone(), **small).fit(pictures(4))
    maps = {}
    for share in (0.0, 0.3, 1.0):
        method.lambda_s = share
        maps[share] = method.score(odd()).maps
    torch.testing.assert_close(maps[0.3], 0.3 * maps[1.0] + 0.7 * maps[0.0])
    assert 0 <= float(maps[0.0].min()) <= float(maps[0.0].max()) <= 1


def test_the_backbone_is_never_changed():
    net = backbone()
    before = weights(net)
    Glance(net, **small).fit(pictures(4)).score(odd())
    assert torch.equal(weights(net), before)


def test_the_same_seed_learns_the_same_and_pictures_stand_alone():
    runs = [Glance(backbone(), **small, views=2, seed=s).fit(pictures(6)) for s in (0, 0, 1)]
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    both = odd()
    assert torch.equal(runs[0].score(both).maps[1:], runs[0].score(both[1:]).maps)


def test_what_was_learnt_is_saved_and_loaded_to_the_bit(tmp_path):
    method = Glance(backbone(), **small).fit(pictures(4))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", backbone())
    assert torch.equal(again.score(odd()).maps, method.score(odd()).maps)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        Glance(backbone()).score(pictures(1))
    with pytest.raises(ValueError, match="hole is 3, reach 3"):
        Glance(backbone(), hole=3).fit(pictures(2))
    with pytest.raises(ValueError, match="lambda_s is 2"):
        Glance(backbone(), lambda_s=2.0).fit(pictures(2))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        Glance(backbone(), **{**small, "lr": 1e30}).fit(pictures(4))
