"""Transport against every permutation, linear programs, POT and SciPy; unequal sizes throughout."""

from itertools import permutations

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from otad import transport
from otad.transport import hard_plan, matching_errors, sinkhorn, wasserstein_1d


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def cost_matrix(n=13, m=17, seed=0, dtype=torch.float64):
    x, y = normal(n, 3, seed=seed), normal(m, 3, seed=seed + 1)
    return torch.cdist(x, y).to(dtype)


# One dimension


def test_sorting_beats_every_permutation():
    x, y = normal(6, seed=1), normal(6, seed=2)
    costs = [(x - y[list(p)]).abs().mean() for p in permutations(range(6))]
    assert float(wasserstein_1d(x, y)) == pytest.approx(float(min(costs)), abs=1e-15)


@pytest.mark.parametrize(("n", "m"), [(13, 17), (17, 13), (12, 18), (9, 9), (1, 5), (5, 1)])
def test_w1_equals_scipy_pot_and_the_linear_program(n, m):
    x, y = normal(4, n, seed=3), normal(4, m, seed=4)
    values = wasserstein_1d(x, y)
    assert values.shape == (4,)
    for value, u, v in zip(values, x.numpy(), y.numpy(), strict=True):
        assert float(value) == pytest.approx(wasserstein_distance(u, v), abs=1e-14)
        assert float(value) == pytest.approx(float(ot.wasserstein_1d(u, v, p=1)), abs=1e-14)
        assert float(value) == pytest.approx(ot.emd2_1d(u, v, metric="euclidean"), abs=1e-14)


def test_errors_go_back_to_their_values():
    values, reference = torch.tensor([5.0, 1.0, 3.0]), torch.tensor([1.0, 2.0, 9.0])
    assert matching_errors(values, reference).tolist() == [4, 0, 1]
    # Six ranks against three: each reference value serves two ranks.
    values = torch.tensor([5.0, 1.0, 3.0, 0.0, 6.0, 4.0])
    assert matching_errors(values, reference).tolist() == [4, 0, 1, 1, 3, 2]
    # Two ranks against three: the middle reference value is halved.
    errors = matching_errors(torch.tensor([4.0, 0.0], dtype=torch.float64), reference)
    assert errors.tolist() == pytest.approx([(2 / 2 + 5) / 1.5, (1 + 2 / 2) / 1.5])


def test_tied_values_share_their_error_or_keep_their_order():
    values, reference = torch.tensor([2.0, 7.0, 2.0, 2.0]), torch.tensor([0.0, 1.0, 5.0, 7.0])
    assert matching_errors(values, reference, ties="index").tolist() == [2, 0, 1, 3]
    assert matching_errors(values, reference, ties="mean").tolist() == [2, 0, 2, 2]


def test_index_order_is_the_stable_order_of_numpy():
    rng = np.random.default_rng(0)
    values, reference = rng.integers(0, 3, 5000) / 2, np.sort(rng.random(5000))
    expected = np.empty(5000)
    order = np.argsort(values, kind="stable")
    expected[order] = np.abs(values[order] - reference)
    np.testing.assert_array_equal(matching_errors(values, reference, ties="index"), expected)


@pytest.mark.parametrize("ties", ["mean", "index"])
@pytest.mark.parametrize(("n", "m"), [(12, 12), (13, 17), (18, 12)])
def test_the_mean_error_is_w1_under_both_conventions(n, m, ties):
    values = (2 * normal(3, 5, n, seed=5)).round()  # many ties
    reference = normal(5, m, seed=6).sort(-1).values
    errors = matching_errors(values, reference, ties)
    assert errors.shape == (3, 5, n)
    expected = [[wasserstein_distance(v, r) for v, r in zip(vs, reference, strict=True)] for vs in values]
    np.testing.assert_allclose(errors.mean(-1), expected, atol=1e-14)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 12), m=st.integers(1, 12), levels=st.integers(1, 8), seed=st.integers(0, 999))
