from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import mahalanobis

from otad.methods import PaDiM
from otad.methods.density.padim import Banded
from otad.methods.maps import smooth

GOLDEN = Path(__file__).parents[2] / "golden" / "padim.npz"


def given(maps):
    """A backbone that returns these maps for images that hold their index in the first value."""
    return lambda images: [maps[torch.round(images[:, 0, 0, 0] * 100).long()]]


def indices(n, size=(16, 24)):
    return (torch.arange(n) / 100).view(-1, 1, 1, 1).expand(n, 3, *size).contiguous()


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


@pytest.fixture
def golden():
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(file[name]) for name in file}


def test_public_code_gives_the_same(golden):
    n, m = len(golden["train"]), len(golden["test"])
    both = torch.cat([golden["train"], golden["test"]]).float()
    method = PaDiM(given(both), dimension=None, epsilon=0.01 + 1e-5, sigma=None).fit(indices(n + m)[:n])
    torch.testing.assert_close(method.mean_.T, golden["mean"].float(), rtol=1e-4, atol=1e-5)
    inverse = torch.cholesky_inverse(method.factor_.double())
    torch.testing.assert_close(inverse, golden["inverse_covariance"].double(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(
        method.distances(indices(n + m)[n:]), golden["distance"].float(), rtol=1e-4, atol=1e-4
    )


def test_public_code_smooths_alike_inside_and_mirrors_the_border(golden):
    n, theirs = len(golden["train"]), golden["maps_sigma4"]
    images = indices(n + len(golden["test"]), theirs.shape[-2:])
    both = torch.cat([golden["train"], golden["test"]])
    method = PaDiM(given(both), dimension=None, epsilon=0.01 + 1e-5).fit(images[:n])
    found = method.score(images[n:]).maps
    r, close = 16, {"rtol": 1e-4, "atol": 1e-4}  # theirs ends after 4 sigma
    torch.testing.assert_close(found[:, r:-r, r:-r], theirs[:, r:-r, r:-r], **close)
    assert float((found - theirs).abs().max()) > 100 * float((found - theirs)[:, r:-r, r:-r].abs().max())
    method.sigma = None
    mirrored = F.pad(method.score(images[n:]).maps, (r, r, r, r), mode="reflect")
    torch.testing.assert_close(smooth(mirrored, 4.0)[:, r:-r, r:-r], theirs, rtol=1e-4, atol=1e-3)


def test_public_code_repeats_values_of_small_maps(golden):
    layers = [golden[f"layer_{name}"].float() for name in "abc"]
    method = PaDiM(lambda images: [layer[: len(images)] for layer in layers], upsampling="nearest")
    found = method._embedded(torch.zeros(len(layers[0]), 3, 32, 32))
    torch.testing.assert_close(found, golden["embedding_nearest"].float())


def test_distances_are_scipys():
    maps = rand(30, 4, 2, 3)
    method = PaDiM(given(maps), dimension=None, epsilon=0.1).fit(indices(30)[:20])
    found = method.distances(indices(30)[20:])
    for y in range(2):
        for x in range(3):
            points = maps[:20, :, y, x].double().numpy()
            inverse = np.linalg.inv(np.cov(points.T) + 0.1 * np.eye(4))
            for i in (20, 29):
                expected = mahalanobis(maps[i, :, y, x].double().numpy(), points.mean(0), inverse)
                assert float(found[i - 20, y, x]) == pytest.approx(expected, rel=1e-4)


def test_without_a_ridge_invertible_maps_of_the_channels_change_nothing():
    maps, mix = rand(30, 4, 2, 3), rand(4, 4, seed=1)
    mixed = torch.einsum("ij,njhw->nihw", mix, maps)
    plain, turned = (
        PaDiM(given(m), dimension=None, epsilon=0.0).fit(indices(30)[:20]).distances(indices(30)[20:])
        for m in (maps, mixed)
    )
    torch.testing.assert_close(plain, turned, rtol=1e-3, atol=1e-3)


def test_one_picture_leaves_the_distance_of_euclid():
    maps = rand(3, 4, 2, 3)
    found = PaDiM(given(maps), dimension=None, epsilon=0.25).fit(indices(3)[:1]).distances(indices(3)[1:])
    torch.testing.assert_close(found, 2 * (maps[1:] - maps[0]).norm(dim=1))


def test_channels_follow_the_seed():
    maps = rand(5, 9, 2, 3)
    first, again, other = (
        PaDiM(given(maps), dimension=4, seed=s).fit(indices(5)).channels_.tolist() for s in (0, 0, 1)
    )
    assert first == again != other
    assert len(set(first)) == 4
    assert PaDiM(given(maps), dimension=None).fit(indices(5)).channels_.tolist() == list(range(9))


def test_maps_have_the_size_of_the_images():
    maps = rand(5, 9, 2, 3)
    scores = PaDiM(given(maps)).fit(indices(5)).score(indices(5))
    assert scores.maps.shape == (5, 16, 24)
    assert bool((scores.image_scores > 0).all())


@pytest.mark.parametrize("kind", [PaDiM, Banded])
def test_pictures_stand_alone(kind):
    maps = rand(38, 9, 2, 3)
    maps[21] *= 1000
    method = kind(given(maps), dimension=5).fit(indices(38)[:20])
    together = method.score(indices(38)[20:])
    for i in (0, 1, 17):
        alone = method.score(indices(38)[20 + i : 21 + i])
        # Not to the bit: a triangular solve for one picture rounds otherwise than one for many.
        close = {"rtol": 1e-5, "atol": 1e-5}
        torch.testing.assert_close(together.maps[i : i + 1], alone.maps, **close)
        torch.testing.assert_close(together.image_scores[i : i + 1], alone.image_scores, **close)


def test_bad_input_is_refused():
    maps = rand(5, 9, 2, 3)
    with pytest.raises(ValueError, match="call fit"):
        PaDiM(given(maps)).score(indices(5))
    with pytest.raises(ValueError, match="epsilon is -1"):
        PaDiM(given(maps), epsilon=-1.0).fit(indices(5))
    with pytest.raises(ValueError, match="6 of 6 covariances of 5 pictures are singular"):
        PaDiM(given(maps), dimension=None, epsilon=0.0).fit(indices(5))
    with pytest.raises(ValueError, match="fitted to"):
        PaDiM(given(maps)).fit(indices(5)).score(indices(5, (24, 16)))


@pytest.mark.parametrize(("n", "band"), [(1, 1), (2, 5), (9, 64), (40, 7)])
def test_bands_of_places_give_the_same(n, band):
    maps = rand(60, 6, 4, 5, seed=3)
    images = indices(60)
    whole = PaDiM(given(maps), dimension=4, sigma=2.0).fit(images[:n])
    parts = Banded(given(maps), dimension=4, sigma=2.0, band=band).fit(images[:n])
    for name in ("mean_", "factor_", "channels_"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-6, atol=1e-7)
    assert parts.size_ == whole.size_
    torch.testing.assert_close(
        parts.score(images[n:]).maps, whole.score(images[n:]).maps, rtol=1e-5, atol=1e-6
    )


def test_bands_refuse_what_the_whole_refuses_and_leave_what_was_learnt():
    maps = rand(8, 3, 2, 2, seed=4)
    method = Banded(given(maps), dimension=None, band=3).fit(indices(8))
    before = method.factor_.clone()
    method.epsilon = 0.0
    with pytest.raises(ValueError, match="are singular with epsilon"):
        method.fit(indices(2))
    assert torch.equal(method.factor_, before)
    for own, said in (
        ({"band": 0}, "band is 0"),
        ({"dimension": 0}, "dimension is 0"),
        ({"epsilon": -1.0}, "epsilon is -1"),
    ):
        with pytest.raises(ValueError, match=said):
            Banded(given(maps), **own).fit(indices(8))
    with pytest.raises(ValueError, match="call fit"):
        Banded(given(maps)).score(indices(2))
