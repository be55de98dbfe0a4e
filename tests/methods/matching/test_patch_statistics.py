from pathlib import Path

import numpy as np
import ot
import pytest
import torch

from otad.methods.matching.patch_statistics import histogram, moments, sample_weighted_wasserstein
from otad.methods.matching.ranks import gaussian, reference_values
from otad.transport import matching_errors, wasserstein_1d

GOLDEN = Path(__file__).parents[2] / "golden" / "fca_authors.npz"
CASES = ["uniform_16x24_T3", "uniform_32x40_T9", "smooth_24x45_T5"]


@pytest.fixture(params=CASES)
def golden(request):
    """Features, patch size, and a comparison with what the authors' code returns, away from the border."""
    with np.load(GOLDEN) as file:
        values = {key.split("/")[1]: file[key] for key in file.files if key.startswith(request.param)}
    size = int(values["patch_size"])
    margin = 2 * (size // 2) + 2

    def compare(name, found):
        inside = (..., slice(margin, -margin), slice(margin, -margin))
        expected = values[name]
        np.testing.assert_allclose(found.numpy()[inside], expected[inside], rtol=0, atol=1e-6)

    return torch.tensor(values["features"]), size, compare, values


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def patches(features, size):
    """All patches (h,w,C,T,T), cut out one by one from the reflected map."""
    r = size // 2
    padded = torch.nn.functional.pad(features[None], (r, r, r, r), mode="reflect")[0]
    h, w = features.shape[1:]
    return torch.stack(
        [torch.stack([padded[:, y : y + size, x : x + size] for x in range(w)]) for y in range(h)]
    )


@pytest.mark.parametrize("ties", ["index", "mean"])
def test_sww_agrees_with_the_authors(golden, ties):
    features, size, compare, _ = golden
    compare("sww_sigma6", sample_weighted_wasserstein(features, size, ties=ties))


def test_moments_agree_with_the_authors(golden):
    features, size, compare, _ = golden
    compare("moments_p1234_sigma6", moments(features, size))


def test_histogram_agrees_with_the_authors(golden):
    features, size, compare, _ = golden
    compare("histogram_bins10_sigma6", histogram(features, size))


def test_median_reference_agrees_with_the_authors(golden):
    features, size, _, values = golden
    assert np.array_equal(reference_values(features, size)[0].numpy(), values["median_reference"])


def test_moments_are_eq_2():
    features, g = rand(3, 6, 8), gaussian(5, 2.0)
    expected = []
    for power in (1, 3):
        local = (patches(features, 5) ** power * g).sum(dim=(-2, -1))  # (h,w,C)
        expected.append((local - local.mean(dim=(0, 1))).square().mean(dim=-1))
    found = moments(features, 5, sigma=2.0, powers=(1, 3))
    torch.testing.assert_close(found, torch.stack(expected).mean(dim=0))


def test_histogram_is_the_earth_movers_distance():
    """Against a solver of transport problems; the values are the levels of the bins, so no vote is in doubt."""
    levels, bins, sigma, r = np.random.default_rng(1).integers(0, 4, (2, 6, 9)), 4, 2.0, 2
    levels[:, 0, :2] = 0, bins - 1  # both ends are there, so that scaling changes nothing
    y, x = np.mgrid[-r : r + 1, -r : r + 1]
    g = np.exp(-(y**2 + x**2) / (2 * sigma**2))
    expected = np.zeros((6, 9))
    for channel in levels:
        around = np.pad(channel, r, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(around, (2 * r + 1, 2 * r + 1))
        votes = [[np.bincount(w.ravel(), (g / g.sum()).ravel(), bins) for w in row] for row in windows]
        mean = np.mean(votes, axis=(0, 1))
        steps = np.abs(np.subtract.outer(np.arange(bins), np.arange(bins))) / bins
        expected += [[ot.emd2(one, mean, steps) for one in row] for row in votes]
    found = histogram(torch.from_numpy(levels / (bins - 1)), 2 * r + 1, sigma, bins)
    np.testing.assert_allclose(found, expected / len(levels), atol=1e-12)


@pytest.mark.parametrize("bins", [2, 5, 10])
def test_histogram_is_at_most_bins_less_one_over_bins(bins):
    """All of a patch moves from the first bin to the last: left black, right white, the reference on one side."""
    features = torch.zeros(1, 9, 20, dtype=torch.float64)
    features[:, :, 10:] = 1
    found = histogram(features, 3, bins=bins, reference="random", n_references=1)
    left, right = found[:, 0], found[:, 19]
    near, far = sorted((left, right), key=lambda side: float(side.max()))
    torch.testing.assert_close(near, torch.zeros(9, dtype=torch.float64))
    torch.testing.assert_close(far, torch.full((9,), (bins - 1) / bins, dtype=torch.float64))


def cumulative(features, size, sigma, bins):
    """Cumulative histograms (C,bins,N) of every patch, votes counted one by one."""
    low, high = features.amin(dim=(1, 2)), features.amax(dim=(1, 2))
    scaled = (patches(features, size) - low[:, None, None]) / (high - low + 1e-8)[:, None, None]
    votes, g = (0.999 * bins * scaled).floor(), gaussian(size, sigma)
    local = torch.stack([((votes <= b) * g).sum(dim=(-2, -1)) for b in range(bins)])  # (bins,h,w,C)
    return local.permute(3, 0, 1, 2).flatten(2)


@pytest.fixture(scope="module")
def local():
    """Features (2,6,9), with values that tie, and their cumulative histograms (2,4,54)."""
    features = (8 * rand(2, 6, 9, seed=3)).floor() / 8
    return features, cumulative(features, 3, 2.0, 4)


def summed_distance(local, references):
    """Σ_r EMD of each patch to each reference (C,bins,R), in the loops of Eq. 1; (N,)."""
    each = [(local - reference[..., None]).abs().mean(dim=(0, 1)) for reference in references.unbind(-1)]
    return torch.stack(each).sum(dim=0)


def test_histogram_against_all_is_the_sum_over_each_patch(local):
    features, every = local
    found = histogram(features, 3, 2.0, 4, reference="all")
    torch.testing.assert_close(found.flatten(), summed_distance(every, every), rtol=1e-10, atol=1e-10)
    looped = histogram(features, 3, 2.0, 4, reference="random", n_references=54, seed=9)
    torch.testing.assert_close(found, looped, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n", [1, 5])
def test_histogram_draws_the_patches_that_rank_matching_draws(local, n):
    features, every = local
    drawn = reference_values(features, 3, "random", n, seed=5)  # (n,C,T²)
    ranked = patches(features, 3).flatten(-2).sort(dim=-1).values.flatten(0, 1)  # (N,C,T²)
    which = [int((ranked == one).all(dim=(1, 2)).nonzero()[0]) for one in drawn]
    assert len(set(which)) == n
    found = histogram(features, 3, 2.0, 4, reference="random", n_references=n, seed=5)
    torch.testing.assert_close(found.flatten(), summed_distance(every, every[..., which]))


def test_histogram_median_minimises_the_summed_distance(local):
    features, every = local
    best = every.median(dim=-1, keepdim=True).values
    found = histogram(features, 3, 2.0, 4, reference="median")
    torch.testing.assert_close(found.flatten(), summed_distance(every, best))
    assert float(found.sum()) < float(histogram(features, 3, 2.0, 4).sum())
    for seed in range(20):
        assert float(summed_distance(every, best + 0.1 * rand(2, 4, 1, seed=seed) - 0.05).sum()) >= float(
            found.sum()
        )


def test_histogram_does_not_mind_scale_and_offset_of_a_channel():
    features = rand(3, 9, 12)
    other = features * torch.tensor([2.0, 7.0, 0.1])[:, None, None] - 3
    torch.testing.assert_close(histogram(features, 5), histogram(other, 5), atol=1e-6, rtol=0)


def test_sww_is_eq_4():
    features, g = rand(3, 5, 8, seed=2), gaussian(3, 1.5)
    reference = reference_values(features, 3)[0]
    errors = matching_errors(patches(features, 3).flatten(-2), reference).mean(dim=-2)
    expected = (errors * g.flatten()).sum(dim=-1)
    torch.testing.assert_close(sample_weighted_wasserstein(features, 3, sigma=1.5), expected)


def test_sww_with_equal_weights_is_the_wasserstein_distance():
    """The limit of the histogram for infinitely many bins, and a lower bound of nothing else."""
    features = rand(2, 7, 9, seed=4)
    reference = reference_values(features, 5, "median_all")[0]
    expected = wasserstein_1d(patches(features, 5).flatten(-2), reference).mean(dim=-1)
    found = sample_weighted_wasserstein(features, 5, sigma=1e6, reference="median_all")
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", [moments, histogram, sample_weighted_wasserstein])
def test_every_statistic_is_zero_on_a_flat_map_and_finds_an_odd_patch(method):
    flat = torch.full((2, 20, 27), 0.25)
    assert float(method(flat, 5).abs().max()) < 1e-6
    odd = flat.clone()
    odd[1, 4:8, 15:20] = 1.0
    found = method(odd, 5)
    assert found.shape == (20, 27)
    assert found.dtype == torch.float32
    y, x = divmod(int(found.argmax()), 27)
    assert 4 <= y < 8
    assert 15 <= x < 20


@pytest.mark.parametrize("method", [moments, histogram, sample_weighted_wasserstein])
@pytest.mark.parametrize(
    ("features", "size", "message"),
    [
        (torch.rand(2, 9, 11), 4, "odd"),
        (torch.rand(2, 9, 11), -3, "odd"),
        (torch.rand(2, 9, 11), 11, "patch_size = 11"),
        (torch.rand(9, 11), 3, "float tensor"),
        (torch.rand(2, 9, 11) * torch.nan, 3, "NaN"),
    ],
)
def test_bad_features_are_refused(method, features, size, message):
    with pytest.raises(ValueError, match=message):
        method(features, size)


def test_bad_settings_are_refused():
    features = torch.rand(2, 9, 11)
    with pytest.raises(ValueError, match="at least 2"):
        histogram(features, 3, bins=1)
    with pytest.raises(ValueError, match="mean, median, random, all"):
        histogram(features, 3, reference="knn")
    with pytest.raises(ValueError, match="with random"):
        histogram(features, 3, n_references=2)
    for n in (0, 100):
        with pytest.raises(ValueError, match="1 to 99"):
            histogram(features, 3, reference="random", n_references=n)
    with pytest.raises(ValueError, match="powers is empty"):
        moments(features, 3, powers=())
    for method in (moments, histogram, sample_weighted_wasserstein):
        with pytest.raises(ValueError, match="sigma is -1"):
            method(features, 3, sigma=-1)