def test_shared_ties_follow_the_values_not_their_order(n, m, levels, seed):
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.integers(0, levels, n) / levels)
    reference = torch.from_numpy(np.sort(rng.random(m)))
    order = torch.from_numpy(rng.permutation(n))
    errors = matching_errors(values, reference)
    torch.testing.assert_close(matching_errors(values[order], reference), errors[order], rtol=0, atol=1e-14)
    # Distances: symmetric, shifted together unchanged, scaled with the values.
    w1 = wasserstein_1d(values, reference)
    torch.testing.assert_close(wasserstein_1d(reference, values), w1, rtol=0, atol=1e-13)
    torch.testing.assert_close(wasserstein_1d(3 * values - 1, 3 * reference - 1), 3 * w1, rtol=0, atol=1e-13)


def test_one_set_of_values_meets_many_references():
    values, references = normal(9, seed=7), normal(4, 9, seed=8).sort(-1).values
    together = matching_errors(values, references)
    assert together.shape == (4, 9)
    for errors, reference in zip(together, references, strict=True):
        assert torch.equal(errors, matching_errors(values, reference))


def test_types_follow_the_input():
    reference = torch.arange(3.0)
    assert matching_errors(torch.tensor([3.0, 1.0, 2.0]), reference).dtype == torch.float32
    assert matching_errors(np.array([3, 1, 2])[::-1], reference).dtype == torch.float64
    assert wasserstein_1d(np.ones(3, np.float32), np.zeros(2, np.float32)).dtype == torch.float32


@pytest.mark.parametrize(
    ("values", "reference", "message"),
    [
        ([1.0, np.nan], [1.0, 2.0], "values has 1 NaN of 2"),
        ([1.0, 2.0], [np.nan, 2.0], "reference has 1 NaN"),
        ([1.0, 2.0], [2.0, 1.0], "not sorted"),
        ([], [1.0], r"values has shape \(0,\)"),
        (np.zeros((3, 2)), np.zeros((4, 2)), "do not broadcast"),
    ],
)
def test_bad_samples_are_refused(values, reference, message):
    with pytest.raises(ValueError, match=message):
        matching_errors(np.array(values), np.array(reference))


def test_unknown_tie_rule_is_refused():
    with pytest.raises(ValueError, match="first"):
        matching_errors(torch.zeros(2), torch.zeros(2), ties="first")


# Sinkhorn


def log_domain(cost, reg, n_iter, a=None, b=None):
    """The same iterations on logarithms in float64, columns then rows: slow, plain, cannot overflow."""
    scaled = -torch.as_tensor(cost).double() / reg
    n, m = scaled.shape
    log_a = torch.as_tensor(np.full(n, 1 / n) if a is None else a).double().log()
    log_b = torch.as_tensor(np.full(m, 1 / m) if b is None else b).double().log()
    u = torch.zeros(n, dtype=torch.float64)
    for _ in range(n_iter):
        v = log_b - torch.logsumexp(scaled + u[:, None], 0)
        u = log_a - torch.logsumexp(scaled + v, 1)
    return torch.exp(scaled + u[:, None] + v)


def variation(plan, other):
    """Total variation distance, from 0 to 1."""
    return float((plan.double() - other).abs().sum() / 2)


class Rows:
    """A cost that computes its rows when asked; it counts how often, and knows no other trick."""

    def __init__(self, matrix):
        self.matrix, self.asked = matrix, 0
        self.shape, self.dtype, self.device = matrix.shape, matrix.dtype, matrix.device

    def __getitem__(self, rows):
        self.asked += rows.stop - rows.start
        return self.matrix[rows].clone()


@pytest.mark.parametrize("reg", [1.0, 0.05])
@pytest.mark.parametrize("uniform", [True, False])
def test_sinkhorn_equals_pot(reg, uniform):
    cost = cost_matrix()
    rng = np.random.default_rng(0)
    a, b = (None, None) if uniform else (rng.dirichlet(np.full(13, 3.0)), rng.dirichlet(np.full(17, 3.0)))
    ours = sinkhorn(cost, reg, a, b, max_iter=20_000, tol=1e-12)
    args = ([], []) if uniform else (a, b)
    pot = ot.sinkhorn(*args, cost.numpy(), reg, method="sinkhorn_log", numItermax=20_000, stopThr=1e-13)
    np.testing.assert_allclose(ours.plan, pot, atol=1e-12)
    assert float(ours.value) == pytest.approx((pot * cost.numpy()).sum(), abs=1e-11)
    assert ours.converged
    assert ours.marginal_error <= 1e-12
    np.testing.assert_allclose(ours.plan.sum(1), 1 / 13 if uniform else a, atol=1e-12)
    np.testing.assert_allclose(ours.plan.sum(0), 1 / 17 if uniform else b, atol=1e-12)


