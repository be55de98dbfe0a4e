"""Planted defects: exact masks, sizes relative to the image, everything from the seed."""

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from otad.data.drawn import textures
from otad.data.drawn.defects import KINDS, damage, kinds_of_test, plant

SIZE = (96, 130)


@pytest.fixture(scope="module")
def leather() -> torch.Tensor:
    return textures.render("leather", SIZE, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_is_exact(leather, kind):
    for seed in range(12):
        damaged, mask = plant(leather, kind, seed)
        assert damaged.shape == leather.shape
        assert damaged.dtype == torch.float32
        assert mask.shape == SIZE
        assert mask.dtype == torch.bool
        assert mask.any()
        changed = (damaged != leather).any(0)
        assert not changed[~mask].any()  # outside: equal to the bit
        assert changed[mask].float().mean() > 0.95  # inside: nearly every pixel
        assert damaged.min() >= 0
        assert damaged.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_change_inside_can_be_seen(leather, kind):
    """Half of the masked pixels change by more than half a grey level of eight bits, on average far more."""
    change = []
    for seed in range(12):
        damaged, mask = plant(leather, kind, seed)
        difference = (damaged - leather).abs().amax(0)[mask]
        assert difference.median() > 0.5 / 255
        change.append(float(difference.mean()))
    assert np.mean(change) > 4 / 255
    assert max(change) > 1.3 * min(change)  # strength varies


@pytest.mark.parametrize("kind", KINDS)
def test_place_shape_and_size_vary_with_the_seed(leather, kind):
    masks = [plant(leather, kind, seed)[1] for seed in range(8)]
    areas = [float(mask.float().mean()) for mask in masks]
    assert len(set(areas)) == 8
    assert min(areas) > 0.0005
    assert max(areas) < 0.1
    centres = torch.stack([torch.nonzero(mask).float().mean(0) for mask in masks])
    assert centres.std(0).min() > 5


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_defect(leather, kind):
    first, second = plant(leather, kind, 5), plant(leather, kind, 5)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_the_global_generators_are_left_alone(leather):
    torch.manual_seed(0)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    plant(leather, "warp", 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


@pytest.mark.parametrize("kind", ["hole", "colour", "blur", "warp"])
def test_relative_size_does_not_depend_on_resolution(kind):
    small = [float(plant(torch.rand(3, 64, 80), kind, s)[1].float().mean()) for s in range(10)]
    large = [float(plant(torch.rand(3, 192, 240), kind, s)[1].float().mean()) for s in range(10)]
    assert 0.6 < np.mean(small) / np.mean(large) < 1.7


def test_shapes_are_irregular(leather):
    """No discs and no boxes: a shape does not fill the ellipse of its own second moments."""
    fills = []
    for seed in range(10):
        mask = plant(leather, "hole", seed)[1].numpy()
        points = np.argwhere(mask)
        ellipse = 4 * np.pi * np.sqrt(max(np.linalg.det(np.cov(points.T)), 1e-9))
        fills.append(mask.sum() / ellipse)
    assert np.std(fills) > 0.005
    assert min(fills) < 0.98


def test_a_cut_is_long_and_thin(leather):
    for seed in range(8):
        mask = plant(leather, "cut", seed)[1].numpy()
        extent = np.hypot(*np.ptp(np.argwhere(mask), axis=0))
        assert extent > 0.1 * min(SIZE)
        assert mask.sum() < 0.2 * extent**2


def test_contamination_may_fall_into_pieces(leather):
    pieces = [label(plant(leather, "contamination", s)[1].numpy(), np.ones((3, 3)))[1] for s in range(20)]
    assert max(pieces) > 2
    assert min(pieces) == 1


def test_blur_takes_structure_away_and_colour_leaves_it(leather):
    def roughness(image, mask):
        return float(image.diff(dim=-1).abs().mean(0)[mask[:, 1:]].mean())

    for seed in range(8):
        blurred, mask = plant(leather, "blur", seed)
        assert roughness(blurred, mask) < 0.75 * roughness(leather, mask)
        stained, mask = plant(leather, "colour", seed)
        ratio = stained[:, mask] / leather[:, mask]
        assert ratio.mean(1).max() - ratio.mean(1).min() > 0.03  # one channel suffers more than another


def test_warp_brings_no_new_values(leather):
    warped, mask = plant(leather, "warp", 2)
    assert warped[:, mask].min() >= leather.min() - 1e-6
    assert warped[:, mask].max() <= leather.max() + 1e-6


def test_dtype_is_kept_and_tiny_images_work(leather):
    assert plant(leather.double(), "cut", 0)[0].dtype == torch.float64
    for kind in KINDS:
        for seed in range(5):
            assert plant(torch.rand(3, 17, 16), kind, seed)[1].any()


@pytest.mark.parametrize(
    ("image", "kind", "message"),
    [
        (torch.rand(3, 20, 30), "scratch", "unknown defect 'scratch'; choose from cut"),
        (torch.rand(1, 3, 20, 30), "cut", r"one image \(3,H,W\)"),
        (torch.rand(3, 8, 30), "cut", "16 pixels"),
        (torch.rand(3, 20, 30) + 1, "cut", r"\[0,1\]"),
        (torch.full((3, 20, 30), torch.nan), "cut", "finite"),
    ],
)
def test_bad_input(image, kind, message):
    with pytest.raises(ValueError, match=message):
        plant(image, kind, 0)


def test_damage_leaves_good_images_alone_and_greys_on_demand():
    images = list(torch.rand(3, 1, 20, 30).expand(-1, 3, -1, -1))
    damaged, masks = damage(images, ["good", "colour", "hole"], [7], grey=True)
    assert torch.equal(damaged[0], images[0])
    assert not masks[0].any()
    assert masks[1].any()
    assert (damaged[:, 0] - damaged[:, 2]).abs().max() < 1e-6
    assert torch.equal(damaged[2][:, ~masks[2]], images[2][:, ~masks[2]])


def test_kinds_of_a_test_set():
    assert kinds_of_test(1, 2, 2, ("cut", "warp")) == ["good", "good", "cut", "cut", "warp", "warp"]
    for bad in ((0, 2, 2), (1, -1, 2), (1, 0, 0)):
        with pytest.raises(ValueError, match="empty"):
            kinds_of_test(*bad, ("cut",))
