import itertools

import pytest
import torch
import torch.nn.functional as F

from otad.features.handcrafted import colours
from otad.features.pretrained import efficientnet_lite0
from otad.methods.maps import smooth
from otad.methods.matching import aota
from otad.methods.matching.aota import Aota


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def in_loops(features, size, k):
    """Means and neighbours read off the description, pixel by pixel."""
    r, (h, w) = size // 2, features.shape[1:]
    padded = F.pad(features[None], (r, r, r, r), mode="reflect")[0]
    pixels = list(itertools.product(range(h), range(w)))
    means = [padded[:, y : y + size, x : x + size].mean(dim=(1, 2)) for y, x in pixels]
    scores = [sorted(float((a - b).square().sum()) for b in means)[:k] for a in means]
    return torch.tensor([sum(s) / k for s in scores], dtype=features.dtype).view(h, w)


@pytest.mark.parametrize(("size", "k"), [(1, 1), (1, 7), (3, 5), (5, 63)])
@pytest.mark.parametrize("block", [1, 100, 2**24])
def test_map_is_the_mean_of_the_nearest(size, k, block, monkeypatch):
    monkeypatch.setattr(aota, "BLOCK", block)
    features = rand(4, 7, 9, seed=size)
    found = Aota(patch_size=size, k=k).score_features(features)
    torch.testing.assert_close(found, in_loops(features, size, k), atol=1e-12, rtol=1e-7)


def test_a_quarter_of_the_locations_by_default():
    features = rand(3, 10, 14)
    assert torch.equal(Aota().score_features(features), Aota(k=35).score_features(features))
    assert Aota().patch_size == 3
    paper = Aota(k=400).score_features(rand(2, 40, 40))
    torch.testing.assert_close(Aota().score_features(rand(2, 40, 40)), paper)


def test_alone_a_location_is_its_own_nearest():
    assert float(Aota(k=1).score_features(rand(5, 9, 11)).max()) < 1e-14


def test_constant_features_score_zero():
    assert float(Aota().score_features(torch.full((3, 8, 13), 0.7)).abs().max()) == 0


def test_a_periodic_map_with_enough_copies_scores_zero_and_with_too_few_is_periodic():
    tile = rand(3, 4, 5)
    features = tile.repeat(1, 3, 4)  # 12 copies of each location
    assert float(Aota(patch_size=1, k=12).score_features(features).max()) < 1e-14
    found = Aota(patch_size=1, k=30).score_features(features)
    assert float(found.min()) > 1e-3
    torch.testing.assert_close(found, found[:4, :5].repeat(3, 4))
    shifted = Aota(patch_size=1, k=30).score_features(features.roll((1, 2), (1, 2)))
    torch.testing.assert_close(shifted, found.roll((1, 2), (0, 1)))


def test_places_and_channels_do_not_matter_only_values_do():
    features = rand(4, 6, 9)
    found = Aota(patch_size=1).score_features(features)
    order = torch.randperm(54, generator=torch.Generator().manual_seed(1))
    mixed = Aota(patch_size=1).score_features(features.flatten(1)[:, order].view(4, 6, 9))
    torch.testing.assert_close(mixed.flatten(), found.flatten()[order])
    torch.testing.assert_close(Aota(patch_size=1).score_features(features[[2, 0, 3, 1]]), found)
    torch.testing.assert_close(Aota(patch_size=1).score_features(features + 7), found)


def test_duplicates_with_as_many_neighbours_change_nothing():
    features = rand(4, 6, 9)
    twice = Aota(patch_size=1, k=20).score_features(features.repeat(1, 1, 2))
    torch.testing.assert_close(twice[:, :9], Aota(patch_size=1, k=10).score_features(features))


def test_images_are_scored_one_by_one_resized_and_smoothed():
    images = rand(3, 3, 32, 44, dtype=torch.float32)

    def pooled(x):
        return [F.avg_pool2d(x, 4)]

    method = Aota(pooled, sigma=2.0, scale=False)
    scores = method.score(images)
    assert scores.maps.shape == (3, 32, 44)
    assert scores.maps.dtype == torch.float32
    assert torch.equal(scores.image_scores, scores.maps.amax(dim=(1, 2)))
    small = method.score_features(pooled(images[1:2])[0][0])
    large = F.interpolate(small[None, None], size=(32, 44), mode="bilinear")[0]
    torch.testing.assert_close(scores.maps[1:2], smooth(large, 2.0))
    torch.testing.assert_close(Aota(pooled, sigma=None, scale=False).score(images).maps[1:2], large)


def test_scaling_makes_channels_equal_and_can_be_left_out():
    images = rand(1, 3, 20, 24)
    factor = torch.tensor([1.0, 100.0, 0.01], dtype=torch.float64)[:, None, None]
    one, other = Aota(lambda x: [x]).score(images).maps, Aota(lambda x: [x * factor - 5]).score(images).maps
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    raw = Aota(lambda x: [x * factor], scale=False).score(images).maps
    assert float(raw.max()) > 100 * float(one.max())


def test_maps_of_several_strides_are_averaged():
    images = rand(1, 3, 96, 120, dtype=torch.float32)
    both = Aota(efficientnet_lite0((4, 8))).score(images).maps
    single = [Aota(efficientnet_lite0((s,))).score(images).maps for s in (4, 8)]
    torch.testing.assert_close(both, (single[0] + single[1]) / 2)


def test_a_blob_is_found():
    images = 0.4 + 0.2 * rand(2, 3, 96, 128, dtype=torch.float32)
    images[1, :, 40:64, 70:94] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    scores = Aota(efficientnet_lite0((8,))).score(images)
    y, x = divmod(int(scores.maps[1].argmax()), 128)
    assert 40 <= y < 64
    assert 70 <= x < 94
    assert float(scores.image_scores[1]) > 1.5 * float(scores.image_scores[0])


def test_bad_input_is_refused():
    features = rand(2, 9, 11)
    with pytest.raises(ValueError, match="odd"):
        Aota(patch_size=4).score_features(features)
    with pytest.raises(ValueError, match="patch_size = 11"):
        Aota(patch_size=11).score_features(features)
    with pytest.raises(ValueError, match="NaN"):
        Aota().score_features(features * torch.nan)
    for k in (0, 100):
        with pytest.raises(ValueError, match="expected 1 to 99"):
            Aota(k=k).score_features(features)
    with pytest.raises(ValueError, match="no backbone"):
        Aota().score(torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match="shape"):
        Aota(lambda x: [colours(x)]).score(torch.rand(3, 32, 32))
    with pytest.raises(ValueError, match="sigma is -1"):
        Aota(lambda x: [x], sigma=-1).score(torch.rand(1, 3, 32, 32))