@pytest.mark.parametrize("n_iter", [1, 2, 7])
def test_every_iterate_is_pots(n_iter):
    cost = cost_matrix(seed=3)
    ours = sinkhorn(cost, 0.1, max_iter=n_iter, tol=0)
    pot = ot.sinkhorn(
        [], [], cost.numpy(), 0.1, method="sinkhorn_log", numItermax=n_iter, stopThr=0, warn=False
    )
    np.testing.assert_allclose(ours.plan, pot, atol=1e-14)
    assert ours.n_iter == n_iter
    assert not ours.converged
    error = np.abs(pot.sum(1) - 1 / 13).sum() + np.abs(pot.sum(0) - 1 / 17).sum()
    assert ours.marginal_error == pytest.approx(error, abs=1e-13)


def test_small_reg_tends_to_the_exact_optimum():
    cost = cost_matrix(seed=5)
    exact = ot.emd2([], [], cost.numpy())
    gaps = []
    for reg in (0.3, 0.03, 0.003):
        coupling = sinkhorn(cost, reg, max_iter=50_000, tol=1e-9)
        assert coupling.converged
        gaps.append(float(coupling.value) - exact)
    assert gaps[0] > gaps[1] > gaps[2] > -1e-8
    assert gaps[2] < 1e-3
    # Large reg forgets the cost: the plan of independence.
    np.testing.assert_allclose(sinkhorn(cost, 1e6).plan, 1 / (13 * 17), atol=1e-7)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("reg", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_plan_is_that_of_the_log_domain(dtype, close, reg, offset):
    cost = cost_matrix(53, 67, seed=11, dtype=dtype) + offset  # float32 rounds the cost, not the exponents
    reg = reg * float(cost.double().std())
    for n_iter in (2, 150):
        ours = sinkhorn(cost, reg, max_iter=n_iter, tol=0)
        expected = log_domain(cost, reg, n_iter)
        assert variation(ours.plan, expected) < close
        error = (expected.sum(1) - 1 / 53).abs().sum() + (expected.sum(0) - 1 / 67).abs().sum()
        assert ours.marginal_error <= float(error) + close / 10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reg", [1e-3, 1e-8, 1e-309])
@pytest.mark.parametrize("size", [100.0, 1e-30, 1e30])
def test_small_reg_never_overflows(dtype, reg, size):
    coupling = sinkhorn(size * cost_matrix(dtype=dtype), reg, max_iter=30)
    assert coupling.plan.dtype == coupling.value.dtype == dtype
    assert bool(coupling.plan.isfinite().all())
    torch.testing.assert_close(coupling.plan.sum(1), torch.full((13,), 1 / 13, dtype=dtype))
    assert np.isfinite(coupling.marginal_error)


def test_potentials_far_beyond_the_exponents_range_are_absorbed():
    # Points of two clouds a thousand apart, a chain of forbidden pairs, masses over nine decades: the scalings
    # of the plain kernel would be e^±1e5 and more.
    x, y = normal(40, 2, seed=1), 1000 + normal(50, 2, seed=2)
    cost = torch.cdist(x, y).square()
    cost[:20, :25] += 1e7
    a, b = (torch.logspace(-9, 0, k, dtype=torch.float64) for k in (40, 50))
    a, b = a / a.sum(), b / b.sum()
    for reg in (1e3, 1e2, 10.0):
        ours = sinkhorn(cost, reg, a, b, max_iter=200, tol=0)
        assert variation(ours.plan, log_domain(cost, reg, 200, a, b)) < 1e-7
        single = sinkhorn(cost.float(), reg, a, b, max_iter=200, tol=0).plan
        assert variation(single, log_domain(cost.float(), reg, 200, a, b)) < 1e-3


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 9),
    m=st.integers(1, 9),
    size=st.floats(-30, 30),
    reg=st.floats(-6, 2),
    single=st.booleans(),
    seed=st.integers(0, 999),
)
def test_extreme_costs_keep_the_rows(n, m, size, reg, single, seed):
    rng = np.random.default_rng(seed)
    cost = rng.normal(size=(n, m)) * 10.0 ** (size * rng.random((n, 1)))  # rows of unlike magnitude
    dtype, accuracy = (np.float32, 1e-5) if single else (np.float64, 1e-12)
    a, b = rng.dirichlet(np.full(n, 1.0)) + 1e-6, rng.dirichlet(np.full(m, 1.0)) + 1e-6
    a, b = a / a.sum(), b / b.sum()
    coupling = sinkhorn(cost.astype(dtype), 10.0**reg * np.abs(cost).max(), a, b, max_iter=50, tol=0)
    assert bool((coupling.plan >= 0).all())
    np.testing.assert_allclose(coupling.plan.sum(1), a, atol=accuracy)
    assert coupling.marginal_error <= 2 + 1e-6
    assert float(coupling.plan.sum()) == pytest.approx(1, abs=accuracy)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 8), m=st.integers(2, 8), seed=st.integers(0, 999))
