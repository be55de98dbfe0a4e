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


def test_public_code_gives_the_same():
    with np.load(GOLDEN) as file:
        g = {name: torch.from_numpy(file[name]) for name in file if not name.startswith(("regad", "uniad"))}
    # Nine entries of seven channels span everything: the printed inverse is that of a singular matrix, and what is left is the second identity.
    found = reconstruct(g["query"].double(), g["support"].double(), g["mean"].double(), float(g["lam"]))
    assert found.shape == g["fastrecon_reconstruction"].shape
    left = torch.linalg.vector_norm(g["query"] - g["fastrecon_reconstruction"], dim=1)
    torch.testing.assert_close(left.float(), g["fastrecon_patch_scores"].float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lam", [0.0, 0.7, 2.0])
def test_it_is_the_printed_regression_where_that_exists(lam):
    q, s, mean = rand(20, 7), rand(4, 7, seed=1), rand(20, 7, seed=2)
    w = (q @ s.T + lam * mean @ s.T) @ torch.linalg.inv((1 + lam) * s @ s.T)
    torch.testing.assert_close(reconstruct(q, s, mean, lam), w @ s)
    # The minimum of ‖Q − WS‖² + λ‖WS − μ‖²: no step in W lowers it.
    loss = lambda w: (q - w @ s).square().sum() + lam * (w @ s - mean).square().sum()  # noqa: E731
    assert float(loss(w)) < min(float(loss(w + 1e-3 * rand(20, 4, seed=k))) for k in range(3, 8))


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
