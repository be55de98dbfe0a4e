"""Defects made on purpose, and what is asked of them."""

import pytest
import torch

from otad.features.pretrained import efficientnet_lite0
from otad.studies import made


@pytest.fixture(scope="module")
def pictures():
    generator = torch.Generator().manual_seed(24)
    return torch.rand(3, 3, 64, 72, generator=generator)


@pytest.mark.parametrize("maker", made.MAKERS)
def test_what_a_maker_leaves_alone_is_unchanged(pictures, maker):
    found = made.make(maker, pictures, pictures, pictures.flip(0), seed=1)
    assert found.changed.flatten(1).any(1).all()
    alike = ~found.changed[:, None].expand_as(pictures)
    assert torch.equal(found.images[alike], pictures[alike])
    if maker != "NSA":
        assert torch.equal(found.labels > 0, found.changed)
    again = made.make(maker, pictures, pictures, pictures.flip(0), seed=1)
    assert torch.equal(again.images, found.images)


def test_an_unknown_maker_is_named(pictures):
    with pytest.raises(ValueError, match="maker is 'CutMix': expected one of CutPaste, patch"):
        made.make("CutMix", pictures, pictures, pictures, 0)


def test_a_seam_by_hand():
    before = torch.zeros(1, 3, 6, 7)
    before[..., 3:] = 0.1  # a step of 0.1 down the middle
    after = before.clone()
    after[..., 3:] = 0.4
    where = torch.zeros(1, 6, 7, dtype=torch.bool)
    where[..., 3:] = True
    found = made.measured(before, made.Made(after, where, where.float()))
    assert found["seam"] == pytest.approx(4, rel=1e-5)
    assert found["change"] == pytest.approx(255 * 0.3, rel=1e-5)
    assert found["share"] == pytest.approx(100 * 4 / 7, rel=1e-5)


def test_the_oddest_place_lies_in_the_mask():
    maps, normal = torch.zeros(1, 2, 4, 5), torch.zeros(3, 2)
    maps[0, :, 1, 2], maps[0, :, 3, 4] = 3.0, 9.0
    mask = torch.zeros(1, 8, 10, dtype=torch.bool)
    mask[0, 2:4, 4:6] = True
    assert made.oddest(maps, normal).tolist() == [[9.0, 9.0]]
    assert made.oddest(maps, normal, mask).tolist() == [[3.0, 3.0]]


def test_likeness_is_one_where_made_and_normal_are_as_far():
    found, normal = torch.tensor([[0.0, 2.0], [0.0, 4.0]]), torch.zeros(1, 2)
    assert made.likeness(found, torch.tensor([[0.0, 2.0]]), normal) == pytest.approx(0.0)
    assert made.likeness(found[1:], torch.tensor([[0.0, 8.0]]), normal) == pytest.approx(1.0)


def test_a_decoder_learns_what_it_is_shown():
    torch.manual_seed(0)
    good = torch.full((6, 3, 64, 64), 0.5)
    bad = good.clone()
    bad[:, 0, 8:40, 8:40] = 1.0
    labels = torch.zeros(6, 64, 64)
    labels[:, 8:40, 8:40] = 1
    net = efficientnet_lite0(stages=(8, 16))
    maps = made.looked(net, good), made.looked(net, bad)
    painter, losses = made.learn(net, *maps, labels, steps=25, seed=0)
    assert losses[-1] < 0.5 * losses[0]
    scores = [float(made.painted(painter, m, (64, 64)).amax()) for m in maps]
    assert scores[0] < 0.3 < scores[1]
