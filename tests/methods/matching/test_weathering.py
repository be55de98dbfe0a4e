import itertools

import pytest
import torch

from otad.methods.matching import weathering
from otad.methods.matching.weathering import Weathering


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def in_loops(image, size, k, stride):
    """Age of each patch, and then of each pixel, read off the description."""
    h, w = (side - size + 1 for side in image.shape[1:])
    corners = list(itertools.product(range(h), range(w)))
    aged = itertools.product(sorted({*range(0, h, stride), h - 1}), sorted({*range(0, w, stride), w - 1}))
    total, count = torch.zeros(2, *image.shape[1:], dtype=image.dtype)

    def cut(y, x):
        return image[:, y : y + size, x : x + size]

    for y, x in aged:
        apart = [(v, u) for v, u in corners if abs(v - y) >= size or abs(u - x) >= size]
        differences = sorted(float((cut(y, x) - cut(*c)).square().mean().sqrt()) for c in apart)[:k]
        total[y : y + size, x : x + size] += sum(differences) / len(differences)
        count[y : y + size, x : x + size] += 1
    return total / count


@pytest.mark.parametrize(("size", "share", "stride"), [(1, 0.02, 1), (3, 0.1, 1), (3, 0.1, 2), (3, 1.0, 3)])
@pytest.mark.parametrize("block", [1, 2**23])
def test_age_is_the_mean_distance_to_the_nearest_apart(size, share, stride, block, monkeypatch):
    monkeypatch.setattr(weathering, "BLOCK", block)
    image = rand(3, 9, 12)
    k = max(1, round(share * (10 - size) * (13 - size)))
    found = Weathering(size, share, stride).age(image)
    torch.testing.assert_close(found, in_loops(image, size, k, stride), atol=1e-7, rtol=1e-6)


def test_a_periodic_texture_and_a_constant_one_are_new():
    tile = rand(3, 5, 6, dtype=torch.float32)
    texture = tile.repeat(1, 5, 6)
    for image in (texture, texture.roll((2, 3), (1, 2)), torch.full((3, 25, 36), 0.3)):
        assert float(Weathering(4, share=0.01, stride=1).age(image).max()) < 1e-3  # √ of float32 rounding
    assert float(Weathering(4, share=0.01).age(texture.double()).max()) < 1e-7
    assert float(Weathering(4, share=0.5).age(texture).min()) > 0.05


def test_turning_and_mirroring_the_image_turns_and_mirrors_the_age():
    image = rand(3, 17, 22)
    method = Weathering(3, stride=1)
    found = method.age(image)
    torch.testing.assert_close(method.age(image.flip(2)), found.flip(1))
    torch.testing.assert_close(method.age(image.transpose(1, 2)), found.T)
    torch.testing.assert_close(method.age(image[[2, 0, 1]]), found)
    torch.testing.assert_close(method.age(1 - image), found)


def test_age_is_a_difference_of_colours():
    image = rand(3, 20, 24)
    found = Weathering(3, stride=2).age(image)
    torch.testing.assert_close(Weathering(3, stride=2).age(image / 4), found / 4)
    assert 0 < float(found.min()) <= float(found.max()) < 1


def test_an_odd_blob_is_old_and_lies_where_it_is():
    tile = rand(3, 6, 6, dtype=torch.float32)
    images = tile.repeat(1, 7, 9)[None].repeat(2, 1, 1, 1)
    images = (0.8 * images + 0.1 * rand(2, 3, 42, 54, dtype=torch.float32)).clamp(0, 1)
    images[1, :, 15:24, 30:41] = rand(3, 9, 11, seed=3, dtype=torch.float32)
    scores = Weathering(6, stride=2).score(images)
    y, x = divmod(int(scores.maps[1].argmax()), 54)
    assert 15 <= y < 24
    assert 30 <= x < 41
    assert float(scores.image_scores[1]) > 3 * float(scores.image_scores[0])


def test_what_is_smooth_passes_for_common():
    """Its blind spot: a flat patch is nearer to noise than noise is to noise (σ against √2 σ)."""
    image = rand(3, 40, 50)
    image[:, 15:27, 20:32] = 0.5
    found = Weathering(5, stride=1).age(image)
    y, x = divmod(int(found.argmin()), 50)
    assert 15 <= y < 27
    assert 20 <= x < 32


def test_maps_are_normalised_and_image_scores_are_not():
    images = rand(3, 3, 20, 30, dtype=torch.float32)
    scores, raw = (
        Weathering(3, stride=2).score(images),
        Weathering(3, stride=2, normalise=False).score(images),
    )
    assert scores.maps.shape == (3, 20, 30)
    assert scores.maps.dtype == torch.float32
    assert torch.equal(scores.maps.amin(dim=(1, 2)), torch.zeros(3))
    torch.testing.assert_close(scores.maps.amax(dim=(1, 2)), torch.ones(3))
    assert torch.equal(scores.image_scores, raw.maps.amax(dim=(1, 2)))
    assert torch.equal(raw.image_scores, scores.image_scores)
    torch.testing.assert_close(raw.maps[1], Weathering(3, stride=2).age(images[1]))
    flat = Weathering(3, stride=2).score(torch.full((1, 3, 9, 12), 0.5))
    assert float(flat.maps.abs().max()) == 0


def test_candidates_are_drawn_by_the_seed():
    image = rand(3, 20, 24)
    everything = Weathering(3, stride=2).age(image)
    torch.testing.assert_close(Weathering(3, stride=2, n_candidates=18 * 22).age(image), everything)
    torch.testing.assert_close(Weathering(3, stride=2, n_candidates=10**6).age(image), everything)
    few = [Weathering(3, stride=2, n_candidates=50, seed=s).age(image) for s in (1, 1, 2)]
    assert torch.equal(few[0], few[1])
    assert not torch.equal(few[0], few[2])
    assert float(few[0].mean()) > float(everything.mean())  # one nearest of 50 is farther than of 396


def test_bad_input_is_refused():
    image = rand(3, 12, 12)
    for bad in ({"patch_size": 0}, {"stride": 0}, {"stride": 4}, {"share": 0}, {"share": 1.5}):
        with pytest.raises(ValueError, match="share in"):
            Weathering(**{"patch_size": 3, "stride": 3} | bad).age(image)
    with pytest.raises(ValueError, match="n_candidates is 0"):
        Weathering(3, stride=2, n_candidates=0).age(image)
    with pytest.raises(ValueError, match="raise n_candidates"):
        Weathering(3, stride=2, n_candidates=1).age(image)
    with pytest.raises(ValueError, match="14 pixels"):
        Weathering(5).age(image)
    with pytest.raises(ValueError, match="at least 13"):
        Weathering(13).age(image)
    assert Weathering(5).age(rand(3, 5, 14)).shape == (5, 14)
    with pytest.raises(ValueError, match="shape"):
        Weathering().score(image)
    with pytest.raises(ValueError, match="NaN"):
        Weathering().score(image[None] * torch.nan)
