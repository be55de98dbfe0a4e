from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import NearestNeighbors

from otad.methods import SPADE
from otad.methods.density.spade import correspondence
from otad.methods.nearest import nearest

GOLDEN = Path(__file__).parents[2] / "golden" / "spade_panda.npz"


def net(images):
    return [F.avg_pool2d(images, 2), F.avg_pool2d(images, 4)]


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def golden():
    with np.load(GOLDEN) as file:
        return {k: torch.from_numpy(np.asarray(file[k])) for k in file}


def test_neighbours_and_image_scores_are_the_golden_ones(golden):
    far, which = nearest(golden["global_test"], golden["global_train"], 5)
    assert torch.equal(which.sort(1).values, golden["neighbours_k5"].sort(1).values)
    torch.testing.assert_close(
        far.mean(1).double(), golden["image_score_mean_distance_k5"], rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        far.square().mean(1).double(), golden["image_score_mean_squared_k5"], rtol=1e-4, atol=1e-5
    )


def test_maps_are_exact_where_the_public_reimplementation_forgets_a_block(golden):
    found = torch.stack([
        correspondence(q, golden["map_train"][which]) for q, which in zip(golden["map_test"], golden["neighbours_k5"], strict=True)
    ])  # fmt: skip
    torch.testing.assert_close(found.double(), golden["map_exact"], rtol=1e-4, atol=1e-5)
    theirs = golden["map_repository_drops_remainder"]
    for q, which, exact, map_ in zip(golden["map_test"], golden["neighbours_k5"], found, theirs, strict=True):
        gallery = golden["map_train"][which].transpose(3, 1).flatten(0, 2)[..., None, None]
        kept = len(gallery) // 100 * 100
        assert 0 < kept < len(gallery)
        forgetful, whole = ((part - q + 1e-6).norm(dim=1).amin(0) for part in (gallery[:kept], gallery))
        torch.testing.assert_close(whole, exact, rtol=1e-4, atol=1e-5)
        assert bool((forgetful >= whole).all())
        assert float((forgetful - whole).max()) > 0.1 * float(whole.mean())
        # It is of 2020. Run today it sums over the width, not the channels: torch's pairwise_distance goes along the last axis.
        assert map_.shape == q.shape[:2] != exact.shape
        torch.testing.assert_close(
            F.pairwise_distance(gallery[:kept], q[None]).amin(0), map_, rtol=1e-4, atol=1e-5
        )


def test_distances_are_scikit_learn_s():
    query, gallery = rand(4, 5, 6), rand(7, 4, 5, 6, seed=1)
    points = gallery.movedim(1, -1).flatten(0, 2).numpy()
    expected, _ = NearestNeighbors(n_neighbors=3).fit(points).kneighbors(query.flatten(1).T.numpy())
    found = correspondence(query, gallery, 3).flatten()
    np.testing.assert_allclose(found, expected.mean(1), rtol=1e-5)


@pytest.mark.parametrize("pyramid", [True, False])
def test_all_neighbours_make_one_memory(pyramid):
    train, test = rand(6, 3, 16, 24), rand(2, 3, 16, 24, seed=1)
    whole, more = (SPADE(net, k=k, pyramid=pyramid, sigma=None).fit(train).score(test) for k in (6, 600))
    assert torch.equal(whole.maps, more.maps)
    few = SPADE(net, k=2, pyramid=pyramid, sigma=None).fit(train).score(test)
    assert bool((few.maps >= whole.maps - 1e-6).all())


def test_a_known_picture_scores_zero_and_a_blob_is_found():
    train = 0.5 + 0.05 * rand(6, 3, 16, 24)
    query = train[:2].clone()
    query[1, :, 4:9, 6:12] = 1.0
    scores = SPADE(net, k=3, sigma=None).fit(train).score(query)
    assert float(scores.maps[0].abs().max()) == 0
    y, x = divmod(int(scores.maps[1].argmax()), 24)
    assert 3 <= y < 10
    assert 5 <= x < 13


@pytest.mark.parametrize("pyramid", [True, False])
def test_pictures_stand_alone(pyramid):
    query = rand(3, 3, 16, 24, seed=1)
    query[0] = 0  # far from all others
    method = SPADE(net, k=2, pyramid=pyramid).fit(rand(6, 3, 16, 24))
    together = method.score(query)
    for i in range(3):
        alone = method.score(query[i : i + 1])
        assert torch.equal(together.maps[i : i + 1], alone.maps)
        assert torch.equal(together.image_scores[i : i + 1], alone.image_scores)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        SPADE(net).score(rand(1, 3, 16, 24))
    with pytest.raises(ValueError, match="k is 0"):
        SPADE(net, k=0).fit(rand(1, 3, 16, 24))
    with pytest.raises(ValueError, match=r"\(C,h,w\) and \(K,C,h,w\)"):
        correspondence(rand(4, 5, 6), rand(7, 3, 5, 6))
