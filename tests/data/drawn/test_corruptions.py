import math

import numpy as np
import pytest
import torch
from skimage.color import hsv2rgb, rgb2hsv

from otad.data.drawn.corruptions import KINDS, SEVERITIES, corrupt, disk

# The published definitions, read slowly: loops over pixels, nothing shared with the code under test.
SIGMA = {1: 0.08, 2: 0.12, 3: 0.18, 4: 0.26, 5: 0.38}
ADDED = {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4, 5: 0.5}
LEFT = {1: 0.4, 2: 0.3, 3: 0.2, 4: 0.1, 5: 0.05}
APERTURE = {1: (3, 0.1), 2: (4, 0.5), 3: (6, 0.5), 4: (8, 0.5), 5: (10, 0.5)}


def pictures(n=2, height=13, width=17, seed=0):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def mirror(i, size):
    """Reflect an index at the first and last pixel, which are not repeated: … 2 1 | 0 1 2 …"""
    while not 0 <= i < size:
        i = -i if i < 0 else 2 * (size - 1) - i
    return i


def slow_filter(plane, kernel):
    (height, width), half = plane.shape, kernel.shape[0] // 2
    out = np.zeros(plane.shape)
    for y in range(height):
        for x in range(width):
            for v in range(-half, half + 1):
                for u in range(-half, half + 1):
                    out[y, x] += (
                        kernel[v + half, u + half] * plane[mirror(y + v, height), mirror(x + u, width)]
                    )
    return out


def slow_disk(radius, softness):
    half, reach = (8, 1) if radius <= 8 else (radius, 2)
    inside = np.array(
        [[float(math.hypot(u, v) <= radius) for u in range(-half, half + 1)] for v in range(-half, half + 1)]
    )
    rim = np.array(
        [
            [math.exp(-(u * u + v * v) / (2 * softness**2)) for u in range(-reach, reach + 1)]
            for v in range(-reach, reach + 1)
        ]
    )
    return slow_filter(inside / inside.sum(), rim / rim.sum())


def slow(image, kind, severity):
    """One picture (3,H,W) as float64."""
    x = image.double().numpy()
    if kind == "defocus blur":
        kernel = slow_disk(*APERTURE[severity])
        return np.clip([slow_filter(plane, kernel) for plane in x], 0, 1)
    if kind == "brightness":
        hsv = rgb2hsv(np.moveaxis(x, 0, -1))
        hsv[..., 2] = np.clip(hsv[..., 2] + ADDED[severity], 0, 1)
        return np.moveaxis(hsv2rgb(hsv), -1, 0)
    means = [plane.sum() / plane.size for plane in x]
    return np.clip([(plane - m) * LEFT[severity] + m for plane, m in zip(x, means, strict=True)], 0, 1)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("kind", ["brightness", "contrast"])
def test_brightness_and_contrast_are_the_published_ones(kind, severity):
    images = pictures()
    found = corrupt(images, kind, severity)
    for image, result in zip(images, found, strict=True):
        np.testing.assert_allclose(result, slow(image, kind, severity), atol=1e-6)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_aperture_is_the_published_one(severity):
    np.testing.assert_allclose(disk(*APERTURE[severity]), slow_disk(*APERTURE[severity]), atol=1e-15)


@pytest.mark.parametrize("severity", [1, 5])
def test_defocus_is_the_published_one(severity):
    image = pictures(1, 13, 11)
    found = corrupt(image, "defocus blur", severity)[0]
    np.testing.assert_allclose(found, slow(image[0], "defocus blur", severity), atol=1e-6)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_the_published_width_and_no_pattern(severity):
    grey = torch.full((2, 3, 90, 110), 0.5)
    noise = (corrupt(grey, "gaussian noise", severity, seed=3) - 0.5).double()
    inside = noise.abs() < 0.5  # what is not clipped
    expected = math.erf(0.5 / SIGMA[severity] / math.sqrt(2))
    assert abs(float(inside.double().mean()) - expected) < 0.01
    drawn = (
        noise.flatten().quantile(0.8413) / SIGMA[severity]
    )  # one standard deviation: below 0.5 in all five
    assert abs(float(drawn) - 1) < 0.03
    assert abs(float(torch.corrcoef(noise[0].flatten(1))[0, 1])) < 0.05
    assert abs(float(torch.corrcoef(noise[:, 0].flatten(1))[0, 1])) < 0.05


