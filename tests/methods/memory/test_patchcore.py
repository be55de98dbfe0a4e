import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from otad.features.handcrafted import colours
from otad.features.pretrained import efficientnet_lite0
from otad.methods.maps import smooth
from otad.methods.memory.patchcore import PatchCore, eq7_weight, greedy_coreset, patch_features
from otad.methods.nearest import nearest

GOLDEN = Path(__file__).parents[2] / "golden" / "patchcore.npz"


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def plain(images):
    return [colours(images)]


@pytest.fixture
def golden():
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(file[name]) for name in file}


# Features ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 5])
def test_patch_features_are_means_over_the_pixels_that_exist(size):
    features, r = rand(2, 3, 6, 9), size // 2
    found = patch_features([features], size)
    for y, x in itertools.product(range(6), range(9)):
        window = features[..., max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1]
        torch.testing.assert_close(found[..., y, x], window.mean(dim=(-2, -1)))


def test_maps_are_resized_to_the_largest_and_concatenated():
    large, small = rand(2, 3, 12, 20), rand(2, 5, 6, 10, seed=1)
    found = patch_features([large, small])
    assert found.shape == (2, 8, 12, 20)
    torch.testing.assert_close(found[:, :3], patch_features([large]))
    resized = F.interpolate(patch_features([small]), size=(12, 20), mode="bilinear")
    torch.testing.assert_close(found[:, 3:], resized)
    torch.testing.assert_close(patch_features([small, large])[:, 5:], patch_features([large]))
    flat = patch_features([torch.full((1, 2, 5, 7), 0.3), torch.full((1, 1, 3, 4), 0.7)])
    torch.testing.assert_close(flat[0, :, 2, 3], torch.tensor([0.3, 0.3, 0.7]))
    assert float((flat - flat[..., :1, :1]).abs().max()) < 1e-6


def test_public_code_pools_alike_inside_and_counts_zeros_beyond_the_border(golden):
    maps, theirs = [golden["layer2"], golden["layer3"]], golden["embedding_zero_padded_pooling"]
    shares = [F.avg_pool2d(torch.ones_like(m), 3, 1, 1) for m in maps]  # of a window that is on the map
    inside = patch_features(shares, 1) > 1 - 1e-6
    found = patch_features(maps)
    torch.testing.assert_close(found[inside], theirs[inside], rtol=1e-4, atol=1e-5)
    for part in (inside[:, :6], inside[:, 6:]):  # of either map, some places are inside and some are not
        assert 0.1 < float(part.float().mean()) < 0.8
    assert float((found - theirs)[~inside].abs().mean()) > 0.1 * float(found.abs().mean())
    # The zeros are all of the difference.
    dimmed = [share * patch_features([m]) for m, share in zip(maps, shares, strict=True)]
    torch.testing.assert_close(patch_features(dimmed, 1), theirs, rtol=1e-4, atol=1e-5)


# Coreset -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_every_step_takes_the_farthest_point(seed):
    points = rand(41, 5, seed=seed)
    chosen = greedy_coreset(points, 17, seed=seed).tolist()
    assert len(set(chosen)) == 17
    distances = torch.cdist(points, points)
    for step in range(1, 17):
        gap = distances[:, chosen[:step]].amin(dim=1)
        assert chosen[step] == int(gap.argmax())
    assert greedy_coreset(points, 9, seed=seed).tolist() == chosen[:9]


def test_public_code_chooses_the_same_points_in_the_same_order(golden):
    points, order = golden["coreset_points"], golden["coreset_order"].tolist()
    seed = next(s for s in itertools.count() if greedy_coreset(points, 1, seed=s).tolist() == order[:1])
    assert greedy_coreset(points, len(order), seed=seed).tolist() == order


def test_radius_is_at_most_twice_the_best():
    points = rand(12, 2)
    distances = torch.cdist(points, points)
    best = min(float(distances[:, c].amin(1).max()) for c in itertools.combinations(range(12), 3))
    found = float(distances[:, greedy_coreset(points, 3)].amin(1).max())
    assert best <= found <= 2 * best


def test_coreset_of_all_points_is_all_points_even_if_they_are_equal():
    for points in (rand(13, 4), torch.ones(13, 4), rand(1, 4).repeat(13, 1) + 1e6):
        assert sorted(greedy_coreset(points, 13).tolist()) == list(range(13))


def test_duplicates_come_last():
    points = torch.cat([rand(7, 3), rand(7, 3)])
    assert {i % 7 for i in greedy_coreset(points, 7).tolist()} == set(range(7))


