"""The data set's own checks: every way in which images, masks and labels can disagree."""

from dataclasses import replace

import pytest
import torch

from otad.data import Dataset, check_images, pair, resize


@pytest.fixture
def dataset() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    train, test = (torch.rand(n, 3, 13, 17, generator=generator) for n in (2, 3))
    masks = torch.zeros(3, 13, 17, dtype=torch.bool)
    masks[1, 2:4, 5:9] = True
    labels = torch.tensor([False, True, False])
    return Dataset("toy", train, test, masks, labels, ["good", "cut", "good"], "MIT")


def test_a_sound_data_set_passes_with_and_without_masks(dataset):
    assert replace(dataset, masks=None).masks is None
    assert replace(dataset, train=dataset.train.double()).train.dtype == torch.float64


def test_it_is_frozen(dataset):
    with pytest.raises(AttributeError):
        dataset.name = "other"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(3, 13, 17), r"\(N,3,H,W\).*\(3, 13, 17\).*images\[None\]"),
        (torch.rand(2, 1, 13, 17), r"\(2, 1, 13, 17\).*repeat"),
        (torch.rand(0, 3, 13, 17), "empty"),
        (torch.zeros(2, 3, 13, 17, dtype=torch.uint8), r"uint8.*/ 255"),
        (torch.rand(2, 3, 13, 17) * 255, r"expected values in \[0,1\].*255"),
        (torch.rand(2, 3, 13, 17) - 0.5, r"expected values in \[0,1\]"),
        (torch.rand(2, 3, 13, 17).numpy(), "ndarray"),
    ],
)
def test_bad_images_are_refused_with_advice(images, message):
    with pytest.raises(ValueError, match=message):
        check_images(images)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_names_the_image(dataset, value):
    test = dataset.test.clone()
    test[2, 0, 3, 4] = value
    with pytest.raises(ValueError, match=r"toy\.test: NaN or infinite values in images \[2\]"):
        replace(dataset, test=test)


def test_an_empty_normal_set_says_so(dataset):
    with pytest.raises(ValueError, match="normal set is empty"):
        replace(dataset, train=dataset.train[:0])


def test_train_and_test_must_have_one_size(dataset):
    with pytest.raises(ValueError, match=r"\(13, 16\).*\(13, 17\).*resize"):
        replace(dataset, train=dataset.train[..., :-1])


@pytest.mark.parametrize("shape", [(3, 17, 13), (2, 13, 17), (3, 12, 17)])
def test_masks_of_another_size(dataset, shape):
    with pytest.raises(ValueError, match=r"masks must be bool of shape \(3, 13, 17\).*nearest"):
        replace(dataset, masks=torch.zeros(shape, dtype=torch.bool))


def test_masks_of_another_type(dataset):
    with pytest.raises(ValueError, match=r"masks must be bool.*float32"):
        replace(dataset, masks=dataset.masks.float())


def test_a_good_image_cannot_have_a_mask(dataset):
    masks = dataset.masks.clone()
    masks[2, 0, 0] = True
    with pytest.raises(ValueError, match=r"good test images \[2\]"):
        replace(dataset, masks=masks)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.tensor([False, True])}, r"labels must be bool of shape \(3,\)"),
        ({"labels": torch.tensor([0, 1, 0])}, "labels must be bool"),
        ({"kinds": ["good", "cut"]}, "3 test images, 2 kinds"),
        ({"kinds": ["good", "good", "good"]}, "image 1 has kind 'good'"),
        ({"kinds": ["cut", "cut", "good"]}, "image 0 has kind 'cut'"),
    ],
)
def test_labels_and_kinds_must_agree(dataset, change, message):
    with pytest.raises(ValueError, match=message):
        replace(dataset, **change)


def test_resize_keeps_range_mean_and_axes():
    image = torch.zeros(1, 3, 40, 60)
    image[:, :, :, 30:] = 1.0
    small = resize(image, (10, 12))
    assert small.shape == (1, 3, 10, 12)
    assert small.min() >= 0
    assert small.max() <= 1
    assert small[..., :5].max() < 1e-6  # the edge stays where it was: on the axis of width
    assert small[..., 7:].min() > 1 - 1e-6
    stripes = (torch.arange(60) % 2).float().expand(1, 3, 40, 60)
    assert (resize(stripes, (40, 20))[..., 2:-2] - 0.5).abs().max() < 0.2  # antialiased: grey, no stripes
    assert resize(image, (40, 60)) is image


def test_pair():
    assert pair(20) == (20, 20)
    assert pair((20, 30)) == (20, 30)
    with pytest.raises(ValueError, match="too small"):
        pair((20, 15))