def test_noise_depends_on_the_seed_and_on_nothing_else():
    images = pictures(4)
    found = corrupt(images, "gaussian noise", 5, seed=7)
    assert torch.equal(found, corrupt(images, "gaussian noise", 5, seed=7))
    assert torch.equal(found[:2], corrupt(images[:2], "gaussian noise", 5, seed=7))
    assert not torch.equal(found, corrupt(images, "gaussian noise", 5, seed=8))
    state = torch.random.get_rng_state()
    corrupt(images, "gaussian noise")
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("kind", KINDS)
def test_range_shape_dtype_and_input_are_kept(kind):
    for dtype in (torch.float32, torch.float64):
        images = pictures(3).to(dtype)
        images[0, :, :3] = 0
        images[1, :, :3] = 1
        before = images.clone()
        found = corrupt(images, kind, 5)
        assert (found.shape, found.dtype, found.device) == (images.shape, dtype, images.device)
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
        assert torch.equal(images, before)
        assert not torch.equal(found, images)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_flat_picture_has_nothing_to_lose(severity):
    flat = torch.full((1, 3, 24, 31), 0.3)
    torch.testing.assert_close(corrupt(flat, "contrast", severity), flat)
    # The published kernel sums to more than 1 where the disk meets the frame it is blurred in.
    gain = slow_disk(*APERTURE[severity]).sum()
    assert 1 <= gain + 1e-12 < 1.0135
    torch.testing.assert_close(corrupt(flat, "defocus blur", severity), flat * gain)


@pytest.mark.parametrize("kind", KINDS)
def test_severity_grows(kind):
    image = torch.nn.functional.interpolate(pictures(1, 5, 4), (40, 32), mode="bilinear")
    change = [float((corrupt(image, kind, s, seed=1) - image).square().mean()) for s in SEVERITIES]
    assert change == sorted(change)
    assert change[0] < 0.7 * change[-1]


def test_black_becomes_grey_and_white_stays():
    image = torch.zeros(1, 3, 4, 5)
    image[..., 2:] = 1
    found = corrupt(image, "brightness", 3)
    torch.testing.assert_close(found[..., :2], torch.full((1, 3, 4, 2), 0.3))
    torch.testing.assert_close(found[..., 2:], image[..., 2:])


def test_bytes_are_rounded_down():
    images = pictures(1)
    floats, found = corrupt(images, "contrast", 5), corrupt(images, "contrast", 5, levels=256)
    steps = found.double() * 255
    torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)
    gap = (floats - found) * 255
    assert float(gap.min()) > -0.01
    assert float(gap.max()) < 1
    bytes_ = (torch.arange(256) / 255.0).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    kept = corrupt(bytes_.contiguous(), "contrast", 1, levels=2)
    assert set(kept.unique().tolist()) <= {0.0, 1.0}
    flat = torch.full((1, 3, 12, 12), 51 / 255)
    torch.testing.assert_close(corrupt(flat, "contrast", 5, levels=256), flat)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "fog"}, "unknown corruption 'fog'; choose from gaussian noise"),
        ({"severity": 0}, "severity is 0: expected one of"),
        ({"severity": 6}, "severity is 6: expected one of"),
        ({"levels": 1}, "levels is 1: expected at least 2"),
        ({"images": pictures() * 255}, "divide 8-bit images by 255"),
        ({"images": pictures()[:0]}, r"the batch of shape \(0, 3, 13, 17\) is empty"),
        (
            {"images": pictures().numpy()},
            "images is an ndarray of float32.*expected Tensor; torch.from_numpy",
        ),
        ({"seed": -1, "kind": "gaussian noise"}, "seed is -1: expected 0 or more"),
        ({"images": pictures()[0]}, r"expected an RGB tensor \(N,3,H,W\)"),
        ({"images": pictures(1, 10, 30), "kind": "defocus blur"}, "needs sides of more than 10"),
    ],
)
def test_bad_input_is_refused_in_words(change, words):
    with pytest.raises(ValueError, match=words):
        corrupt(**({"images": pictures(), "kind": "contrast", "severity": 5} | change))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_refuses_what_is_no_batch(kind):
    for images in (pictures()[:0], pictures()[0, 0, 0, 0], pictures()[..., :0]):
        with pytest.raises(ValueError, match="expected an RGB tensor|is empty"):
            corrupt(images, kind)
