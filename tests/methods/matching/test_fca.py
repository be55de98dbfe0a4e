import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from otad.features.handcrafted import colours, minmax
from otad.features.pretrained import efficientnet_lite0
from otad.methods import Scores
from otad.methods.matching.fca import FCA, patch_weights
from otad.methods.matching.ranks import gaussian, reference_values
from otad.transport import matching_errors

GOLDEN = Path(__file__).parents[2] / "golden" / "fca_authors.npz"
CASES = ["uniform_16x24_T3", "uniform_32x40_T9", "smooth_24x45_T5"]


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ties", ["index", "mean"])
@pytest.mark.parametrize(
    ("sigma_s", "name"), [(1.0, "fca_sigma_p3_sigma_s1"), (None, "fca_sigma_p3_unsmoothed")]
)
def test_maps_agree_with_the_authors(case, ties, sigma_s, name):
    """Away from the border, where reflected values tie and that code orders ties arbitrarily."""
    with np.load(GOLDEN) as file:
        features, size = torch.tensor(file[f"{case}/features"]), int(file[f"{case}/patch_size"])
        expected = file[f"{case}/{name}"]
    found = FCA(patch_size=size, sigma_s=sigma_s, ties=ties).score_features(features)
    m = 2 * (size // 2) + 2
    np.testing.assert_allclose(found.numpy()[m:-m, m:-m], expected[m:-m, m:-m], rtol=0, atol=1e-6)


def in_loops(features, size, sigma_p, sigma_s):
    """Eq. 5 and 6 read off the page, pixel by pixel and patch by patch."""
    r, (h, w) = size // 2, features.shape[1:]
    padded = F.pad(features[None], (r, r, r, r), mode="reflect")[0]
    reference = reference_values(features, size)[0]
    nearness = gaussian(size, sigma_p)
    errors = {}
    for y, x in itertools.product(range(h), range(w)):
        values = padded[:, y : y + size, x : x + size].flatten(1)
        error = matching_errors(values, reference).mean(dim=0).view(size, size)
        errors[y, x] = error if sigma_s is None else smoothed(error, sigma_s)
    scores = torch.zeros(h, w, dtype=features.dtype)
    for y, x, dy, dx in itertools.product(range(h), range(w), range(-r, r + 1), range(-r, r + 1)):
        if (y + dy, x + dx) in errors:  # the patch centred there holds (y,x) at −(dy,dx) from its centre
            scores[y, x] += errors[y + dy, x + dx][r - dy, r - dx] * nearness[r + dy, r + dx]
    return scores


def smoothed(error, sigma):
    r = round(2 * sigma)
    kernel = gaussian(2 * r + 1, sigma)
    return F.conv2d(F.pad(error[None, None], (r, r, r, r), mode="reflect"), kernel[None, None])[0, 0]


@pytest.mark.parametrize(("size", "sigma_s"), [(3, None), (3, 1.0), (5, None), (5, 1.0), (5, 2.0), (5, 0.4)])
def test_map_is_eq_5_or_6(size, sigma_s):
    features = rand(3, 6, 9, seed=size)
    found = FCA(patch_size=size, sigma_p=1.3, sigma_s=sigma_s).score_features(features)
    torch.testing.assert_close(found, in_loops(features, size, 1.3, sigma_s))


def test_defaults_are_those_of_the_paper():
    method = FCA()
    assert (method.patch_size, method.sigma_p, method.sigma_s) == (9, 3.0, 1.0)
    assert (method.reference, method.ties, method.k, method.n_references) == ("median", "mean", None, 1)


def test_weights_sum_to_one_unsmoothed_and_smoothing_keeps_flat_errors():
    plain, smooth = patch_weights(5, 2.0, None), patch_weights(5, 2.0, 1.0)
    assert float(plain.sum()) == pytest.approx(1)
    torch.testing.assert_close(smooth.sum(dim=1), plain.sum(dim=1))
    assert int((smooth > 0).sum()) > int((plain > 0).sum())


def test_a_patch_of_one_pixel_measures_the_distance_to_the_median():
    features = rand(3, 4, 7)
    found = FCA(patch_size=1, sigma_s=None).score_features(features)
    median = features.flatten(1).median(dim=1).values
    torch.testing.assert_close(found, (features - median[:, None, None]).abs().mean(dim=0))


def test_unsmoothed_fca_points_at_the_odd_pixel():
    features = rand(4, 25, 31, seed=1)
    features[:, 12, 20] = 4.0
    found = FCA(patch_size=5, sigma_s=None).score_features(features)
    assert divmod(int(found.argmax()), 31) == (12, 20)
    others = found.clone()
    others[12, 20] = 0
    assert float(found.max()) > 5 * float(others.max())


def test_images_are_scored_one_by_one():
    images = torch.rand(3, 3, 32, 45, generator=torch.Generator().manual_seed(2))
    images[1, :, 10:14, 30:36] = 1.0
    method = FCA(lambda x: [colours(x)], patch_size=5)
    scores = method.score(images)
    assert isinstance(scores, Scores)
    assert scores.maps.shape == (3, 32, 45)
    assert scores.maps.dtype == torch.float32
    assert torch.equal(scores.image_scores, scores.maps.amax(dim=(1, 2)))
    for i, image in enumerate(images):
        assert torch.equal(scores.maps[i], method.score_features(minmax(image)))
        assert torch.equal(scores.maps[i], method.score(images[i : i + 1]).maps[0])
    y, x = divmod(int(scores.maps[1].argmax()), 45)
    assert 10 <= y < 14
    assert 30 <= x < 36


def test_each_channel_counts_the_same_whatever_its_scale():
    images = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(2))
    scale = torch.tensor([1.0, 100.0, 0.01])[:, None, None]
    one = FCA(lambda x: [x], patch_size=3).score(images).maps
    other = FCA(lambda x: [x * scale - 5], patch_size=3).score(images).maps
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_maps_of_several_strides_are_resized_and_averaged():
    images = torch.rand(1, 3, 96, 120, generator=torch.Generator().manual_seed(2))
    both = FCA(efficientnet_lite0((4, 8)), patch_size=5).score(images).maps
    single = [FCA(efficientnet_lite0((s,)), patch_size=5).score(images).maps for s in (4, 8)]
    assert both.shape == (1, 96, 120)
    torch.testing.assert_close(both, (single[0] + single[1]) / 2)
    small = FCA(patch_size=5).score_features(minmax(efficientnet_lite0((8,))(images)[0])[0])
    assert small.shape == (12, 15)
    resized = F.interpolate(small[None, None], size=(96, 120), mode="bilinear")[0]
    torch.testing.assert_close(single[1], resized)


