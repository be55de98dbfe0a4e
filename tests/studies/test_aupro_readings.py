import numpy as np
import pytest

from otad.metrics import aupro
from otad.studies.aupro_readings import NOTES, READINGS, plain


def maps_and_masks(noise):
    """Four maps (40,48), two of them with two regions, one thin; the defect scores higher by 1."""
    masks = np.zeros((4, 40, 48), dtype=bool)
    masks[:2, 8:20, 8:24] = masks[:2, 28:29, 12:40] = True
    return masks + noise * np.random.default_rng(0).random(masks.shape), masks


def test_the_plain_walk_is_the_exact_value():
    maps, masks = maps_and_masks(noise=2.0)
    for limit in (0.05, 0.3, 1.0):
        assert plain(maps, masks, limit) == pytest.approx(aupro(maps, masks, limit), abs=1e-12)
    rounded = maps.round(1)  # full of ties
    assert plain(rounded, masks) == pytest.approx(aupro(rounded, masks), abs=1e-12)


# Two end elsewhere, one stretches good maps that have no range, and one grows the mask.
IMPERFECT = {"averaged end point", "200 thresholds, rescaled", "each map scaled to [0,1]", "quarter, any"}


@pytest.mark.parametrize("name", [name for name in READINGS if name not in IMPERFECT])
def test_a_map_that_orders_all_pixels_rightly_is_perfect_whatever_the_reading(name):
    maps, masks = maps_and_masks(noise=0.0)
    if name.startswith("quarter"):  # a line one pixel high is lost in a block of four
        masks[:, 28] = maps[:, 28] = 0
    assert READINGS[name](maps.astype(float), masks) == pytest.approx(1.0)


def test_readings_differ_on_one_set_of_maps():
    maps, masks = maps_and_masks(noise=2.0)
    found = {name: reading(maps, masks) for name, reading in READINGS.items()}
    assert all(0 <= value <= 1 for value in found.values())
    assert len({round(value, 6) for value in found.values()}) > 10


def test_every_reading_says_what_it_does():
    assert ["exact", *NOTES] == list(READINGS)