def test_vanishing_reg_tends_to_exact_transport(n, m, seed):
    rng = np.random.default_rng(seed)
    cost, a, b = rng.random((n, m)), rng.dirichlet(np.full(n, 5.0)), rng.dirichlet(np.full(m, 5.0))
    exact = ot.emd2(a, b, cost)
    for reg in (1e-1, 1e-2, 1e-3):
        coupling = sinkhorn(cost, reg, a, b, max_iter=500, tol=1e-9)
        # Entropy is at most log(nm), so the optimum is within reg · log(nm); an unmet marginal costs at most
        # its error times the largest cost.
        assert float(coupling.value) >= exact - coupling.marginal_error
        assert float(coupling.value) <= exact + reg * np.log(n * m) + coupling.marginal_error


@pytest.mark.parametrize("block", [64, 2**26])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_row_blocks_give_the_plan_of_the_matrix(monkeypatch, block, dtype):
    monkeypatch.setattr(transport.entropic, "LARGE_BLOCK", block)
    cost = cost_matrix(31, 23, seed=12, dtype=dtype)
    rng = np.random.default_rng(0)
    a, b = rng.dirichlet(np.full(31, 3.0)), rng.dirichlet(np.full(23, 3.0))
    lazy = Rows(cost)
    ours, whole = (sinkhorn(c, 0.1, a, b, max_iter=80, tol=0) for c in (lazy, cost))
    torch.testing.assert_close(ours.plan, whole.plan)
    torch.testing.assert_close(ours.value, whole.value)
    assert ours.marginal_error == pytest.approx(whole.marginal_error, abs=1e-6)
    assert lazy.asked == 3 * 31  # the first potential, the kernel, the value; none of the 80 iterations
    cost[17, 3] = torch.nan
    with pytest.raises(ValueError, match="holds nan"):
        sinkhorn(lazy, 0.1)
    lazy.shape = (31, 22)
    with pytest.raises(ValueError, match=r"expected \(\d+, 22\)"):
        sinkhorn(lazy, 0.1)


def test_half_precision_is_computed_in_single():
    cost = cost_matrix().to(torch.bfloat16)
    assert torch.equal(sinkhorn(cost, 0.1).plan, sinkhorn(cost.float(), 0.1).plan)


def test_the_evidence_says_when_to_trust_the_plan():
    cost = cost_matrix(seed=7)
    hasty, patient = sinkhorn(cost, 0.02, max_iter=3), sinkhorn(cost, 0.02, max_iter=20_000)
    assert (hasty.n_iter, hasty.converged) == (3, False)
    assert hasty.marginal_error > 1e-3
    assert patient.converged
    assert patient.marginal_error <= 1e-6
    assert 3 < patient.n_iter < 20_000
    assert sinkhorn(cost, 0.02, max_iter=patient.n_iter - 1).converged is False
    assert sinkhorn(cost, 0.02, max_iter=patient.n_iter).converged is True
    with pytest.raises(AttributeError):
        hasty.converged = True


def test_the_gradient_of_the_value_is_the_plan():
    cost = cost_matrix(seed=8).requires_grad_()
    coupling = sinkhorn(cost, 0.1)
    coupling.value.backward()
    assert torch.equal(cost.grad, coupling.plan)