def test_bad_input_is_refused():
    features = torch.rand(2, 9, 11)
    with pytest.raises(ValueError, match="odd"):
        FCA(patch_size=4).score_features(features)
    with pytest.raises(ValueError, match="patch_size = 11"):
        FCA(patch_size=11).score_features(features)
    with pytest.raises(ValueError, match="NaN"):
        FCA(patch_size=3).score_features(features * torch.nan)
    with pytest.raises(ValueError, match="float tensor"):
        FCA(patch_size=3).score_features(features[0])
    with pytest.raises(ValueError, match="reaches 3 pixels"):
        FCA(patch_size=3, sigma_s=1.5).score_features(features)
    with pytest.raises(ValueError, match="sigma is 0"):
        FCA(patch_size=3, sigma_p=0).score_features(features)
    with pytest.raises(ValueError, match="reference is 'mean'"):
        FCA(patch_size=3, reference="mean").score_features(features)
    with pytest.raises(ValueError, match="no backbone"):
        FCA().score(torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match="shape"):
        FCA(lambda x: [x]).score(torch.rand(3, 32, 32))
    with pytest.raises(ValueError, match="smaller stride"):
        FCA(efficientnet_lite0((16,))).score(torch.rand(1, 3, 64, 64))


def test_scores_must_belong_together():
    with pytest.raises(ValueError, match=r"\(N,\)"):
        Scores(torch.rand(3, 4, 5), torch.rand(2))
    with pytest.raises(ValueError, match=r"\(N,H,W\)"):
        Scores(torch.rand(4, 5), torch.rand(4))
