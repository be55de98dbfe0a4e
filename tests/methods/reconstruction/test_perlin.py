from pathlib import Path

import numpy as np
import pytest
import torch

from otad.methods.reconstruction.perlin import CHANGES, altered, cloud, overlaid, paint_texture, perlin

GOLDEN = Path(__file__).parents[2] / "golden" / "draem.npz"


def rng(seed=0):
    return np.random.default_rng(seed)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def golden():
    with np.load(GOLDEN) as file:
        return {k: torch.from_numpy(np.asarray(file[k])) for k in file}


def test_noise_mask_and_overlay_are_the_public_code_s(golden):
    noise = perlin(golden["angles"], (32, 32))
    torch.testing.assert_close(noise, golden["noise"], rtol=1e-4, atol=1e-12)
    mask = noise > 0.5
    assert torch.equal(mask.float(), golden["mask"])
    found = overlaid(golden["image"], golden["source"], mask, float(golden["beta"]))
    torch.testing.assert_close(found, golden["augmented"], rtol=1e-4, atol=1e-5)


def test_noise_is_zero_at_the_corners_of_the_cells_and_smooth_between():
    noise = perlin(2 * torch.pi * rand(4, 6, seed=1).double(), (36, 70))
    assert noise.shape == (36, 70)
    assert float(noise[::12, ::14].abs().max()) < 1e-12
    assert float(noise.abs().max()) <= 1
    assert float(noise.diff(dim=0).abs().max()) < 0.25


def test_equal_gradients_make_a_ramp_in_the_middle_of_no_cell():
    across = perlin(
        torch.full((2, 4), torch.pi / 2, dtype=torch.float64), (8, 30)
    )  # (cos, sin) = (0, 1): along the columns
    torch.testing.assert_close(across, across[:1].expand(8, 30))
    assert bool((across[0, 1:3] > 0).all())
    assert bool((across[0, 8:10] < 0).all())


def test_the_mask_is_exactly_the_set_of_changed_pixels():
    image, source, draw, shares = rand(3, 60, 72), rand(3, 60, 72, seed=1), rng(), []
    before = image.clone()
    for _ in range(30):
        painted, mask = paint_texture(image, source, draw)
        assert torch.equal(mask, (painted != image).any(0))
        assert 0 <= float(painted.min()) <= float(painted.max()) <= 1
        shares.append(float(mask.float().mean()))
    assert torch.equal(image, before)
    assert 0.01 < np.mean(shares) < 0.4


def test_more_of_the_picture_shines_through_with_a_larger_beta():
    image, texture, mask = rand(3, 9, 11), rand(3, 9, 11, seed=1), rand(9, 11) > 0.5
    for beta in (0.0, 0.3):
        change = overlaid(image, texture, mask, beta) - image
        torch.testing.assert_close(change, (1 - beta) * (texture - image) * mask, rtol=1e-5, atol=1e-6)


def test_clouds_have_all_sizes():
    sizes = []
    for seed in range(20):
        mask = cloud((64, 80), rng(seed))
        assert mask.shape == (64, 80)
        sizes.append(int((mask[:, 1:] != mask[:, :-1]).sum()))
    assert min(sizes) < 100 < max(sizes)


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_changes_a_picture_and_keeps_its_shape(name):
    source = rand(3, 20, 24)
    found = CHANGES[name](source, rng())
    assert found.shape == source.shape
    assert float((found - source).abs().max()) > 1e-3


def test_three_of_ten_changes_are_drawn_from_the_seed():
    assert len(CHANGES) == 10
    source = rand(3, 20, 24)
    assert torch.equal(altered(source, rng(1)), altered(source, rng(1)))
    assert not torch.equal(altered(source, rng(1)), altered(source, rng(2)))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="expected one size"):
        paint_texture(rand(3, 20, 24), rand(3, 20, 20), rng())
    with pytest.raises(ValueError, match="beta 1.0"):
        paint_texture(rand(3, 20, 24), rand(3, 20, 24), rng(), beta=1.0)
    with pytest.raises(ValueError, match="angles have shape"):
        perlin(rand(1, 4), (8, 8))
