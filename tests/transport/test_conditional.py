import math

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otad.transport import chamfer, conditional_transport, nearest_plan

# Memory (0, 2), queries (0, 1, 3), worked out by hand.
COST = torch.tensor([[0.0, 1, 9], [4, 1, 1]], dtype=torch.float64)
DISTANCE = math.log(2) * torch.tensor([[0.0, 1, 2], [1, 1, 0]], dtype=torch.float64)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("rho", "value"), [(1.0, 74 / 45), (0.0, 93 / 56), (0.5, (74 / 45 + 93 / 56) / 2)])
def test_by_hand(rho, value):
    plan = conditional_transport(COST, DISTANCE, rho)
    assert float(plan.value) == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(plan.queries, torch.tensor([4 / 3, 1, 13 / 5], dtype=torch.float64))


def test_without_a_distance_the_cost_is_the_mean():
    assert float(conditional_transport(COST, torch.zeros(2, 3)).value) == pytest.approx(8 / 3)


def test_against_a_loop():
    cost, d, rho = rand(13, 17), 5 * rand(13, 17, seed=1), 0.3
    plan = conditional_transport(cost, d, rho)
    forward, backward = np.zeros((13, 17)), np.zeros((13, 17))
    for i in range(13):
        for j in range(17):
            forward[i, j] = math.exp(-d[i, j]) / sum(math.exp(-d[r, j]) for r in range(13))
            backward[i, j] = math.exp(-d[i, j]) / sum(math.exp(-d[i, r]) for r in range(17))
    np.testing.assert_allclose(plan.forward, forward, rtol=1e-12)
    np.testing.assert_allclose(plan.backward, backward, rtol=1e-12)
    c = cost.numpy()
    value = rho / 17 * (forward * c).sum() + (1 - rho) / 13 * (backward * c).sum()
    assert float(plan.value) == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(plan.forward.sum(0), torch.ones(17, dtype=torch.float64))
    torch.testing.assert_close(plan.backward.sum(1), torch.ones(13, dtype=torch.float64))


def test_the_gradient_is_the_formula_and_the_difference_quotient():
    cost, rho = rand(5, 7), 0.3
    d = (3 * rand(5, 7, seed=1)).requires_grad_()
    plan = conditional_transport(cost, d, rho)
    plan.value.backward()
    by_formula = -(rho / 7) * plan.forward * (cost - plan.queries) - ((1 - rho) / 5) * plan.backward * (
        cost - plan.entries[:, None]
    )
    torch.testing.assert_close(d.grad, by_formula.detach(), rtol=1e-12, atol=1e-17)
    assert torch.autograd.gradcheck(
        lambda x, y: conditional_transport(x, y, rho).value, (cost.requires_grad_(), d)
    )


def test_the_limit_is_the_distance_of_chamfer_and_never_reached():
    values = [float(conditional_transport(COST, beta * COST).value) for beta in (0, 0.1, 0.5, 1, 2, 8, 30)]
    assert values == sorted(values, reverse=True)
    assert min(values) > float(chamfer(COST)) == pytest.approx(7 / 12)
    assert values[-1] == pytest.approx(7 / 12, rel=1e-9)


def test_free_distances_walk_towards_chamfer():
    cost = rand(9, 11)
    d = torch.zeros(9, 11, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([d], lr=0.3)
    values = []
    for _ in range(400):
        value = conditional_transport(cost, d).value
        values.append(float(value.detach()))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    limit = float(chamfer(cost))
    assert limit < values[-1] < limit + 0.01 * (values[0] - limit)


def test_the_nearest_plan_is_that_limit():
    plan = nearest_plan(COST, 0.5)
    assert float(plan.value) == pytest.approx(7 / 12)
    assert plan.forward.tolist() == [
        [1, 0.5, 0],
        [0, 0.5, 1],
    ]  # the middle query is as far from both: they share it
    torch.testing.assert_close(plan.queries, COST.amin(0))


@given(st.integers(0, 2**31), st.floats(0, 1), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_order_does_not_matter_and_copies_of_everything_change_nothing(seed, rho, n, m):
    cost, d = rand(n, m, seed=seed), rand(n, m, seed=seed + 1)
    value = float(conditional_transport(cost, d, rho).value)
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (torch.randperm(k, generator=generator) for k in (n, m))
    moved = conditional_transport(cost[rows][:, columns], d[rows][:, columns], rho)
    assert float(moved.value) == pytest.approx(value, rel=1e-9)
    twice = conditional_transport(cost.repeat(2, 3), d.repeat(2, 3), rho)
    assert float(twice.value) == pytest.approx(value, rel=1e-9)
    low, high = (float(conditional_transport(cost, d, end).value) for end in (0.0, 1.0))
    assert value == pytest.approx((1 - rho) * low + rho * high, rel=1e-9)
    assert value >= float(chamfer(cost, rho)) - 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_each_side_of_chamfer_is_at_most_the_exact_transport(seed):
    cost = rand(8, 13, seed=seed)
    exact = ot.emd2([], [], cost.numpy())
    assert float(chamfer(cost, 1.0)) <= exact + 1e-12
    assert float(chamfer(cost, 0.0)) <= exact + 1e-12


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="rho is 1.5"):
        conditional_transport(COST, DISTANCE, 1.5)
    with pytest.raises(ValueError, match="rho is nan"):
        chamfer(COST, float("nan"))
    with pytest.raises(ValueError, match=r"cost has shape \(2, 3\), distance \(3, 2\)"):
        conditional_transport(COST, DISTANCE.T)
    with pytest.raises(ValueError, match="NaN"):
        conditional_transport(COST * torch.nan, DISTANCE)
    with pytest.raises(ValueError, match="infinite"):
        nearest_plan(COST + torch.inf)
