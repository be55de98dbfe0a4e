import numpy as np
import pytest
import torch
from scipy.ndimage import binary_opening

from otad.methods import KDAD, load, save
from otad.methods.distillation.kdad import Cloner, disagreement, opened

from .networks import golden, levels, odd, pictures, tiny, weights

small = {"epochs": 10, "batch_size": 4, "hidden": 6, "sigma": 1.5}


def test_the_disagreement_is_that_of_public_code():
    g = golden("distillation")
    taught, learnt = levels(g, "teacher", 4), levels(g, "student", 4)
    for lam, key in ((0.5, "kdad_loss_lambda_half"), (0.0, "kdad_direction_only")):
        assert float(disagreement(taught, learnt, lam).mean()) == pytest.approx(float(g[key]), rel=1e-4)


def test_direction_and_value_by_hand():
    t, s = torch.tensor([[[[3.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
    assert disagreement([t], [s], 0.0).tolist() == [1.0]
    assert disagreement([t], [s], 0.1).tolist() == pytest.approx([1.5])
    assert disagreement([t, t], [s, t], 0.1).tolist() == pytest.approx([1.5])


def test_opening_and_threshold_may_change_places():
    maps = torch.rand(2, 13, 17, generator=torch.Generator().manual_seed(0))
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    for threshold in (0.2, 0.4, 0.6):
        above = maps.numpy() > threshold
        # nothing comes from beyond the border: erosion sees ones there, dilation zeros
        padded = [np.pad(m, 2, constant_values=True) for m in above]
        expected = np.stack([binary_opening(m, cross)[2:-2, 2:-2] for m in padded])[:, 2:-2, 2:-2]
        assert np.array_equal((opened(maps) > threshold).numpy()[:, 2:-2, 2:-2], expected)
        assert 0 < expected.sum() < above[:, 2:-2, 2:-2].sum()
    assert bool((opened(maps) <= maps).all())
    assert torch.equal(opened(opened(maps)), opened(maps))


def test_the_paper_s_cloner_is_as_wide_as_vgg16_only_where_it_is_compared():
    net = Cloner((128, 256, 512, 512), (4, 8, 16, 32))
    assert [m.shape[1:] for m in net(torch.rand(1, 3, 64, 96))] == [
        (128, 16, 24),
        (256, 8, 12),
        (512, 4, 6),
        (512, 2, 3),
    ]
    widths = [layer.out_channels for layer in net.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert widths == [16, 16, 16, 128, 16, 16, 256, 16, 16, 512, 16, 16, 512]
    assert not any(layer.bias is not None for layer in net.modules() if isinstance(layer, torch.nn.Conv2d))


@pytest.mark.parametrize("signed", [False, True])
def test_only_a_cloner_of_signed_maps_has_negative_values(signed):
    maps = Cloner((5, 6), (2, 8), hidden=4, signed=signed)(torch.randn(2, 3, 16, 24))
    assert [m.shape[-2:] for m in maps] == [(8, 12), (2, 3)]
    assert any(bool(m.min() < 0) for m in maps) == signed


def test_learning_lowers_the_loss_and_ranks_what_is_odd():
    method = KDAD(tiny(), **{**small, "epochs": 20, "lr": 1e-2}).fit(pictures(12))
    assert method.signed_
    assert len(method.losses_) == 20
    assert method.losses_[-1] < 0.5 * method.losses_[0]
    scores = method.score(odd())
    assert scores.maps.shape == (2, 24, 40)
    assert float(scores.image_scores[1]) > 1.5 * float(scores.image_scores[0])


def test_maps_are_the_gradient_of_what_is_judged_and_that_alone():
    method = KDAD(tiny(), **{**small, "sigma": None, "opening": False, "judged": 1}).fit(pictures(4))
    picture, step = odd()[1:], 1e-3
    scores, moved = method.score(picture), picture.clone()
    moved[0, 1, 9, 20] += step
    change = float(method.score(moved).image_scores - scores.image_scores) / step
    only = torch.zeros_like(picture)
    only[0, 1, 9, 20] = 1
    asked = picture.clone().requires_grad_()
    far = disagreement(
        method.backbone(asked)[-1:], method.cloner_(method._normalised(asked))[-1:], method.lam
    )
    (gradient,) = torch.autograd.grad(far.sum(), asked)
    torch.testing.assert_close(scores.maps, gradient.abs().sum(1))
    torch.testing.assert_close(scores.image_scores, far.detach())
    assert change == pytest.approx(float((gradient * only).sum()), abs=0.02)


def test_the_source_is_never_changed_even_without_gradients_around():
    method = KDAD(tiny(), **small)
    before = weights(method.backbone)
    method.fit(pictures(6))
    with torch.no_grad():
        assert float(method.score(odd()).maps.max()) > 0
    assert torch.equal(weights(method.backbone), before)
    assert all(p.grad is None for p in method.backbone.parameters())


def test_the_same_seed_learns_the_same_and_pictures_stand_alone():
    runs = [KDAD(tiny(), **{**small, "epochs": 2}, seed=s).fit(pictures(6)) for s in (0, 0, 1)]
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    both = odd()
    alone = runs[0].score(both[1:])
    assert torch.equal(runs[0].score(both).maps[1:], alone.maps)
    assert torch.equal(runs[0].score(both).image_scores[1:], alone.image_scores)


def test_what_was_learnt_is_saved_and_loaded_to_the_bit(tmp_path):
    method = KDAD(tiny(), **{**small, "epochs": 2}).fit(pictures(6))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", tiny())
    assert torch.equal(again.score(odd()).maps, method.score(odd()).maps)
    assert again.cloner_.stages["2"][-2].__class__ is torch.nn.Conv2d  # the source is signed: no ReLU there


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        KDAD(tiny()).score(pictures(1))
    with pytest.raises(ValueError, match="judged is 0"):
        KDAD(tiny(), judged=0).fit(pictures(2))
    with pytest.raises(ValueError, match="lam is -1"):
        KDAD(tiny(), lam=-1.0).fit(pictures(2))
    with pytest.raises(ValueError, match="multiples of 8"):
        KDAD(tiny()).fit(pictures(2, size=(25, 40)))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        KDAD(tiny(), **{**small, "lr": 1e30}).fit(pictures(4))
