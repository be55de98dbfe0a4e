from pathlib import Path

import numpy as np
import pytest
import torch

from otad.methods.pretext.blending import blend, intensity_label, poisson_blend

GOLDEN = Path(__file__).parents[2] / "golden"


def rng(seed=0):
    return np.random.default_rng(seed)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def smooth(seed=0, size=(60, 72)):
    """A picture without sharp steps, far from black and white."""
    coarse = 0.3 + 0.4 * rand(1, 3, 5, 6, seed=seed)
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic")[0].clamp(0, 1)


@pytest.fixture
def golden():
    with np.load(GOLDEN / "poisson.npz") as file:
        return {k: np.asarray(file[k]) for k in file}


def picture(grey):
    return torch.from_numpy(grey.astype(np.float32) / 255).permute(2, 0, 1)


def levels(found):
    return 255 * found.permute(1, 2, 0).numpy()


def test_it_is_opencv_s_normal_clone_to_a_grey_level(golden):
    corner = tuple(int(v) for v in golden["corner_yx"])
    found = levels(poisson_blend(picture(golden["destination"]), picture(golden["patch"]), corner))
    assert np.abs(found - golden["normal_clone"]).max() < 1.01  # it cuts decimals off


def test_opencv_s_mixed_clone_compares_something_else_than_the_length_of_gradients(golden):
    with np.load(GOLDEN / "poisson_opencv5.npz") as file:
        theirs = file["mixed_clone"]  # of OpenCV 5.0.0, the patch's rectangle
    destination, patch = picture(golden["destination"]), picture(golden["patch"])
    found = levels(poisson_blend(destination, patch, (16, 19), mixed=True))[16:33, 19:41]
    # The clone among the golden values of an earlier version changes nothing at all.
    assert np.abs(golden["mixed_clone"].astype(float) - golden["destination"]).max() <= 1
    assert 5 < np.abs(found - theirs).max() < 30
    assert np.abs(found - theirs).mean() < 0.5 * np.abs(theirs - levels(destination)[16:33, 19:41]).mean()


def test_labels_are_the_public_code_s(golden):
    before, after = picture(golden["destination"]), picture(golden["normal_clone"])
    label = intensity_label(before, after, torch.ones(48, 56, dtype=torch.bool), k=1 / 3, x0=7.0).numpy()
    np.testing.assert_allclose(label, golden["normal_label_logistic_k13_x07"], rtol=1e-4, atol=1e-5)
    assert ((label > 0) == golden["normal_label_binary"]).all()


@pytest.mark.parametrize("mixed", [False, True])
def test_blending_a_picture_into_itself_changes_nothing(mixed):
    image = smooth()
    found = poisson_blend(image, image[:, 11:30, 20:43], (11, 20), mixed)
    torch.testing.assert_close(found, image, rtol=0, atol=1e-6)


def test_what_a_patch_adds_to_all_its_pixels_does_not_matter_where_it_is_cut_out():
    image, patch = smooth(), 0.5 * smooth(1)[:, :25, :31]
    first, second = (poisson_blend(image, patch + light, (13, 17)) for light in (0.0, 0.3))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)


def test_the_rim_keeps_the_picture_and_the_inside_has_the_patch_s_gradients():
    image, patch = smooth(), smooth(1)[:, :25, :31]
    found = poisson_blend(image, patch, (13, 17))
    changed = (found != image).any(0)
    rows, columns = (changed.any(d).nonzero().flatten() for d in (1, 0))
    assert (int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())) == (15, 35, 19, 45)

    def laplacian(x):
        return -4 * x[:, 1:-1, 1:-1] + x[:, 2:, 1:-1] + x[:, :-2, 1:-1] + x[:, 1:-1, 2:] + x[:, 1:-1, :-2]

    inside = found[:, 13:38, 17:48]
    torch.testing.assert_close(
        laplacian(inside)[:, 5:-5, 5:-5], laplacian(patch)[:, 5:-5, 5:-5], rtol=0, atol=1e-5
    )


def test_mixed_keeps_a_picture_whose_gradients_are_stronger():
    flat = torch.full((3, 20, 24), 0.6)
    image = smooth()
    torch.testing.assert_close(poisson_blend(image, flat, (10, 12), mixed=True), image, rtol=0, atol=1e-6)
    assert float((poisson_blend(image, flat, (10, 12)) - image).abs().max()) > 0.02


def test_the_label_is_where_something_changed_and_grows_with_the_change():
    image, other, draw = smooth(size=(96, 120)), rand(3, 96, 120), rng()
    for _ in range(12):
        blended, label = blend(image, other, draw)
        changed = (blended - image).abs().mean(0)
        assert 0 <= float(label.min()) <= float(label.max()) <= 1
        assert float(changed[label == 0].mean()) < 0.1 * float(changed[label > 0].mean())
        assert 0 < float((label > 0).float().mean()) < 0.6
    weak = intensity_label(image, image + 0.02, torch.ones(96, 120, dtype=torch.bool))
    strong = intensity_label(image, image + 0.1, torch.ones(96, 120, dtype=torch.bool))
    assert bool((strong > weak).all())
    assert float(intensity_label(image, image, torch.ones(96, 120, dtype=torch.bool)).max()) == 0


def test_pieces_are_put_on_things():
    image = torch.full((3, 96, 96), 0.9)
    image[:, 30:70, 20:60] = smooth(size=(40, 40)) * 0.6
    for seed in range(8):
        _, label = blend(image, image.flip(1), rng(seed), background=(0.9, 0.2), patches=1)
        touched = (label > 0).nonzero()
        if len(touched):
            middle = touched.float().mean(0)
            assert 15 < float(middle[0]) < 85
            assert 5 < float(middle[1]) < 75


def test_the_same_seed_makes_the_same_defect():
    image, other = smooth(), smooth(1)
    first, second, third = (blend(image, other, rng(s)) for s in (2, 2, 3))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], third[0])


def test_bad_input_is_refused():
    image = smooth()
    with pytest.raises(ValueError, match="does not lie"):
        poisson_blend(image, image[:, :20, :20], (45, 5))
    with pytest.raises(ValueError, match="at least 10 pixels"):
        poisson_blend(image, image[:, :9, :20], (5, 5))
    with pytest.raises(ValueError, match="expected one size"):
        blend(image, image[:, :50], rng())
    with pytest.raises(ValueError, match="patches 0"):
        blend(image, image, rng(), patches=0)
    with pytest.raises(ValueError, match="at least 20 pixels"):
        blend(image[:, :19], image[:, :19], rng())
