import math

import pytest
import torch

from otad.features.handcrafted import colours, minmax, random_kernels, steerable_pyramid, steering_weights


@pytest.fixture
def images():
    return torch.rand(2, 3, 37, 52, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_colours_are_the_image(images):
    assert torch.equal(colours(images), images)


def test_random_kernels_are_projections_of_patches(images):
    maps = random_kernels(images, n=7, size=3, seed=5)
    assert maps.shape == (2, 7, 37, 52)
    # Unit kernels: of white noise with variance s² each response has variance s².
    noise = 0.5 + 0.1 * torch.randn(1, 3, 200, 210, generator=torch.Generator().manual_seed(0)).clamp(-4, 4)
    spread = random_kernels(noise, n=20).std(dim=(0, 2, 3))
    torch.testing.assert_close(spread, torch.full((20,), 0.1), rtol=0.05, atol=0)


def test_random_kernels_depend_on_the_seed_alone(images):
    assert torch.equal(random_kernels(images, 4), random_kernels(images, 4))
    assert torch.equal(random_kernels(images, 4)[1:], random_kernels(images[1:], 4))
    assert not torch.allclose(random_kernels(images, 4), random_kernels(images, 4, seed=1))
    state = torch.random.get_rng_state()
    random_kernels(images, 4)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("orientations", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("angle", [0.0, 0.3, -1.1, 2.9])
def test_a_band_at_any_angle_is_a_combination_of_the_basis(images, orientations, angle):
    kwargs = {"residuals": False, "orientations": orientations}
    basis = steerable_pyramid(images, **kwargs).unflatten(1, (3, orientations))
    direct = steerable_pyramid(images, first_angle=angle, **kwargs).unflatten(1, (3, orientations))[:, :, 0]
    steered = torch.einsum("k,nckhw->nchw", steering_weights(angle, orientations), basis)
    torch.testing.assert_close(steered, direct, atol=1e-12, rtol=0)
    assert orientations == 1 or not torch.allclose(direct, basis[:, :, 1 % orientations], atol=1e-3)


def test_turning_the_image_turns_the_response(images):
    """By 90° exactly, on a grid that is not square: the band at angle φ becomes the one at φ + 90°."""
    turned = torch.rot90(images, -1, (2, 3))  # clockwise: x towards y
    for margin in (0, 16):
        before = steerable_pyramid(images, 4, 0.2, residuals=False, margin=margin)
        after = steerable_pyramid(turned, 4, 0.2 + math.pi / 2, residuals=False, margin=margin)
        torch.testing.assert_close(after, torch.rot90(before, -1, (2, 3)), atol=1e-12, rtol=0)


def test_a_wave_excites_the_bands_by_the_cosine_of_the_angle_to_it():
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(80.0), indexing="ij")
    fy, fx = 2 * math.pi * 12 / 96, 2 * math.pi * 16 / 80  # whole periods; |f| between π/4 and π
    wave = (0.5 + 0.4 * torch.cos(fx * x + fy * y)).expand(1, 3, -1, -1)
    bands = steerable_pyramid(wave, 6, residuals=False, margin=0)[0, :6]
    angles = torch.arange(6) * math.pi / 6
    expected = torch.cos(math.atan2(fy, fx) - angles).abs() ** 5
    amplitude = bands.std(dim=(1, 2))
    torch.testing.assert_close(amplitude / amplitude.norm(), expected / expected.norm(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("orientations", [1, 4, 5])
@pytest.mark.parametrize("shape", [(37, 52), (32, 20)])
def test_the_pyramid_keeps_the_energy(orientations, shape):
    images = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    bands = steerable_pyramid(images, orientations, margin=0)
    assert bands.shape == (1, 3 * (orientations + 2), *shape)
    per_colour = bands.square().sum(dim=(0, 2, 3)).view(3, -1).sum(dim=1)
    torch.testing.assert_close(per_colour, images.square().sum(dim=(0, 2, 3)))


def test_bands_ignore_flat_colour_and_keep_type():
    flat = torch.full((1, 3, 20, 23), 0.7)
    bands = steerable_pyramid(flat, 4)
    assert bands.dtype == torch.float32
    assert bands.shape == (1, 18, 20, 23)
    low = bands.view(3, 6, 20, 23)[:, 5]
    torch.testing.assert_close(low, torch.full_like(low, 0.7))
    assert float(bands.view(3, 6, 20, 23)[:, :5].abs().max()) < 1e-6


def test_minmax_scales_each_channel_of_each_image():
    features = torch.randn(2, 4, 9, 11, generator=torch.Generator().manual_seed(0)) * 50
    features[1, 2] = -3.0
    scaled = minmax(features)
    assert float(scaled[1, 2].abs().max()) == 0
    scaled[1, 2] = scaled[0, 2]
    assert torch.equal(scaled.amin(dim=(2, 3)), torch.zeros(2, 4))
    torch.testing.assert_close(scaled.amax(dim=(2, 3)), torch.ones(2, 4))
    torch.testing.assert_close(minmax(features[0]), scaled[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: colours(x[0]), "shape"),
        (lambda x: colours(x * 2), r"expected values in \[0,1\]"),
        (lambda x: random_kernels(x, size=4), "odd size"),
        (lambda x: random_kernels(x, n=0), "n is 0"),
        (lambda x: random_kernels(x[:, :, :2], size=5), "at least 3 pixels"),
        (lambda x: steerable_pyramid(x, orientations=0), "orientations is 0"),
        (lambda x: steerable_pyramid(x, margin=-1), "margin -1"),
        (lambda x: minmax(x * torch.nan), "not finite"),
        (lambda x: minmax(x[0, 0]), "expected"),
    ],
)
def test_bad_input_is_refused(images, call, message):
    with pytest.raises(ValueError, match=message):
        call(images)
