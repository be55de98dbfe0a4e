from pathlib import Path

import numpy as np
import pytest
import torch

from otad.features.handcrafted import colours
from otad.methods import FastRecon
from otad.methods.memory.fastrecon import reconstruct

GOLDEN = Path(__file__).parents[2] / "golden" / "few_shot.npz"


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def regression(w, q, s, mean, lam):
    """‖Q − WS‖² + λ‖WS − μ‖², what FastRecon minimises over W."""
    return float((q - w @ s).square().sum() + lam * (w @ s - mean).square().sum())


def test_where_the_printed_inverse_does_not_exist_ours_is_the_minimum_and_public_codes_is_not():
    with np.load(GOLDEN) as file:
        q, s, mean, theirs, scores = (
            torch.from_numpy(file[name]).double()
            for name in ("query", "support", "mean", "fastrecon_reconstruction", "fastrecon_patch_scores")
        )
        lam = float(file["lam"])
    # Nine entries of seven channels: S Sᵀ has no inverse, and what public code gives is an inverse of rounding errors.
    assert int(torch.linalg.matrix_rank(s @ s.T)) < len(s)
    ours = reconstruct(q, s, mean, lam)
    torch.testing.assert_close(ours, (q + lam * mean) / (1 + lam))  # they span everything
    weights = ours @ torch.linalg.pinv(s), theirs @ torch.linalg.pinv(s)
    least, public = (regression(w, q, s, mean, lam) for w in weights)
    torch.testing.assert_close(weights[1] @ s, theirs)  # theirs is a reconstruction, but not the best one
    assert least < 0.6 * public
    torch.testing.assert_close(torch.linalg.vector_norm(q - theirs, dim=1), scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lam", [0.0, 0.7, 2.0])
def test_it_is_the_printed_regression_where_that_exists(lam):
    q, s, mean = rand(20, 7), rand(4, 7, seed=1), rand(20, 7, seed=2)
    w = (q @ s.T + lam * mean @ s.T) @ torch.linalg.inv((1 + lam) * s @ s.T)
    torch.testing.assert_close(reconstruct(q, s, mean, lam), w @ s)
    # The minimum: no step in W lowers it.
    least = regression(w, q, s, mean, lam)
    assert least < min(regression(w + 1e-3 * rand(20, 4, seed=k), q, s, mean, lam) for k in range(3, 8))


def test_it_is_a_projection():
    q, s, mean = rand(20, 7), rand(4, 7, seed=1), rand(20, 7, seed=2)
    projector = torch.linalg.pinv(s) @ s
    torch.testing.assert_close(reconstruct(q, s, mean, 2.0), (q + 2 * mean) @ projector / 3)


def test_a_coreset_that_spans_everything_leaves_the_distance_to_the_mean():
    q, mean = rand(20, 7), rand(20, 7, seed=2)
    for n in (7, 30):
        left = q - reconstruct(q, rand(n, 7, seed=n), mean, 2.0)
        torch.testing.assert_close(left, (q - mean) * 2 / 3)


def test_a_blob_is_found():
    images = 0.5 + 0.1 * torch.rand(3, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    images[2, :, 5:11, 7:15] = 0.0
    scores = (
        FastRecon(lambda x: [colours(x)], patch_size=1, coreset_ratio=0.002, sigma=1.0)
        .fit(images[:2])
        .score(images)
    )
    assert int(scores.image_scores.argmax()) == 2
    worst = int(scores.maps[2].argmax())
    assert 5 <= worst // 32 < 11
    assert 7 <= worst % 32 < 15


def test_bad_input_is_refused():
    images = rand(2, 3, 8, 9).float()
    method = FastRecon(lambda x: [colours(x)])
    with pytest.raises(ValueError, match="call fit"):
        method.score(images)
    with pytest.raises(ValueError, match="coreset_ratio is 0"):
        FastRecon(lambda x: [colours(x)], coreset_ratio=0.0).fit(images)
    with pytest.raises(ValueError, match="was fitted to"):
        method.fit(images).score(rand(1, 3, 9, 8).float())
    with pytest.raises(ValueError, match=r"expected \(m,C\), \(m,C\) and \(n,C\)"):
        reconstruct(rand(3, 4), rand(2, 5), rand(3, 4))
    with pytest.raises(ValueError, match="lam is -1"):
        reconstruct(rand(3, 4), rand(2, 4), rand(3, 4), -1.0)
