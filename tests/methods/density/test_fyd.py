from pathlib import Path

import numpy as np
import pytest
import torch

from otad.methods import FYD, PaDiM, load, save
from otad.methods.density.fyd import Alignment, Rigid, scatter
from otad.methods.density.regad import negative_cosine

from .test_panda import network

GOLDEN = Path(__file__).parents[2] / "golden" / "few_shot.npz"
small = {"epochs": 2, "batch_size": 4, "lr": 1e-3, "dimension": None, "epsilon": 0.01}


def images(n, seed=0, most=0):
    """A square on grey, shifted by up to `most` pixels."""
    g = torch.Generator().manual_seed(seed)
    found = 0.3 + 0.05 * torch.rand(n, 3, 32, 40, generator=g)
    for image, (v, u) in zip(
        found, torch.randint(-most, most + 1, (n, 2), generator=g).tolist(), strict=True
    ):
        image[:, 10 + v : 22 + v, 13 + u : 27 + u] += 0.4
    return found


def test_the_fine_loss_is_the_golden_one():
    with np.load(GOLDEN) as file:
        p, z, expected = (torch.from_numpy(np.asarray(file[k])) for k in ("regad_p", "regad_z", "regad_loss"))
    assert float(negative_cosine(p, z)) == pytest.approx(float(expected), rel=1e-4)


def test_transformers_move_nothing_before_training():
    x = torch.rand(2, 5, 9, 13)
    moved, move = Rigid(5)(x)
    torch.testing.assert_close(moved, x, rtol=0, atol=1e-5)
    assert torch.equal(move, torch.eye(2, 3).expand(2, 2, 3))


def test_a_rigid_transform_keeps_distances():
    rigid = Rigid(1)
    with torch.no_grad():
        rigid.look[-1].bias[:] = torch.tensor([0.6, 0.1, -0.2])
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    disc = (((x - 30) ** 2 + (y - 20) ** 2) < 64).float()[None, None]
    moved, _ = rigid(disc)
    assert float(moved.detach().sum()) == pytest.approx(float(disc.sum()), rel=0.03)
    # Second moments about the middle: a scaled or sheared disc has others.
    for image in (disc, moved.detach()):
        weight = image[0, 0] / image.sum()
        spread = [float((weight * (a - (weight * a).sum()) ** 2).sum()) for a in (x, y)]
        assert spread == pytest.approx([15.4, 15.4], rel=0.04)


def test_without_training_it_is_padim():
    net, train, query = network(), images(8), images(2, seed=1)
    query[1, :, 4:9, 4:9] = 1.0
    expected = PaDiM(net, None, 0.01).fit(train).score(query)
    found = FYD(net, epochs=0, dimension=None).fit(train).score(query)
    torch.testing.assert_close(found.maps, expected.maps, rtol=1e-3, atol=1e-3)


def test_what_is_laid_over_each_other_scatters_less():
    assert float(scatter(images(1).expand(5, -1, -1, -1))) < 1e-9
    train = images(16, most=3)
    method = FYD(network(), **{**small, "epochs": 50}, frozen=True).fit(train)
    with torch.no_grad():
        moved, features, _ = method.network_(train)
        before = method.build_network().eval()(train)
    assert float(scatter(moved)) < 0.2 * float(scatter(before[0]))
    assert float(scatter(features)) < 0.2 * float(scatter(before[1]))
    assert method.losses_[-1] < method.losses_[0] - 0.1


def test_the_map_is_where_the_picture_has_the_place():
    net, train = network(), images(8)
    method = FYD(net, epochs=0, dimension=None, sigma=None).fit(train)
    with torch.no_grad():
        method.network_.picture.look[-1].bias[:] = torch.tensor([0.0, 0.3, -0.4])
    method.mean_ = None
    gaussians = method._gaussians().fit(train)
    method.mean_, method.factor_ = gaussians.mean_, gaussians.factor_
    query = images(1, seed=1)
    query[0, :, 14:18, 18:22] = 0.1
    y, x = divmod(int(method.score(query).maps[0].argmax()), 40)
    assert 12 <= y < 20
    assert 16 <= x < 24


def test_what_is_odd_is_ranked_and_found():
    query = images(2, seed=1)
    query[1, :, 12:18, 16:22] = 0.0
    scores = FYD(network(), **small, sigma=1.0).fit(images(12)).score(query)
    assert scores.maps.shape == (2, 32, 40)
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])
    y, x = divmod(int(scores.maps[1].argmax()), 40)
    assert 9 <= y < 21
    assert 13 <= x < 25


def test_a_frozen_backbone_stays_and_another_learns():
    net = network()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    for frozen in (True, False):
        method = FYD(net, frozen=frozen, **small).fit(images(6))
        assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
        after = method.network_.backbone.state_dict()
        assert all(torch.equal(after[k], before[k]) for k in before) == frozen


def test_the_same_seed_learns_the_same_and_pictures_stand_alone():
    both = images(3, seed=2, most=2)
    runs = [FYD(network(), **small, seed=s).fit(images(6)) for s in (0, 0, 1)]
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    assert torch.equal(runs[0].score(both).maps[1:2], runs[0].score(both[1:2]).maps)


def test_it_is_saved_and_loaded_to_the_bit(tmp_path):
    net = network()
    method = FYD(net, **small).fit(images(5))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", net)
    expected, found = (m.score(images(2, seed=1)) for m in (method, again))
    assert torch.equal(found.maps, expected.maps)
    assert torch.equal(found.image_scores, expected.image_scores)


def test_the_head_sees_all_maps():
    net = network()
    moved, features, moves = Alignment(net, frozen=False, seed=0).eval()(images(2))
    assert moved.shape == (2, 3, 32, 40)
    assert features.shape == (2, sum(net.channels), 16, 20)
    assert [m.shape for m in moves] == [(2, 2, 3)] * 2


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        FYD(network()).score(images(1))
    with pytest.raises(ValueError, match="1 images"):
        FYD(network()).fit(images(1))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        FYD(network(), epochs=5, lr=1e30).fit(images(4))
