import numpy as np
import pytest
import torch

from otad.features.residual import resnet18
from otad.methods import CutPaste, load, save
from otad.methods.pretext.cutpaste import Judge
from otad.methods.pretext.pieces import cut_paste, cut_paste_scar, shaken

from ..density.test_panda import network

small = {"hidden": 16, "epochs": 3, "steps": 8, "batch_size": 6, "lr": 0.02}


def rng(seed=0):
    return np.random.default_rng(seed)


def images(n, seed=0, size=(32, 40)):
    """Stripes with noise, so that a moved piece shows."""
    stripes = 0.5 + 0.3 * torch.sin(torch.arange(size[1]) * 0.8)
    noise = torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(seed))
    return (stripes + 0.05 * noise).clamp(0, 1)


@pytest.mark.parametrize("make", [cut_paste, cut_paste_scar])
def test_the_mask_is_exactly_the_set_of_changed_pixels(make):
    picture = torch.rand(3, 60, 70, generator=torch.Generator().manual_seed(0))
    before, draw = picture.clone(), rng()
    for _ in range(40):
        pasted, mask = make(picture, draw)
        assert torch.equal(mask, (pasted != picture).any(0))
        assert mask.any()
        assert 0 <= float(pasted.min()) <= float(pasted.max()) <= 1
    assert torch.equal(picture, before)


def test_a_patch_is_a_rectangle_of_two_to_fifteen_percent():
    picture, draw, found = torch.rand(3, 100, 120, generator=torch.Generator().manual_seed(0)), rng(), []
    for _ in range(100):
        _, mask = cut_paste(picture, draw)
        rows, columns = mask.any(1).sum(), mask.any(0).sum()
        assert int(mask.sum()) > 0.95 * int(rows * columns)  # a pixel may meet its own colour
        found.append((float(rows * columns) / 12000, float(rows / columns)))
    share, ratio = np.array(found).T
    assert 0.018 <= share.min() < 0.04
    assert 0.13 < share.max() <= 0.155
    assert 0.28 <= ratio.min() < 0.5
    assert 2 < ratio.max() <= 3.5


def test_a_scar_is_a_turned_strip():
    picture, draw = torch.rand(3, 256, 256, generator=torch.Generator().manual_seed(0)), rng()
    areas, turned = [], 0
    for _ in range(60):
        _, mask = cut_paste_scar(picture, draw)
        areas.append(int(mask.sum()))
        rows, columns = int(mask.any(1).sum()), int(mask.any(0).sum())
        turned += areas[-1] < 0.7 * rows * columns
    assert max(areas) <= 17 * 26
    assert np.median(areas) > 60
    assert turned > 20


def test_a_straight_scar_without_jitter_is_the_strip_itself():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    picture = torch.stack([y / 64, x / 64, torch.zeros(64, 64)])
    for seed in range(10):
        pasted, mask = cut_paste_scar(picture, rng(seed), (8, 8), (20, 20), 0.0, 0.0, scale=1.0)
        ys, xs = mask.nonzero().T
        moved = (pasted - picture)[:2, mask] * 64
        if len(ys) == 160:  # neither cut off by the border nor on its own place
            assert moved.std(1).max() < 1e-3
            assert (int(ys.max() - ys.min()), int(xs.max() - xs.min())) == (7, 19)


def test_no_jitter_changes_no_colour_and_a_flat_picture_not_at_all():
    piece = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(shaken(piece, 0.0, rng()), piece, rtol=0, atol=1e-5)
    assert float((shaken(piece, 0.1, rng()) - piece).abs().max()) > 0.01
    grey = torch.full((3, 30, 30), 0.5)
    assert not cut_paste(grey, rng(), jitter=0.0)[1].any()


def test_the_same_seed_makes_the_same_defect():
    picture = torch.rand(3, 30, 40, generator=torch.Generator().manual_seed(0))
    first, second, other = (cut_paste(picture, rng(s))[0] for s in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def odd(n=2, seed=1):
    query = images(n, seed)
    query[1, :, 8:20, 10:22] = query[1, :, 8:20, 10:22].transpose(1, 2)
    return query


@pytest.mark.parametrize("frozen", [False, True])
def test_learning_lowers_the_loss_and_finds_what_is_odd(frozen):
    settings = {**small, "epochs": 6, "patch_size": 16, "stride": 4, "frozen": frozen}
    method = CutPaste(network(), **settings).fit(images(12))
    assert len(method.losses_) == len(method.patch_losses_) == 6
    assert method.losses_[-1] < method.losses_[0]
    assert method.patch_losses_[-1] < method.patch_losses_[0]
    scores = method.score(odd())
    assert scores.maps.shape == (2, 32, 40)
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])
    y, x = divmod(int(scores.maps[1].argmax()), 40)
    assert 4 <= y < 24
    assert 6 <= x < 26


def test_a_frozen_backbone_stays_and_another_learns():
    net = network()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    for frozen in (True, False):
        method = CutPaste(net, frozen=frozen, patch_size=None, **small).fit(images(6))
        assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
        after = method.network_.backbone.state_dict()
        assert all(torch.equal(after[k], before[k]) for k in before) == frozen


def test_without_a_second_network_every_pixel_has_the_picture_s_score():
    scores = CutPaste(network(), patch_size=None, variant="scar", **small).fit(images(6)).score(odd())
    assert torch.equal(scores.maps[1].unique(), scores.image_scores[1:2])


def test_the_same_seed_learns_the_same_and_pictures_stand_alone():
    both, settings = odd(3), {**small, "epochs": 1, "patch_size": 16, "stride": 8}
    runs = [CutPaste(network(), variant="patch", seed=s, **settings).fit(images(6)) for s in (0, 0, 1)]
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    whole, one = runs[0].score(both), runs[0].score(both[1:2])
    assert torch.equal(whole.maps[1:2], one.maps)
    assert torch.equal(whole.image_scores[1:2], one.image_scores)


def test_it_is_saved_and_loaded_to_the_bit(tmp_path):
    net = network()
    method = CutPaste(net, patch_size=16, stride=8, **{**small, "epochs": 1}).fit(images(6))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", net)
    assert torch.equal(again.score(odd()).maps, method.score(odd()).maps)
    assert torch.equal(again.score(odd()).image_scores, method.score(odd()).image_scores)


def test_the_paper_s_network_takes_pictures_and_crops():
    judge = Judge(resnet18((32,), weights=None), 512, 3, frozen=False, seed=0).eval()
    with torch.no_grad():
        assert judge.embed(torch.rand(1, 3, 64, 64)).shape == (1, 512)
        assert judge.classify(judge.head(judge.pooled(torch.rand(1, 3, 64, 64)))).shape == (1, 3)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        CutPaste(network()).score(images(1))
    with pytest.raises(ValueError, match="steps is 0"):
        CutPaste(network(), steps=0).fit(images(2))
    with pytest.raises(ValueError, match=r"area is \(0.3, 0.1\)"):
        CutPaste(network(), area=(0.3, 0.1)).fit(images(2))
    with pytest.raises(ValueError, match="side is 64"):
        CutPaste(network(), **{**small, "epochs": 1}).fit(images(2))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        CutPaste(network(), **{**small, "lr": 1e30}).fit(images(4))
    with pytest.raises(ValueError, match="one picture"):
        cut_paste(images(1), rng())
