from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from otad.methods import PaDiM

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
    torch.testing.assert_close(inverse, golden["inverse_covariance"].double(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        method.distances(indices(n + m)[n:]), golden["distance"].float(), rtol=1e-4, atol=1e-4
    )


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