def test_start_and_projection_follow_the_seed():
    points = rand(50, 30)
    first = {greedy_coreset(points, 5, seed=s)[0].item() for s in range(20)}
    assert len(first) > 5
    one, again, other = (greedy_coreset(points, 20, seed=s, projection=4).tolist() for s in (3, 3, 4))
    assert one == again != other
    assert one[1:] != greedy_coreset(points, 20, seed=3).tolist()[1:]
    same = greedy_coreset(points, 20, seed=3, projection=30).tolist()  # nothing to gain: left out
    assert same == greedy_coreset(points, 20, seed=3).tolist()


def test_a_projection_still_covers():
    """Johnson-Lindenstrauss: the radius grows a little, while random choice misses whole clusters."""
    centres = 10 * rand(12, 200, seed=5)
    points = torch.cat([c + 0.1 * rand(1 if i else 300, 200, seed=i) for i, c in enumerate(centres)])
    chosen = greedy_coreset(points, 12, projection=16)
    assert float(torch.cdist(points, points[chosen]).amin(1).max()) < 3


# The image score ---------------------------------------------------------------------------------------


def test_eq_7_by_hand():
    memory = torch.tensor([[0.0], [1.0], [3.0], [50.0]])
    query = torch.tensor([-2.0])  # distances 2, 3, 5 to the entry 0 and its neighbours
    expected = 1 - math.exp(2) / (math.exp(2) + math.exp(3) + math.exp(5))
    assert float(eq7_weight(query, memory, 0, b=3)) == pytest.approx(expected)
    assert float(eq7_weight(query, memory, 0, b=2)) == pytest.approx(
        1 - math.exp(2) / (math.exp(2) + math.exp(3))
    )
    assert float(eq7_weight(query, memory * 0, 0, b=4)) == pytest.approx(3 / 4)


def test_a_rare_neighbour_counts_more():
    common = torch.cat([torch.zeros(1, 2), 0.01 * rand(8, 2, dtype=torch.float32)])
    rare = torch.cat([torch.zeros(1, 2), 5 - 0.01 * rand(8, 2, dtype=torch.float32)])
    query = torch.tensor([-1.0, 0.0])
    assert float(eq7_weight(query, rare, 0)) > 0.95 > 0.9 > float(eq7_weight(query, common, 0)) >= 1 - 1 / 9


