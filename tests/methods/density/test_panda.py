from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import nn

from otad.features.pretrained import Backbone
from otad.methods import PANDA, load, save
from otad.methods.density.panda import compactness, elasticity, fisher_information, pooled
from otad.methods.nearest import nearest

GOLDEN = Path(__file__).parents[2] / "golden" / "spade_panda.npz"


def network(seed=0):
    """A tiny network of two stages, so that tuning takes a second."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stages = {
            2: nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU()),
            4: nn.Sequential(nn.Conv2d(6, 9, 3, 2, 1), nn.BatchNorm2d(9), nn.ReLU()),
        }
        return Backbone("tiny", f"seed {seed}", stages, (2, 4), (0.5,) * 3, (0.3,) * 3)


def images(n, seed=0, size=(20, 28)):
    return 0.4 + 0.2 * torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(seed))


def odd(n=2, seed=1):
    query = images(n, seed)
    query[1, :, 6:14, 8:18] = 1.0
    return query


def test_loss_and_image_score_are_the_public_code_s():
    with np.load(GOLDEN) as file:
        g = {k: torch.from_numpy(np.asarray(file[k])) for k in file}
    centre = g["global_train"].mean(0)
    assert float(compactness(g["global_test"], centre)) == pytest.approx(
        float(g["panda_compactness"]), rel=1e-4
    )
    far, _ = nearest(g["global_test"], g["global_train"], 2)
    torch.testing.assert_close(
        far.square().sum(1), g["panda_image_score_sum_of_2_squared"], rtol=1e-4, atol=1e-5
    )


def test_the_loss_is_zero_only_where_all_features_are_the_centre():
    centre = torch.tensor([1.0, -2.0, 3.0])
    same = centre.expand(5, 3).clone()
    assert float(compactness(same, centre)) == 0
    same[4, 1] += 1
    assert float(compactness(same, centre)) == pytest.approx(1 / 15)


def test_image_scores_are_scikit_learn_s_on_the_tuned_features():
    train, query = images(9), odd()
    method = PANDA(network(), epochs=2, batch_size=4, k=3).fit(train)
    known = pooled(method.network_, train).numpy()
    far, _ = NearestNeighbors(n_neighbors=3).fit(known).kneighbors(pooled(method.network_, query).numpy())
    np.testing.assert_allclose(method.score(query).image_scores, (far**2).sum(1), rtol=1e-4, atol=1e-9)


def test_the_centre_is_that_of_the_untuned_network_and_the_backbone_is_never_changed():
    net, train = network(), images(8)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    method = PANDA(net, epochs=3, batch_size=4).fit(train)
    torch.testing.assert_close(method.centre_, pooled(net, train).mean(0))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(p.requires_grad for p in net.parameters())


def test_only_the_last_stages_are_tuned():
    net = network()
    method = PANDA(net, trained=1, epochs=2, batch_size=4, clip=None).fit(images(8))
    changed = {
        name
        for (name, a), b in zip(net.named_parameters(), method.network_.parameters(), strict=True)
        if not torch.equal(a, b)
    }
    assert changed == set(method.tuned(method.network_))
    assert all(name.startswith("stages.4.") for name in changed)
    for key in ("running_mean", "running_var"):
        assert torch.equal(
            net.state_dict()[f"stages.4.1.{key}"], method.network_.state_dict()[f"stages.4.1.{key}"]
        )


def spread(network, pictures):
    return float(pooled(network, pictures).var(dim=0).sum())


def test_it_collapses_if_nothing_stops_it():
    train = images(12)
    # Half of the pictures are darker, so that there is a spread to lose.
    train[::2] *= 0.5
    net = network()
    few, many = (PANDA(net, epochs=n, batch_size=12, clip=None, lr=5e-2).fit(train) for n in (2, 150))
    whole = spread(net, train)
    assert spread(many.network_, train) < 0.05 * whole < spread(few.network_, train)
    assert many.losses_[-1] < 0.05 * many.losses_[0]


def test_elastic_weights_stay_where_they_were():
    train = images(12)
    train[::2] *= 0.5
    net = network()
    free = PANDA(net, epochs=60, batch_size=12, clip=None)
    fisher = {name: torch.ones_like(weight) for name, weight in free.tuned(net).items()}
    held = PANDA(net, epochs=60, batch_size=12, clip=None, fisher=fisher, lam=10.0)
    moved = [
        float(elasticity(m.tuned(m.fit(train).network_), m.tuned(net), fisher).detach()) for m in (free, held)
    ]
    assert moved[1] < 0.1 * moved[0]
    assert spread(held.network_, train) > spread(free.network_, train)
    with pytest.raises(ValueError, match=r"stages.2.0.weight is missing: expected \(6, 3, 3, 3\)"):
        PANDA(net, epochs=1, fisher={}).fit(train)


def test_fisher_information_is_the_mean_squared_gradient():
    weight = torch.tensor([1.0, -2.0], requires_grad=True)
    found = fisher_information({"w": weight}, (weight @ x for x in torch.tensor([[1.0, 3.0], [2.0, -1.0]])))
    torch.testing.assert_close(found["w"], torch.tensor([2.5, 5.0]))
    with pytest.raises(ValueError, match="no losses"):
        fisher_information({"w": weight}, [])


def test_a_gradient_is_clipped():
    net, train = network(), images(8)
    settings = {"epochs": 1, "batch_size": 8, "lr": 10.0, "momentum": 0.0, "weight_decay": 0.0}
    steps = []
    for clip in (1e-5, None):
        method = PANDA(net, clip=clip, **settings)
        start, end = method.tuned(net), method.tuned(method.fit(train).network_)
        steps.append(float(torch.cat([(end[n] - start[n]).flatten() for n in start]).norm().detach()))
    assert steps[0] == pytest.approx(10 * 1e-5, rel=0.02)
    assert steps[1] > 2 * steps[0]


def test_what_is_odd_is_ranked_and_found():
    query = odd()
    scores = PANDA(network(), epochs=3, batch_size=4, sigma=None).fit(images(12)).score(query)
    assert scores.maps.shape == (2, 20, 28)
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])
    y, x = divmod(int(scores.maps[1].argmax()), 28)
    assert 4 <= y < 16
    assert 6 <= x < 20


def test_the_same_seed_learns_the_same_and_pictures_stand_alone():
    both = odd(3)
    runs = [PANDA(network(), epochs=2, batch_size=4, clip=None, seed=s).fit(images(10)) for s in (0, 0, 1)]
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    whole, one = runs[0].score(both), runs[0].score(both[1:2])
    assert torch.equal(whole.maps[1:2], one.maps)
    assert torch.equal(whole.image_scores[1:2], one.image_scores)


def test_it_is_saved_and_loaded_to_the_bit(tmp_path):
    net = network()
    fisher = {name: torch.ones_like(weight) for name, weight in PANDA(net).tuned(net).items()}
    method = PANDA(net, epochs=2, batch_size=4, fisher=fisher).fit(images(6))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", net)
    assert torch.equal(again.score(odd()).maps, method.score(odd()).maps)
    assert torch.equal(again.score(odd()).image_scores, method.score(odd()).image_scores)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        PANDA(network()).score(images(1))
    with pytest.raises(ValueError, match="k is 0"):
        PANDA(network(), k=0).fit(images(2))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        PANDA(network(), epochs=5, lr=1e30, clip=None).fit(images(4))
