"""Metrics against hand-drawn cases, brute force, scikit-learn and the official algorithm's values."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure
from sklearn.metrics import average_precision_score, roc_auc_score

from otad import metrics
from otad.metrics import Defect

GOLDEN = Path(__file__).parent / "golden" / "aupro_official.npz"


def example(seed=0, images=5, size=(13, 17), levels=None):
    """Random maps, anomalous on average where the masks are; `levels` quantises the scores into ties."""
    rng = np.random.default_rng(seed)
    masks = ndimage.uniform_filter(rng.random((images, *size)), (1, 3, 3)) > 0.62
    masks[0] = False
    maps = rng.random(masks.shape) + 0.4 * masks
    if levels:
        maps = np.floor(maps * levels) / levels
    return maps.astype(np.float32), masks


def official_aupro(maps, masks, limit):
    """The plain algorithm: walk down all pixels, sum what each changes, keep the last of a tie."""
    good, share, regions = np.zeros(maps.shape), np.zeros(maps.shape), 0
    for i, mask in enumerate(masks):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        regions += count
        good[i] = labels == 0
        for k in range(1, count + 1):
            share[i][labels == k] = 1 / (labels == k).sum()
    order = np.argsort(maps.ravel())[::-1]
    keep = np.append(np.diff(maps.ravel()[order]) != 0, True)
    fpr = np.concatenate([[0], np.cumsum(good.ravel()[order])[keep] / good.sum()])
    pro = np.concatenate([[0], np.cumsum(share.ravel()[order])[keep] / regions])
    return cut_area(fpr, pro, limit)


def cut_area(x, y, limit):
    end = np.searchsorted(x, limit, "right")  # points 0 … end−1 lie at or below the limit
    area = np.trapezoid(y[:end], x[:end])
    if end < len(x):
        y_limit = np.interp(limit, x[end - 1 : end + 1], y[end - 1 : end + 1])
        area += (limit - x[end - 1]) * (y[end - 1] + y_limit) / 2
    return area / limit


def sweep(maps, masks, defects=None):
    """(FPR, sPRO) at every threshold, each computed anew from the definition; regions by scikit-image."""
    if defects is None:
        defects = []
        for mask in masks:
            labels = measure.label(mask, connectivity=2)
            regions = [labels == k for k in range(1, labels.max() + 1)]
            defects.append([Defect(region, region.sum()) for region in regions])
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        found = maps >= threshold
        overlap = [
            min((found[i] & d.mask).sum() / d.saturation_area, 1) for i, ds in enumerate(defects) for d in ds
        ]
        points.append((found[~masks].mean(), np.mean(overlap)))
    return np.array(points).T


# Golden values and speed


@pytest.mark.parametrize("case", ["continuous", "with_ties"])
def test_aupro_equals_the_official_values(case):
    golden = np.load(GOLDEN)
    maps, masks = golden[f"{case}/maps"], golden[f"{case}/masks"]
    for limit, value in zip(golden[f"{case}/limits"], golden[f"{case}/aupro"], strict=True):
        assert metrics.aupro(maps, masks, limit) == pytest.approx(value, abs=1e-7)
        assert official_aupro(maps, masks, limit) == pytest.approx(value, abs=1e-7)


def test_aupro_is_not_slower_than_the_official_algorithm():
    masks = np.zeros((40, 256, 256), dtype=bool)
    masks[::2, 40:110, 50:120] = masks[::2, 200:210, 200:240] = True
    maps = np.random.default_rng(0).random(masks.shape, dtype=np.float32) + 0.3 * masks
    ours, theirs = [], []
    for _ in range(3):  # side by side, so that a busy machine slows both
        start = time.perf_counter()
        value = metrics.aupro(maps, masks)
        middle = time.perf_counter()
        expected = official_aupro(maps, masks, 0.3)
        theirs.append(time.perf_counter() - middle)
        ours.append(middle - start)
    assert value == pytest.approx(expected, abs=1e-9)
    assert min(ours) < min(theirs)


# Against brute force and scikit-learn


@pytest.mark.parametrize("levels", [None, 12, 3])
def test_aupro_equals_a_sweep_over_all_thresholds(levels):
    maps, masks = example(1, levels=levels)
    fpr, pro = sweep(maps, masks)
    ours = metrics.pro_curve(maps, masks)
    np.testing.assert_allclose(ours[0], fpr, atol=1e-12)
    np.testing.assert_allclose(ours[1], pro, atol=1e-12)
    for limit in (0.01, 0.123, 0.3, 0.77, 1.0, float(fpr[fpr > 0][1])):
        assert metrics.aupro(maps, masks, limit) == pytest.approx(cut_area(fpr, pro, limit), abs=1e-12)


@pytest.mark.parametrize("levels", [None, 12, 3])
def test_auspro_equals_a_sweep_over_all_thresholds(levels):
    maps, masks = example(2, levels=levels)
    # Overlapping, disconnected, touching; saturated from one pixel to all of them.
    pieces = [[], [(masks[1], 1)], [(masks[2], 7), (masks[2] & (np.arange(17) < 9), 3)], [(masks[3], 0)], []]
    defects = [[Defect(m, area or m.sum()) for m, area in image] for image in pieces]
    union = np.stack([np.any([d.mask for d in ds], axis=0) if ds else masks[0] for ds in defects])
    fpr, spro = sweep(maps, union, defects)
    np.testing.assert_allclose(metrics.spro_curve(maps, defects), [fpr, spro], atol=1e-12)
    for limit in (0.01, 0.05, 0.3, 1.0):
        assert metrics.auspro(maps, defects, limit) == pytest.approx(cut_area(fpr, spro, limit), abs=1e-12)


@pytest.mark.parametrize("levels", [None, 7])
def test_auroc_and_average_precision_equal_scikit_learn(levels):
    maps, masks = example(3, levels=levels)
    flat = masks.ravel(), maps.ravel()
    assert metrics.pixel_auroc(maps, masks) == pytest.approx(roc_auc_score(*flat), abs=1e-12)
    assert metrics.image_auroc(flat[1], flat[0]) == pytest.approx(roc_auc_score(*flat), abs=1e-12)
    assert metrics.average_precision(maps, masks) == pytest.approx(average_precision_score(*flat), abs=1e-12)


@pytest.mark.parametrize("levels", [None, 5])
def test_f1_max_equals_trying_every_threshold(levels):
    maps, masks = example(4, images=3, size=(7, 5), levels=levels)
    tried = []
    for threshold in np.unique(maps):
        positive = maps >= threshold
        tried.append((2 * (positive & masks).sum() / (positive.sum() + masks.sum()), threshold))
    best, threshold = metrics.f1_max(maps, masks)
    assert best == pytest.approx(max(f for f, _ in tried), abs=1e-12)
    assert threshold == max(t for f, t in tried if f >= best - 1e-12)


# Drawn by hand


def grid(*rows):
    return np.array([[float(c) for c in row] for row in rows])[None]


def test_f1_max_by_hand():
    # ≥ 3: two of three found, nothing else: F1 = 4/5; ≥ 1: all three and one false alarm: 6/7.
    assert metrics.f1_max([3, 3, 1, 2, 0], [1, 1, 1, 0, 0]) == (pytest.approx(6 / 7), 1)
    # The higher of two equally good thresholds: ≥ 3 gives 2/3, ≥ 1 gives 4/6.
    assert metrics.f1_max([3, 2, 1, 2], [1, 0, 1, 0]) == (pytest.approx(2 / 3), 3)


def test_ties_count_one_half():
    assert metrics.image_auroc([1, 1, 1], [1, 0, 0]) == 0.5
    assert metrics.image_auroc([2, 1, 1, 0], [1, 1, 0, 0]) == 0.875


def test_aupro_by_hand():
    # Three regions of one pixel, nine good pixels. 9 → PRO 1/3; 8 is good → FPR 1/9; 7, 6 → PRO 1; then flat.
    maps, masks = grid("9000", "0008", "7006"), grid("1000", "0000", "1001") > 0
    assert metrics.aupro(maps, masks, 1 / 9) == pytest.approx(1 / 3)
    assert metrics.aupro(maps, masks, 1.0) == pytest.approx(1 / 9 / 3 + 8 / 9)


def test_the_area_is_interpolated_at_the_limit():
    # One defect pixel ties with four of eight good ones: PRO climbs linearly from 0 to 1 over FPR 0 … 0.5.
    maps, masks = grid("555", "550", "000"), grid("010", "000", "000") > 0
    assert metrics.aupro(maps, masks, 0.25) == pytest.approx(0.25)
    assert metrics.aupro(maps, masks, 0.5) == pytest.approx(0.5)
    assert metrics.aupro(maps, masks, 1.0) == pytest.approx(0.75)


def test_regions_that_touch_at_a_corner_are_one():
    # In order: a defect pixel (9), one of nine good ones (8), a defect pixel (5), and the rest.
    joined, corner = grid("9000", "0500", "0008"), grid("1001", "0100", "0000") > 0
    apart, gap = grid("9000", "0000", "0508"), grid("1001", "0000", "0100") > 0
    # Until the good pixel, half of one region of two is covered; or one region of three.
    assert metrics.aupro(joined, corner, 0.1) == pytest.approx(1 / 4)
    assert metrics.aupro(apart, gap, 0.1) == pytest.approx(1 / 3)


def test_regions_never_join_across_images():
    maps = np.concatenate([grid("90", "00"), grid("10", "00"), grid("10", "00")])
    masks = np.concatenate([grid("10", "00"), grid("10", "00"), grid("01", "00")]) > 0
    # Three regions; the second (1) comes level with one good pixel, the third with the rest.
    assert metrics.pro_curve(maps, masks)[1].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_spro_saturates():
    maps = grid("9876", "5432", "1000")
    defect = grid("1111", "0000", "0000")[0] > 0
    # Found once two of its four pixels are: sPRO is 1 at FPR 0, and PRO too, here.
    assert metrics.auspro(maps, [[Defect(defect, 2)]], 0.05) == 1
    # Pixels 9 and 4: the second comes after four good ones of ten, unless one is enough.
    far = grid("1000", "0100", "0000")[0] > 0
    assert metrics.auspro(maps, [[Defect(far, 1)]], 0.3) == 1
    assert metrics.auspro(maps, [[Defect(far, 2)]], 0.3) == 0.5
    assert metrics.aupro(maps, far[None], 0.3) == metrics.auspro(maps, [[Defect(far, 2)]], 0.3)


def test_spro_where_a_tie_crosses_the_saturation_area():
    # The second and third defect pixel tie with two of five good ones, and the second would have been enough:
    # sPRO starts at 1/2, climbs to 1 on a straight line until FPR 2/5 and stays there.
    maps, mask = grid("9555", "5000"), grid("1110", "0000")[0] > 0
    assert metrics.auspro(maps, [[Defect(mask, 2)]], 0.2) == pytest.approx(5 / 8)
    assert metrics.auspro(maps, [[Defect(mask, 2)]], 1.0) == pytest.approx(9 / 10)


def test_spro_of_several_defects():
    maps = np.concatenate([grid("9870", "0001"), grid("6000", "0000")])
    left, right = grid("1000", "0000")[0] > 0, grid("0000", "0001")[0] > 0
    both = left | right
    # One annotation of two far pixels is one defect; two annotations are two: the same mean …
    one = metrics.auspro(maps, [[Defect(both, 2)], []], 0.1)
    two = metrics.auspro(maps, [[Defect(left, 1), Defect(right, 1)], []], 0.1)
    assert one == two == pytest.approx(0.5)
    # … until the saturation is one pixel.
    assert metrics.auspro(maps, [[Defect(both, 1)], []], 0.1) == 1
    # Overlap: a pixel counts for each defect it belongs to, and once as a defect pixel in the FPR.
    fpr, spro = metrics.spro_curve(maps, [[Defect(left, 1), Defect(both, 2)], []])
    assert spro[1] == pytest.approx(0.75)
    assert fpr[2] == pytest.approx(1 / 14)
    # The good image counts: without it there are six good pixels, not fourteen.
    assert metrics.spro_curve(maps[:1], [[Defect(both, 2)]])[0][2] == pytest.approx(1 / 6)


def test_saturation_area():
    assert metrics.saturation_area(37, 0.5, relative=True) == 18  # rounded down
    assert metrics.saturation_area(37, 1.0, relative=True) == 37
    assert metrics.saturation_area(37, 20, relative=False) == 20
    assert metrics.saturation_area(37, 2000, relative=False) == 37  # never more than there is
    for area, saturation, relative in (
        (37, np.inf, True),
        (37, np.nan, False),
        (37, 1.5, True),
        (37, 0, True),
        (-1, 3, False),
    ):
        with pytest.raises(ValueError, match=f"area is {area} and saturation {saturation}: expected"):
            metrics.saturation_area(area, saturation, relative)


# Properties


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.sampled_from([None, 4, 30]), limit=st.floats(0.01, 1))
def test_metrics_see_only_the_order_of_scores_and_not_that_of_images(seed, levels, limit):
    maps, masks = example(seed, levels=levels)
    maps = maps.astype(np.float64)
    defects = [[Defect(mask, mask.sum() / 2)] if mask.any() else [] for mask in masks]
    order = np.random.default_rng(seed).permutation(len(maps))

    def values(maps, masks, defects):
        return [
            metrics.pixel_auroc(maps, masks),
            metrics.average_precision(maps, masks),
            metrics.f1_max(maps, masks)[0],
            metrics.aupro(maps, masks, limit),
            metrics.auspro(maps, defects, limit),
        ]

    plain = values(maps, masks, defects)
    assert all(0 <= value <= 1 for value in plain)
    assert values(2 * np.exp(maps) - 7, masks, defects) == pytest.approx(plain, abs=1e-12)
    shuffled = values(maps[order], masks[order], [defects[i] for i in order])
    assert shuffled == pytest.approx(plain, abs=1e-12)
    flipped = values(-maps, masks, defects)
    assert flipped[0] == pytest.approx(1 - plain[0], abs=1e-12)


def test_best_worst_and_constant_maps():
    _, masks = example(5)
    perfect = masks.astype(np.float32)
    assert metrics.pixel_auroc(perfect, masks) == 1
    assert metrics.aupro(perfect, masks) == pytest.approx(1, abs=1e-12)
    assert metrics.f1_max(perfect, masks) == (1, 1)
    assert metrics.aupro(-perfect, masks) == metrics.pixel_auroc(-perfect, masks) == 0
    # A constant map is the diagonal, whose mean height up to the limit is half the limit.
    assert metrics.aupro(np.zeros(masks.shape), masks, 0.3) == pytest.approx(0.15)
    assert metrics.pixel_auroc(np.zeros(masks.shape), masks) == 0.5


def test_tensors_and_number_types_agree():
    maps, masks = example(6)
    value = metrics.aupro(maps, masks)
    assert metrics.aupro(torch.tensor(maps, requires_grad=True), torch.tensor(masks)) == value
    assert metrics.aupro(torch.tensor(maps), torch.tensor(masks, dtype=torch.uint8)) == value
    assert metrics.aupro(maps.astype(np.float64), masks.astype(np.float32)) == value
    assert isinstance(value, float)
    assert 0 <= metrics.pixel_auroc(torch.tensor(maps).bfloat16(), torch.tensor(masks)) <= 1


# Bad input


def nan(maps, masks):
    maps[0, 0, 0] = np.nan
    return maps, masks


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nan, "NaN"),
        (lambda maps, masks: (maps, masks[:, :-1]), "resize"),
        (lambda maps, masks: (maps[:3], masks), "shape"),
        (lambda maps, masks: (maps[:0], masks[:0]), "at least one"),
        (lambda maps, masks: (maps, masks & False), "0 of"),
        (lambda maps, masks: (maps, masks | True), "some of each"),
        (lambda maps, masks: (maps, masks * 255), "0/1"),
    ],
)
@pytest.mark.parametrize(
    "metric",
    [metrics.pixel_auroc, metrics.average_precision, metrics.f1_max, metrics.aupro, metrics.pro_curve],
)
def test_bad_maps_and_masks_are_refused(metric, spoil, message):
    with pytest.raises(ValueError, match=message):
        metric(*spoil(*example(7)))


def test_one_class_of_images_is_refused():
    with pytest.raises(ValueError, match="0 of 3"):
        metrics.image_auroc([1, 2, 3], [0, 0, 0])
    with pytest.raises(ValueError, match="shape"):
        metrics.image_auroc([1, 2, 3], [0, 1])


@pytest.mark.parametrize("limit", [0, -0.1, 1.01, 30, float("nan")])
def test_limits_outside_zero_and_one_are_refused(limit):
    maps, masks = example(8)
    with pytest.raises(ValueError, match="limit"):
        metrics.aupro(maps, masks, limit)
    with pytest.raises(ValueError, match="limit"):
        metrics.auspro(maps, [[Defect(m, 1)] if m.any() else [] for m in masks], limit)


def test_bad_defects_are_refused():
    maps, masks = example(9, images=2)
    mask = masks[1]
    cases = [
        ([[]], "1 lists of defects for 2 maps"),
        ([[], []], "0 of"),
        ([[], [Defect(mask[:-1], 1)]], "resize"),
        ([[], [Defect(mask, 0)]], "saturation area 0"),
        ([[], [Defect(mask, mask.sum() + 1)]], "saturation area"),
        ([[], [Defect(mask * 2, 1)]], "0/1"),
    ]
    for defects, message in cases:
        with pytest.raises(ValueError, match=message):
            metrics.auspro(maps, defects)
    with pytest.raises(ValueError, match=r"maps\[None\]"):
        metrics.aupro(maps[1], mask)


def test_lists_are_numbers_too_and_words_are_not():
    assert metrics.image_auroc([0.1, 0.9], [0, 1]) == 1
    for scores in (["a", "b"], [[1], [2, 3]], [None, 1.0], None):
        with pytest.raises(ValueError, match="^scores is .*expected"):
            metrics.image_auroc(scores, [0, 1])


def test_image_labels_only_have_no_metric_of_pixels():
    for metric in (metrics.pixel_auroc, metrics.aupro):
        with pytest.raises(ValueError, match="masks is None: .*image labels only.*use image_auroc"):
            metric(np.zeros((2, 3, 4)), None)
