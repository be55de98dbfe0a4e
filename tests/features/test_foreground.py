import numpy as np
import pytest
import torch

from otad.features.foreground import ColourMixtures, GrabCut, _cut

SEGMENTERS = (ColourMixtures(), GrabCut())


def scene(colour=(0.8, 0.3, 0.2), size=(48, 64)):
    """A disc of one colour on a noisy grey ground, and its mask."""
    y, x = np.mgrid[: size[0], : size[1]]
    mask = (y - 22) ** 2 + (x - 30) ** 2 <= 14**2
    noise = 0.03 * np.random.default_rng(0).standard_normal((3, *size))
    image = np.where(mask, np.array(colour)[:, None, None], 0.5) + noise
    return torch.from_numpy(image.clip(0, 1)).float()[None], torch.from_numpy(mask)[None]


def iou(a, b):
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("segment", SEGMENTERS)
def test_a_disc_is_found(segment):
    image, mask = scene()
    found = segment(image)
    assert found.dtype == torch.bool
    assert found.shape == mask.shape
    assert iou(found, mask) > 0.95


@pytest.mark.parametrize("segment", SEGMENTERS)
def test_the_same_seed_finds_the_same_and_each_picture_is_looked_at_alone(segment):
    image, _ = scene()
    other, _ = scene((0.1, 0.6, 0.3))
    together = segment(torch.cat([image, other]))
    assert torch.equal(together, torch.cat([segment(image), segment(other)]))


@pytest.mark.parametrize("segment", SEGMENTERS)
def test_a_picture_of_one_colour_has_no_foreground(segment):
    assert int(segment(torch.full((1, 3, 32, 40), 0.5)).sum()) == 0


def test_the_cut_is_the_smallest():
    """Against all masks of a picture of 3 × 3 pixels."""
    rng = np.random.default_rng(1)
    lab, ratio, gamma = rng.uniform(0, 50, (3, 3, 3)), rng.normal(0, 2, (3, 3)), 1.5
    steps = np.concatenate(
        [((lab[1:] - lab[:-1]) ** 2).sum(2).ravel(), ((lab[:, 1:] - lab[:, :-1]) ** 2).sum(2).ravel()]
    )

    def energy(mask):
        data = np.where(mask, np.clip(-ratio, 0, None), np.clip(ratio, 0, None)).sum()
        cuts = np.concatenate([(mask[1:] != mask[:-1]).ravel(), (mask[:, 1:] != mask[:, :-1]).ravel()])
        return data + (gamma * np.exp(-steps / (2 * steps.mean())) * cuts).sum()

    everything = [np.array([(n >> k) & 1 for k in range(9)], bool).reshape(3, 3) for n in range(512)]
    assert energy(_cut(lab, ratio, gamma)) == pytest.approx(min(map(energy, everything)), abs=0.01)


def test_bad_input_is_refused():
    image, _ = scene()
    with pytest.raises(ValueError, match="frame 0.5"):
        ColourMixtures(frame=0.5)(image)
    with pytest.raises(ValueError, match="components is 0"):
        GrabCut(components=0)(image)
    with pytest.raises(ValueError, match="NaN"):
        GrabCut()(image * torch.nan)
