import pytest
import torch
from scipy.spatial.distance import cdist

from otad.transport import (
    Embedding,
    PairNetwork,
    Scaled,
    chamfer,
    conditional_transport,
    learn,
    navigators,
    pairwise,
)


def points(n, c=6, seed=0):
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("measure", "metric"), [("euclidean", "euclidean"), ("squared", "sqeuclidean")])
def test_pairwise_is_scipys(measure, metric):
    memory, queries = points(5), points(7, seed=1)
    expected = torch.from_numpy(cdist(memory, queries, metric)).float()
    torch.testing.assert_close(pairwise(memory, queries, measure), expected)
    assert float(pairwise(memory, memory, measure).diagonal().abs().max()) == 0


def test_scaled_goes_from_uniform_to_nearest():
    memory, queries = points(5), points(7, seed=1)
    cost = pairwise(memory, queries, "squared")
    none, all_ = (conditional_transport(cost, Scaled(beta)(memory, queries)) for beta in (0.0, 50.0))
    torch.testing.assert_close(none.queries, cost.mean(0))
    torch.testing.assert_close(all_.queries, cost.amin(0), rtol=1e-3, atol=1e-3)


def test_the_pair_network_looks_at_every_pair(monkeypatch):
    net = PairNetwork(6, (5,), seed=3)
    memory, queries = points(5), points(7, seed=1)
    found = net(memory, queries)
    for i in (0, 4):
        for j in (0, 6):
            torch.testing.assert_close(found[i, j], net.layers((memory[i] - queries[j]) ** 2)[0])
    monkeypatch.setattr(navigators, "BLOCK", 1)
    torch.testing.assert_close(net(memory, queries), found)


def test_weights_follow_the_seed_and_leave_the_global_one_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = PairNetwork(6, seed=1), PairNetwork(6, seed=1), PairNetwork(6, seed=2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.layers[0].weight, again.layers[0].weight)
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)


def test_an_embedding_starts_near_the_squared_distance():
    memory, queries = points(40), points(50, seed=1)
    ratio = Embedding(6, width=4000, scale=2.0)(memory, queries) / (4 * pairwise(memory, queries, "squared"))
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0.15, atol=0)


@pytest.mark.parametrize("pairs", [None, (8, 9)])
@pytest.mark.parametrize("kind", [PairNetwork, Embedding])
def test_learning_lowers_the_value_towards_chamfer(kind, pairs):
    memory, queries = 3 * points(20), 3 * points(30, seed=1)
    cost = pairwise(memory, queries)
    net = kind(6)
    with torch.no_grad():
        start = float(conditional_transport(cost, net(memory, queries)).value)
    losses = learn(net, memory, queries, steps=60, lr=3e-3, pairs=pairs)
    with torch.no_grad():
        end = float(conditional_transport(cost, net(memory, queries)).value)
    assert len(losses) == 60
    assert float(chamfer(cost)) < end < start
    if pairs is None:
        assert losses[0] == pytest.approx(start)


def test_the_same_seed_learns_the_same():
    memory, queries = points(20), points(30, seed=1)
    runs = []
    for seed in (0, 0, 1):
        net = PairNetwork(6, (8,))
        runs.append(learn(net, memory, queries, steps=5, pairs=(4, 4), seed=seed))
    assert runs[0] == runs[1] != runs[2]


def test_bad_settings_are_refused():
    memory = points(4)
    with pytest.raises(ValueError, match="lr 0"):
        learn(PairNetwork(6), memory, memory, lr=0.0)
    with pytest.raises(ValueError, match="widths of 1"):
        PairNetwork(6, ())
    with pytest.raises(ValueError, match=r"\(n,C\) and \(m,C\)"):
        pairwise(memory, points(4, 5))
    with pytest.raises(ValueError, match="measure is 'city'"):
        pairwise(memory, memory, "city")
    net = PairNetwork(6)
    torch.nn.init.constant_(net.layers[0].weight, torch.nan)
    with pytest.raises(ValueError, match="distance"):
        learn(net, memory, memory, steps=2)
