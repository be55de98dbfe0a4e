import pytest
import torch
import torch.nn.functional as F

from otad.methods import nearest as module
from otad.methods.nearest import nearest, squared_distances


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("k", [1, 4, 17])
@pytest.mark.parametrize("block", [1, 50, 2**24])
def test_nearest_is_brute_force(k, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    queries, memory = rand(13, 6), rand(17, 6, seed=1)
    distances, indices = nearest(queries, memory, k)
    expected = torch.cdist(queries, memory, compute_mode="donot_use_mm_for_euclid_dist").sort(dim=1)
    torch.testing.assert_close(distances, expected.values[:, :k])
    assert torch.equal(indices, expected.indices[:, :k])


def test_nearest_says_which_types_do_not_mix():
    for queries, memory in (
        (rand(7, 4), rand(9, 4, dtype=torch.float32)),
        (rand(7, 4).to(torch.int64), rand(9, 4).to(torch.int64)),
    ):
        with pytest.raises(
            ValueError, match=rf"queries are {queries.dtype} on cpu, memory {memory.dtype} on cpu"
        ):
            nearest(queries, memory)


def test_what_is_in_the_memory_is_at_distance_zero_exactly():
    memory = rand(40, 8, dtype=torch.float32) + 1000
    distances, indices = nearest(memory[5:20], memory)
    assert torch.equal(distances, torch.zeros(15, 1))
    assert torch.equal(memory[indices[:, 0]], memory[5:20])


def test_distances_carry_gradients():
    queries = rand(5, 3).requires_grad_()
    memory = torch.cat([queries.detach()[:1], rand(6, 3, seed=1)])  # one distance is 0
    distances, indices = nearest(queries, memory)
    distances.sum().backward()
    assert bool(queries.grad.isfinite().all())
    direction = F.normalize(queries.detach()[1:] - memory[indices[1:, 0]], dim=1)
    torch.testing.assert_close(queries.grad[1:], direction)


def test_squared_distances():
    a, b = rand(5, 3) + 100, rand(7, 3, seed=1) + 100
    torch.testing.assert_close(squared_distances(a, b), (a[:, None] - b).square().sum(2))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"\(M,C\)"):
        nearest(rand(3, 2), rand(3, 4))
    with pytest.raises(ValueError, match="k is 4"):
        nearest(rand(3, 2), rand(3, 2), 4)
