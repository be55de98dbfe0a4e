import pytest
import torch

from otad.features.residual import resnet18
from otad.methods import NSA, load, save
from otad.methods.pretext.nsa import Painter

from ..density.test_panda import network
from .test_cutpaste import images as striped

small = {"width": 8, "epochs": 2, "batch_size": 6, "lr": 1e-2, "bounds": ((0.2, 0.5), (0.2, 0.5))}


def images(n, seed=0):
    return striped(n, seed, (40, 48))


def odd(n=2, seed=1):
    query = images(n, seed)
    query[1, :, 10:26, 14:32] = query[1, :, 10:26, 18:34].mean()
    return query


@pytest.mark.parametrize("frozen", [False, True])
def test_learning_lowers_the_loss_and_finds_what_is_odd(frozen):
    settings = {**small, "epochs": 14, "x0": 2.0, "frozen": frozen}
    method = NSA(network(), **settings).fit(images(12))
    assert len(method.losses_) == 14
    assert sum(method.losses_[-3:]) < 0.8 * sum(method.losses_[:3])
    scores = method.score(odd())
    assert scores.maps.shape == (2, 40, 48)
    assert 0 <= float(scores.maps.min()) <= float(scores.maps.max()) <= 1
    torch.testing.assert_close(scores.image_scores, scores.maps.mean((1, 2)))
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])
    inside = torch.zeros(40, 48, dtype=torch.bool)
    inside[8:28, 12:34] = True
    assert float(scores.maps[1][inside].mean()) > 2 * float(scores.maps[1][~inside].mean())


def test_a_frozen_backbone_stays_and_another_learns():
    net = network()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    for frozen in (True, False):
        method = NSA(net, frozen=frozen, **small).fit(images(4))
        assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
        after = method.network_.backbone.state_dict()
        assert all(torch.equal(after[k], before[k]) for k in before) == frozen


def test_the_same_seed_learns_the_same_and_pictures_stand_alone():
    both = odd(3)
    runs = [NSA(network(), seed=s, **small).fit(images(5)) for s in (0, 0, 1)]
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    whole, one = runs[0].score(both), runs[0].score(both[1:2])
    assert torch.equal(whole.maps[1:2], one.maps)
    assert torch.equal(whole.image_scores[1:2], one.image_scores)


def test_it_is_saved_and_loaded_to_the_bit(tmp_path):
    net = network()
    method = NSA(net, background=(1.0, 0.01), **small).fit(images(4))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", net)
    assert torch.equal(again.score(odd()).maps, method.score(odd()).maps)


def test_the_paper_s_network_paints_at_the_picture_s_size():
    painter = Painter(resnet18((4, 8, 16, 32), weights=None), 64, frozen=False, seed=0).eval()
    with torch.no_grad():
        assert painter(torch.rand(1, 3, 64, 96)).shape == (1, 64, 96)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        NSA(network()).score(images(1))
    with pytest.raises(ValueError, match="views is 0"):
        NSA(network(), views=0).fit(images(2))
    with pytest.raises(ValueError, match="bounds are"):
        NSA(network(), bounds=((0.5, 0.2), (0.1, 0.2))).fit(images(2))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        NSA(network(), **{**small, "epochs": 4, "lr": 1e30}).fit(images(4))
