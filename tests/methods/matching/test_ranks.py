import itertools

import pytest
import torch

from otad.methods.matching import ranks as matching
from otad.methods.matching.fca import patch_weights
from otad.methods.matching.ranks import gaussian, matched_map, reference_values
from otad.transport import matching_errors, wasserstein_1d

NAMES = ["median", "median_all", "random", "all", "knn"]


@pytest.fixture(autouse=True, params=["kernel", "plain"])
def engine(request, monkeypatch):
    """Every test in this file holds for both versions."""
    if request.param == "plain":
        monkeypatch.setattr(matching, "_suits_kernels", lambda *_: False)
    return request.param


def rand(*shape, seed=0, steps=None):
    x = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x if steps is None else (x * steps).floor() / steps


def reflect(i, n):
    return -i if i < 0 else 2 * (n - 1) - i if i >= n else i


def patch(features, y, x, size):
    """The values (C,T²) of the patch centred at (y,x), looked up pixel by pixel."""
    r = range(-(size // 2), size // 2 + 1)
    h, w = features.shape[1:]
    return torch.stack([features[:, reflect(y + dy, h), reflect(x + dx, w)] for dy in r for dx in r], dim=-1)


def brute_force(features, weights, references, ties="mean"):
    """The definition in loops: one map (h,w) for each reference (C,T²)."""
    size = round(len(weights) ** 0.5)
    h, w = features.shape[1:]
    maps = torch.zeros(len(references), h, w, dtype=features.dtype)
    for (r, reference), y, x in itertools.product(enumerate(references), range(h), range(w)):
        errors = matching_errors(patch(features, y, x, size), reference, ties=ties).mean(dim=0)
        given = weights @ errors
        for i in range(size**2):
            py, px = y + i // size - size // 2, x + i % size - size // 2
            if 0 <= py < h and 0 <= px < w:
                maps[r, py, px] += given[i]
    return maps


@pytest.fixture(scope="module")
def case():
    """Not square, with ties, and weights that no symmetry can hide a transpose behind."""
    features = rand(3, 5, 7, steps=8)
    weights = rand(9, 9, seed=1)
    every = torch.stack([patch(features, y, x, 3) for y in range(5) for x in range(7)]).sort(dim=-1).values
    return features, weights, every


@pytest.fixture(scope="module", params=["mean", "index"])
def scores(request, case):
    features, weights, every = case
    return request.param, brute_force(features, weights, every, ties=request.param)


def test_all_references_are_the_sum_over_each(case, scores):
    features, weights, _ = case
    ties, each = scores
    found = matched_map(features, weights, "all", ties=ties)
    torch.testing.assert_close(found, each.sum(dim=0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("k", [None, 1, 3, 35])
def test_nearest_references_are_picked_for_each_pixel(case, scores, k):
    features, weights, _ = case
    ties, each = scores
    expected = each.sort(dim=0).values[: k or 35 // 4].sum(dim=0)
    found = matched_map(features, weights, "knn", k=k, ties=ties)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 4, 35])
def test_random_references_are_patches_added_up(case, scores, n):
    features, weights, every = case
    ties, each = scores
    drawn = reference_values(features, 3, "random", n, seed=5)
    assert drawn.shape == (n, 3, 9)
    which = [int((every == one).all(dim=(1, 2)).nonzero()[0]) for one in drawn]
    assert len(set(which)) == n  # drawn without repetition
    found = matched_map(features, weights, "random", n, ties=ties, seed=5)
    torch.testing.assert_close(found, each[which].sum(dim=0), rtol=1e-12, atol=1e-12)
    if n == 1:
        assert not torch.equal(found, matched_map(features, weights, "random", n, ties=ties, seed=6))


@pytest.mark.parametrize("ties", ["mean", "index"])
@pytest.mark.parametrize("block", [1, 100, 700, 2**21])
def test_blocks_do_not_change_the_result(case, monkeypatch, ties, block):
    features, weights, _ = case
    reference = rand(3, 9, seed=4).sort(dim=-1).values
    monkeypatch.setattr(matching, "BLOCK", block)
    expected = brute_force(features, weights, reference[None], ties)[0]
    found = matched_map(features, weights, reference, ties=ties)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    found_all = matched_map(features, weights, "all", ties=ties)
    monkeypatch.setattr(matching, "BLOCK", 2**21)
    torch.testing.assert_close(found_all, matched_map(features, weights, "all", ties=ties))


def test_the_engine_is_the_one_asked_for(engine, monkeypatch):
    """They differ by rounding and agree within it; gradients and half precision need the plain one."""
    features, weights = rand(3, 9, 13).float(), patch_weights(3, 3.0, 1.0)
    calls = []
    original = matching._aggregate
    monkeypatch.setattr(matching, "_aggregate", lambda *a: calls.append(a) or original(*a))
    found = [matched_map(features, weights, engine=e) for e in ("kernel", "plain")]
    assert len(calls) == (1 if engine == "kernel" else 2)
    torch.testing.assert_close(*found)
    matched_map(features.clone().requires_grad_(), weights).sum().backward()
    matched_map(features.half(), weights)
    assert len(calls) == (3 if engine == "kernel" else 4)
    with pytest.raises(ValueError, match="engine is 'fast'"):
        matched_map(features, weights, engine="fast")


def test_a_patch_as_large_as_the_map_is_allowed():
    features, weights = rand(2, 5, 6), rand(25, 25, seed=1)
    reference = reference_values(features, 5, "median")
    found = matched_map(features, weights)
    torch.testing.assert_close(found, brute_force(features, weights, reference)[0])


def test_median_of_tiles_drops_the_remainder_and_takes_the_lower_value():
    features = rand(4, 7, 11, seed=2)
    tiles = [features[:, y : y + 3, x : x + 3].flatten(1) for y in (0, 3) for x in (0, 3, 6)]
    ranked = torch.stack(tiles).sort(dim=-1).values.sort(dim=0).values
    assert torch.equal(reference_values(features, 3)[0], ranked[2])  # the third of six


def test_median_of_all_minimises_the_summed_distance():
    features = rand(2, 6, 9, seed=3)
    every = reference_values(features, 3, "all")
    best = reference_values(features, 3, "median_all")[0]

    def summed(reference):
        return float(wasserstein_1d(every, reference[None]).sum())

    assert torch.equal(best, every.sort(dim=0).values[(len(every) - 1) // 2])
    for seed in range(30):
        other = (best + 0.02 * (rand(2, 9, seed=seed) - 0.5)).sort(dim=-1).values
        assert summed(other) >= summed(best)
    assert summed(reference_values(features, 3, "median")[0]) > summed(best)


def test_ties_make_the_sort_order_irrelevant():
    """Mirrored features must give the mirrored map; with ties in raster order they do not."""
    features = rand(4, 9, 12, seed=7, steps=3)
    weights = patch_weights(3, 3.0, None)
    for reference in ["median_all", "all", "knn"]:
        one = matched_map(features, weights, reference)
        for axis in (1, 2):
            other = matched_map(features.flip(axis), weights, reference).flip(axis - 1)
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    index = matched_map(features, weights, "median_all", ties="index")
    mirrored = matched_map(features.flip(2), weights, "median_all", ties="index").flip(1)
    assert not torch.allclose(index, mirrored, atol=1e-3)


def test_equal_pixels_in_a_patch_share_their_errors():
    """On a map of zeros every pixel gets the mean of |reference| over its ranks: W₁ times its weight."""
    features = torch.zeros(1, 9, 13)
    reference = rand(1, 9).sort(dim=-1).values.float()
    found = matched_map(features, torch.eye(9) / 9, reference)
    torch.testing.assert_close(found[1:-1, 1:-1], reference.mean().expand(7, 11))


def test_spreading_keeps_the_patch_sums():
    """Give every member its own error: the sum of the map is Σ_P T² W₁(P, reference)."""
    features = torch.nn.functional.pad(rand(2, 6, 8), (2, 2, 2, 2))
    reference = torch.zeros(2, 9, dtype=torch.float64)
    found = matched_map(features, torch.eye(9, dtype=torch.float64), reference)
    every = reference_values(features, 3, "all")
    distances = wasserstein_1d(every, reference[None]).mean(dim=1)
    torch.testing.assert_close(found.sum(), 9 * distances.sum())


@pytest.mark.parametrize("reference", NAMES)
def test_scaling_and_shifting_features_scales_the_map(reference):
    features = rand(3, 7, 9, seed=1).float()
    weights = patch_weights(3, 3.0, 1.0)
    one = matched_map(features, weights, reference)
    other = matched_map(5 * features - 2, weights, reference)
    assert one.dtype == torch.float32
    torch.testing.assert_close(other, 5 * one, rtol=1e-4, atol=1e-5)


def test_gaussian_weights_sum_to_one_and_fall_from_the_centre():
    g = gaussian(5, 1.5)
    assert g.shape == (5, 5)
    assert float(g.sum()) == pytest.approx(1)
    assert float(g[2, 2] / g[2, 4]) == pytest.approx(torch.tensor(0.5 * (2 / 1.5) ** 2).exp())


@pytest.mark.parametrize(
    ("features", "kwargs", "message"),
    [
        (torch.rand(7, 9), {}, "float tensor"),
        (torch.ones(2, 7, 9, dtype=torch.int64), {}, "float tensor"),
        (torch.rand(1, 2, 7, 9), {}, "float tensor"),
        (torch.rand(2, 2, 9), {}, "patch_size = 3"),
        (torch.rand(2, 9, 2), {}, "patch_size = 3"),
        (torch.rand(0, 7, 9), {}, "C ≥ 1"),
        (torch.rand(2, 7, 9) / 0, {}, "126 values"),
        (torch.rand(2, 7, 9).log() * torch.nan, {}, "NaN"),
        (torch.rand(2, 7, 9), {"reference": "mean"}, "median, median_all, random, all, knn"),
        (torch.rand(2, 7, 9), {"reference": None}, "NoneType"),
        (torch.rand(2, 7, 9), {"reference": torch.zeros(2, 8)}, r"\(2, 9\)"),
        (torch.rand(2, 7, 9), {"reference": -torch.arange(18.0).view(2, 9)}, "sorted"),
        (torch.rand(2, 7, 9), {"reference": torch.full((2, 9), torch.nan)}, "finite and sorted"),
        (torch.rand(2, 7, 9), {"n_references": 2}, "with random"),
        (torch.rand(2, 7, 9), {"reference": "random", "n_references": 64}, "1 to 63"),
        (torch.rand(2, 7, 9), {"reference": "random", "n_references": 0}, "1 to 63"),
        (torch.rand(2, 7, 9), {"k": 5}, "with knn"),
        (torch.rand(2, 7, 9), {"reference": "knn", "k": 64}, "1 to 63"),
        (torch.rand(1, 300, 300), {"reference": "knn"}, "larger stride"),
        (torch.rand(2, 7, 9), {"ties": "sorted"}, "ties"),
    ],
)
def test_bad_input_is_refused(features, kwargs, message):
    with pytest.raises(ValueError, match=message):
        matched_map(features, torch.eye(9), **kwargs)


def test_even_patches_and_widths_of_zero_are_refused():
    with pytest.raises(ValueError, match="odd"):
        matched_map(torch.rand(2, 7, 9), torch.eye(16))
    with pytest.raises(ValueError, match="sigma is 0"):
        gaussian(3, 0)