def test_public_code_gives_the_same_distances_neighbours_and_image_scores(golden):
    maps, memory = golden["embedding_zero_padded_pooling"], golden["memory"]
    far, which = nearest(maps.movedim(1, -1).flatten(0, 2), memory)
    assert torch.equal(which.view_as(golden["nearest"]), golden["nearest"])
    torch.testing.assert_close(
        far.view_as(golden["patch_scores"]), golden["patch_scores"], rtol=1e-4, atol=1e-5
    )

    def given(image):  # a black picture has the first map, a white one the second
        return [maps[image[:, 0, 0, 0].long()]]

    images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, *maps.shape[-2:]).contiguous()
    method = PatchCore(given, patch_size=1, b=9, sigma=None)
    method.memory_ = memory
    scores = method.score(images)
    torch.testing.assert_close(scores.maps, golden["patch_scores"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores.image_scores, golden["image_score_eq7_b9"], rtol=1e-4, atol=1e-5)
    method.b = 8  # m* is one of the b
    assert bool((method.score(images).image_scores < golden["image_score_eq7_b9"] - 1e-3).all())


@pytest.mark.parametrize("reweight", [False, True])
def test_image_score_is_the_worst_patch_weighted_or_not(reweight):
    train, test = rand(2, 3, 9, 12), rand(3, 3, 9, 12, seed=1)
    method = PatchCore(plain, coreset_ratio=0.3, reweight=reweight, b=4).fit(train)
    found = method.score(test).image_scores
    for image, score in zip(test, found, strict=True):
        points = method.features(image[None])[0].flatten(1).T
        distances, entries = nearest(points, method.memory_)
        worst = int(distances.argmax())
        factor = eq7_weight(points[worst], method.memory_, int(entries[worst]), 4) if reweight else 1.0
        assert float(score) == pytest.approx(float(distances[worst, 0] * factor))


# The whole ---------------------------------------------------------------------------------------------


def test_maps_are_the_resized_and_smoothed_distances():
    train, test = rand(2, 3, 16, 24), rand(1, 3, 16, 24, seed=1)

    def pooled(images):
        return [F.avg_pool2d(images, 2), F.avg_pool2d(images, 4)]

    method = PatchCore(pooled, coreset_ratio=0.5, sigma=None).fit(train)
    assert method.memory_.shape == (96, 6)
    points = patch_features(pooled(test))[0].flatten(1).T
    small = torch.cdist(points, method.memory_).amin(1).view(1, 1, 8, 12)
    expected = F.interpolate(small, size=(16, 24), mode="bilinear")[0]
    scores = method.score(test)
    torch.testing.assert_close(scores.maps, expected)
    smoothed = PatchCore(pooled, coreset_ratio=0.5).fit(train).score(test)
    torch.testing.assert_close(smoothed.maps, smooth(expected, 4.0))
    torch.testing.assert_close(smoothed.image_scores, scores.image_scores)


def test_memory_is_made_of_training_patches_and_follows_ratio_and_seed():
    train = rand(3, 3, 10, 14)
    method = PatchCore(plain, coreset_ratio=0.1, seed=2).fit(train)
    assert method.memory_.shape == (42, 3)
    points = method.features(train).movedim(1, -1).flatten(0, 2)
    assert float(nearest(method.memory_, points)[0].max()) == 0
    assert torch.equal(method.memory_, points[greedy_coreset(points, 42, seed=2)])
    assert len(PatchCore(plain, coreset_ratio=1e-9).fit(train).memory_) == 1


def test_a_full_memory_knows_its_images_in_any_order_and_number():
    train, test = rand(4, 3, 9, 13), rand(2, 3, 9, 13, seed=1)
    method = PatchCore(plain, coreset_ratio=1.0).fit(train)
    assert float(method.score(train).maps.abs().max()) == 0
    assert float(method.score(train).image_scores.abs().max()) == 0
    expected = method.score(test)
    for order in ([3, 1, 0, 2], [0, 1, 2, 3, 1, 1]):
        found = PatchCore(plain, coreset_ratio=1.0, reweight=False).fit(train[order]).score(test)
        torch.testing.assert_close(found.maps, expected.maps)


def test_constant_images_score_zero():
    flat = torch.full((2, 3, 8, 11), 0.4)
    scores = PatchCore(plain).fit(flat).score(flat)
    assert float(scores.maps.abs().max()) == 0
    assert float(scores.image_scores.abs().max()) == 0


@pytest.mark.parametrize("n_train", [1, 3])
def test_a_blob_is_found_with_one_or_more_normal_images(n_train):
    images = 0.4 + 0.2 * rand(5, 3, 96, 128, dtype=torch.float32)
    images[4, :, 40:64, 70:94] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    method = PatchCore(efficientnet_lite0((4, 8)), coreset_ratio=0.2).fit(images[:n_train])
    scores = method.score(images[3:])
    assert scores.maps.shape == (2, 96, 128)
    assert scores.maps.dtype == torch.float32
    y, x = divmod(int(scores.maps[1].argmax()), 128)
    assert 40 <= y < 64
    assert 70 <= x < 94
    assert float(scores.image_scores[1]) > 1.5 * float(scores.image_scores[0])
    single = method.score(images[4:])
    torch.testing.assert_close(single.maps[0], scores.maps[1])


def test_defaults_are_those_of_the_paper():
    method = PatchCore(plain)
    assert (method.patch_size, method.projection, method.reweight, method.sigma) == (3, 128, True, 4.0)
    assert method.memory_ is None


def test_bad_input_is_refused():
    images = torch.rand(2, 3, 8, 9)
    with pytest.raises(ValueError, match="call fit"):
        PatchCore(plain).score(images)
    with pytest.raises(ValueError, match="shape"):
        PatchCore(plain).fit(images[:0])
    with pytest.raises(ValueError, match="NaN"):
        PatchCore(plain).fit(images * torch.nan)
    with pytest.raises(ValueError, match="coreset_ratio is 0"):
        PatchCore(plain, coreset_ratio=0).fit(images)
    with pytest.raises(ValueError, match="odd size"):
        PatchCore(plain, patch_size=2).fit(images)
    with pytest.raises(ValueError, match="at least one map"):
        PatchCore(lambda x: []).fit(images)
    with pytest.raises(ValueError, match="at least two"):
        PatchCore(plain, b=1).fit(images).score(images)
    with pytest.raises(ValueError, match="1 entries"):
        PatchCore(plain, coreset_ratio=1e-9).fit(images).score(images)
    with pytest.raises(ValueError, match="sigma is 0"):
        PatchCore(plain, sigma=0).fit(images).score(images)
    with pytest.raises(ValueError, match="n is 9"):
        greedy_coreset(rand(8, 2), 9)