def test_input_is_left_alone():
    cost, a = cost_matrix(), torch.full((13,), 1 / 13, dtype=torch.float64)
    before = cost.clone()
    sinkhorn(cost, 1e-3, a)
    assert torch.equal(cost, before)
    assert bool((a == 1 / 13).all())


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 8), m=st.integers(1, 8), reg=st.floats(0.05, 5), seed=st.integers(0, 999))
def test_sinkhorn_properties(n, m, reg, seed):
    rng = np.random.default_rng(seed)
    cost, a, b = rng.random((n, m)), rng.dirichlet(np.full(n, 5.0)), rng.dirichlet(np.full(m, 5.0))
    settings = {"max_iter": 20_000, "tol": 1e-11}
    plain = sinkhorn(cost, reg, a, b, **settings)
    assert plain.converged
    assert bool((plain.plan > 0).all())
    # Transposed; in other units; with a constant for every row, for every column; permuted: the same plan.
    rows, columns = rng.permutation(n), rng.permutation(m)
    others = [
        sinkhorn(cost.T, reg, b, a, **settings).plan.T,
        sinkhorn(1000 * cost, 1000 * reg, a, b, **settings).plan,
        sinkhorn(cost + rng.random((n, 1)), reg, a, b, **settings).plan,
        sinkhorn(cost - 100 * rng.random((1, m)), reg, a, b, **settings).plan,
    ]
    for other in others:
        np.testing.assert_allclose(other, plain.plan, atol=1e-9)
    permuted = sinkhorn(cost[rows][:, columns], reg, a[rows], b[columns], **settings)
    np.testing.assert_allclose(permuted.plan, plain.plan[rows][:, columns], atol=1e-9)
    assert ot.emd2(a, b, cost) - 1e-9 <= float(plain.value) <= a @ cost @ b + 1e-9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cost": np.full((3, 4), np.nan)}, "NaN"),
        ({"cost": np.full((3, 4), np.inf)}, "infinite"),
        ({"cost": np.zeros(4)}, "matrix"),
        ({"cost": np.zeros((0, 4))}, "matrix"),
        ({"reg": 0}, "emd2"),
        ({"reg": -1}, "reg is -1"),
        ({"reg": float("nan")}, "reg is nan"),
        ({"cost": np.full((3, 4), 1e301)}, "divide cost and reg"),
        ({"a": np.full(4, 1 / 4)}, r"a has shape \(4,\)"),
        ({"b": np.full(3, 1 / 3)}, r"b has shape \(3,\)"),
        ({"a": np.array([0.5, 0.5, 0.0])}, "a has masses"),
        ({"b": np.array([0.5, 0.6, -0.2, 0.1])}, "b has masses"),
        ({"a": np.full(3, 1.0)}, "sums to"),
        ({"max_iter": 0}, "max_iter"),
        ({"tol": -1}, "tol"),
    ],
)
def test_bad_problems_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        sinkhorn(**({"cost": np.ones((3, 4)), "reg": 0.1} | change))


def test_a_nested_list_is_a_matrix_and_a_ragged_one_is_not():
    cost = [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]
    torch.testing.assert_close(sinkhorn(cost, 0.1).plan, sinkhorn(np.array(cost), 0.1).plan)
    assert torch.equal(hard_plan(cost), hard_plan(torch.tensor(cost).double()))
    for wrong in ([[0.0], [1.0, 2.0]], ["a", "b"], None, object(), [[1j]]):
        with pytest.raises(ValueError, match="^cost .*expected"):
            sinkhorn(wrong, 0.1)


# Hard plans


@pytest.mark.parametrize(("n", "m"), [(5, 8), (8, 5), (1, 4), (13, 17)])
def test_hard_plan_equals_brute_force(n, m):
    plan = sinkhorn(cost_matrix(n, m, seed=9), 0.1).plan
    hard = hard_plan(plan)
    for i in range(n):
        for j in range(m):
            expected = plan[i, j] == max(plan[i]) or plan[i, j] == max(plan[:, j])
            assert hard[i, j] == float(expected)
    assert hard.dtype == plan.dtype
    assert bool((hard.sum(0) >= 1).all())
    assert bool((hard.sum(1) >= 1).all())


def test_hard_plan_by_hand():
    plan = np.array([[0.5, 0.1, 0.2], [0.4, 0.3, 0.2]])
    # Row maxima at (0,0) and (1,0); column maxima at (0,0), (1,1) and, equal, both entries of the last.
    assert hard_plan(plan).tolist() == [[1, 0, 1], [1, 1, 1]]
    with pytest.raises(ValueError, match="matrix"):
        hard_plan(plan[0])
