import itertools

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from skimage.segmentation import felzenszwalb

from otad.methods.saliency.contrast import (
    HistogramContrast,
    RegionContrast,
    colour_contrast,
    palette,
    region_contrast,
)

METHODS = [HistogramContrast, RegionContrast]


def rand(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def array(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def test_palette_keeps_the_frequent_colours():
    image = np.zeros((10, 20, 3))
    image[:, :12] = [0.9, 0.1, 0.1]
    image[:, 12:19] = [0.1, 0.1, 0.9]
    image[:, 19] = [0.9, 0.2, 0.1]  # 5 %, another bin, nearest to the first
    labels, colours, shares = palette(image, 12, 0.95)
    assert labels.tolist() == [[0] * 12 + [1] * 7 + [0]] * 10
    np.testing.assert_allclose(colours, rgb2lab(np.array([[[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]]]))[0])
    np.testing.assert_allclose(shares, [0.65, 0.35])
    assert len(palette(image, 12, 0.96)[1]) == 3
    assert len(palette(image, 1, 1.0)[1]) == 1


def test_palette_of_random_colours():
    image = array(13, 17, 3)
    labels, colours, shares = palette(image, 4, 0.8)
    assert labels.shape == (13, 17)
    assert 1 < len(colours) < 64
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(np.bincount(labels.ravel()) / labels.size, shares)
    everything = palette(image, 4, 1.0)[0]
    bins = (image * 4).astype(int) @ [16, 4, 1]
    pairs = set(zip(bins.ravel().tolist(), everything.ravel().tolist(), strict=True))
    assert len(pairs) == len(set(bins.ravel().tolist()))  # one label a bin


def test_colour_contrast_is_eq_3_and_4():
    colours, shares = 100 * array(11, 3), array(11, seed=1)
    shares /= shares.sum()
    distances = np.array([[np.linalg.norm(a - b) for b in colours] for a in colours])
    contrast = [sum(shares[j] * distances[i, j] for j in range(11)) for i in range(11)]
    found = colour_contrast(colours, shares)
    for i in range(11):
        near = sorted(range(11), key=lambda j: distances[i, j])[:2]
        total = sum(distances[i, j] for j in near)
        expected = sum((total - distances[i, j]) * contrast[j] for j in near) / total
        assert found[i] == pytest.approx(expected)


def test_smoothing_uses_a_quarter_of_the_colours():
    colours = np.arange(20.0)[:, None] * [1.0, 0, 0]
    shares = np.full(20, 0.05)
    found = colour_contrast(colours, shares)
    contrast = [np.abs(np.arange(20) - i).mean() for i in range(20)]
    expected = sum((6 - d) * contrast[10 + s] for s, d in [(0, 0), (1, 1), (-1, 1), (2, 2), (-2, 2)]) / (
        4 * 6
    )
    assert found[10] == pytest.approx(expected)  # m = 5, T = 0 + 1 + 1 + 2 + 2


def test_region_contrast_is_eq_7_pixel_by_pixel():
    regions = np.array([[0, 0, 1, 1, 2], [0, 0, 1, 2, 2], [3, 3, 3, 2, 2]])
    labels = np.random.default_rng(0).integers(0, 6, regions.shape)
    colours = 100 * array(6, 3)
    found = region_contrast(regions, labels, colours, 0.4)
    places = list(itertools.product(range(3), range(5)))
    inside = [[p for p in places if regions[p] == r] for r in range(4)]
    centre = [np.mean([((y + 0.5) / 3, (x + 0.5) / 5) for y, x in pixels], axis=0) for pixels in inside]
    for r in range(4):
        expected = 0.0
        for s in set(range(4)) - {r}:
            pairs = itertools.product(inside[r], inside[s])
            apart = np.mean([np.linalg.norm(colours[labels[p]] - colours[labels[q]]) for p, q in pairs])
            expected += np.exp(-np.linalg.norm(centre[r] - centre[s]) / 0.4) * len(inside[s]) / 15 * apart
        assert found[r] == pytest.approx(expected)


def test_histogram_contrast_does_not_care_where_pixels_are():
    images = rand(2, 3, 12, 17)
    found = HistogramContrast().score(images)
    order = torch.randperm(204, generator=torch.Generator().manual_seed(1))
    mixed = HistogramContrast().score(images.flatten(2)[..., order].view_as(images))
    torch.testing.assert_close(mixed.maps.flatten(1), found.maps.flatten(1)[:, order])
    torch.testing.assert_close(mixed.image_scores, found.image_scores)
    twice = HistogramContrast().score(torch.cat([images, images], dim=3))
    torch.testing.assert_close(twice.maps[..., :17], found.maps)


def test_region_contrast_is_constant_on_regions():
    image = rand(3, 6, 8).repeat_interleave(8, 1).repeat_interleave(8, 2)
    method = RegionContrast(min_size=20)
    found = method.score(image[None]).maps[0]
    regions = felzenszwalb(image.permute(1, 2, 0).double().numpy(), scale=50, sigma=0.5, min_size=20)
    assert regions.max() > 10
    for r in range(regions.max() + 1):
        values = found[torch.from_numpy(regions == r)]
        assert float(values.max() - values.min()) == 0


def test_regions_far_away_matter_less_with_a_small_width():
    image = torch.full((3, 40, 80), 0.5)
    image[:, 15:25, 30:40], image[:, 15:25, 41:51] = 0.9, 0.7
    far = RegionContrast(sigma_s2=1e6, normalise=False, min_size=20).score(image[None]).maps[0]
    near = RegionContrast(sigma_s2=0.1, normalise=False, min_size=20).score(image[None]).maps[0]
    assert float(far[20, 35]) > float(near[20, 35]) > 0


@pytest.mark.parametrize("method", METHODS)
def test_a_rare_colour_stands_out(method):
    images = 0.5 + 0.02 * rand(2, 3, 48, 64)
    images[1, :, 10:30, 35:55] = torch.tensor([0.9, 0.2, 0.1])[:, None, None]
    scores = method().score(images)
    assert scores.maps.shape == (2, 48, 64)
    inside, outside = scores.maps[1, 14:26, 39:51], scores.maps[1, :, :30]
    assert float(inside.min()) > float(outside.max())
    assert float(inside.max()) == pytest.approx(1)
    assert float(scores.image_scores[1]) > 3 * float(scores.image_scores[0])


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_image_has_no_contrast(method):
    for value in (0.0, 0.37, 1.0):
        scores = method().score(torch.full((1, 3, 20, 30), value))
        assert float(scores.maps.abs().max()) == 0
        assert float(scores.image_scores[0]) == 0


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_normalised_image_scores_are_not_and_types_are_kept(method):
    images = rand(3, 3, 10, 12, dtype=torch.float64).repeat_interleave(4, 2).repeat_interleave(4, 3)
    images *= torch.tensor([1, 0.8, 0.6]).view(3, 1, 1, 1)
    scores, raw = method().score(images), method(normalise=False).score(images)
    assert scores.maps.dtype == torch.float64
    assert method().score(images.float()).maps.dtype == torch.float32
    torch.testing.assert_close(scores.maps.amax(dim=(1, 2)), torch.ones(3, dtype=torch.float64))
    assert float(scores.maps.amin()) == 0
    assert torch.equal(scores.image_scores, raw.maps.amax(dim=(1, 2)))
    assert torch.equal(method().score(images[1:2]).maps[0], scores.maps[1])


@pytest.mark.parametrize("method", METHODS)
def test_bad_input_is_refused(method):
    images = rand(1, 3, 12, 15)
    with pytest.raises(ValueError, match="levels is 0"):
        method(levels=0).score(images)
    for coverage in (0, 1.1):
        with pytest.raises(ValueError, match="share in"):
            method(coverage=coverage).score(images)
    with pytest.raises(ValueError, match="shape"):
        method().score(images[0])
    with pytest.raises(ValueError, match="clip"):
        method().score(images + 1)
    with pytest.raises(ValueError, match="sigma_s2 is 0"):
        RegionContrast(sigma_s2=0).score(images)
