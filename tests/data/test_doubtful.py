"""Two planted defects a picture, and every way to mark them wrongly: by hand-drawn masks first, then on drawn pictures."""

import pytest
import torch

from otad.data import doubtful
from otad.data.drawn import textures
from otad.data.drawn.defects import KINDS

SIZE = (13, 17)


@pytest.fixture
def parts():
    """Three pictures: a good one, an L and a dot, a bar that touches the border alone."""
    found = torch.zeros(3, 2, *SIZE, dtype=torch.bool)
    found[1, 0, 2:6, 3] = True
    found[1, 0, 5, 3:8] = True
    found[1, 1, 10, 14] = True
    found[2, 0, 0, 0:4] = True
    return found


def test_exact_marks_all_defects_and_nothing_else(parts):
    masks = doubtful.exact(parts)
    assert masks.flatten(1).sum(1).tolist() == [0, 9, 4]
    assert torch.equal(masks[1], parts[1, 0] | parts[1, 1])


def test_one_defect_of_a_picture_is_left_out_or_none(parts):
    masks = doubtful.unmarked(parts, torch.tensor([-1, 1, -1]))
    assert torch.equal(masks[1], parts[1, 0])
    assert torch.equal(masks[2], parts[2, 0])
    assert torch.equal(doubtful.unmarked(parts, torch.tensor([0, 0, 1]))[1], parts[1, 1])
    assert parts[1].any(), "what came in is not changed"


def test_a_wider_label_holds_a_disc_around_each_pixel(parts):
    assert torch.equal(doubtful.dilated(parts, 0), doubtful.exact(parts))
    for by, area in ((1, 5), (1.5, 9), (2, 13)):  # pixels of a disc
        only = torch.zeros(1, 1, *SIZE, dtype=torch.bool)
        only[0, 0, 6, 8] = True
        assert int(doubtful.dilated(only, by).sum()) == area
    assert not doubtful.dilated(parts, 4)[0].any()


def test_a_box_is_the_smallest_one_of_each_defect_by_itself(parts):
    masks = doubtful.boxes(parts)
    expected = torch.zeros(SIZE, dtype=torch.bool)
    expected[2:6, 3:8] = True
    expected[10, 14] = True
    assert torch.equal(masks[1], expected)
    assert torch.equal(masks[2], parts[2, 0])


def test_a_hull_closes_what_a_defect_leaves_open(parts):
    masks = doubtful.hulls(parts)
    assert (masks | doubtful.exact(parts)).equal(masks)
    assert 8 < int(masks[1].sum()) - 1 < 20  # more than the L, less than its box
    assert (masks <= doubtful.boxes(parts)).all()
    wider = doubtful.hulls(parts, 2)
    assert (masks <= wider).all()
    assert int(wider[1].sum()) > int(masks[1].sum())


def test_two_habits_take_turns_over_the_pictures_with_a_defect(parts):
    fine, coarse = doubtful.exact(parts), doubtful.boxes(parts)
    mixed = doubtful.in_turns(fine, coarse)
    assert torch.equal(mixed[1], fine[1])
    assert torch.equal(mixed[2], coarse[2])
    assert not mixed[0].any()


def test_a_picture_called_good_has_no_mask(parts):
    masks = doubtful.exact(parts)
    left = doubtful.called_good(masks, torch.tensor([1]))
    assert left.flatten(1).any(1).tolist() == [False, False, True]
    assert masks[1].any()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: doubtful.exact(p[:, 0]), "parts are a tensor of bool .* expected bool"),
        (lambda p: doubtful.boxes(p.float()), "expected bool .*; use masks > 0"),
        (lambda p: doubtful.unmarked(p, torch.tensor([0, 2, 0])), "−1 or the number of a defect below 2"),
        (lambda p: doubtful.unmarked(p, torch.tensor([0, 1])), r"expected \(3,\) integers"),
        (lambda p: doubtful.dilated(p, -1), "by is -1: expected a distance of 0 or more"),
        (lambda p: doubtful.hulls(p, float("nan")), "by is nan: expected"),
        (lambda p: doubtful.in_turns(p[:, 0], p[:2, 0]), "expected bool of one shape"),
        (lambda p: doubtful.called_good(p[:, 0], torch.tensor([3])), "expected numbers from 0 to 2"),
    ],
)
def test_what_makes_no_label_is_refused_in_words(parts, call, words):
    with pytest.raises(ValueError, match=words):
        call(parts)


# Pictures -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted():
    good = torch.stack([textures.render("tile", (72, 80), [5, i]) for i in range(7)])
    return good, *doubtful.two_defects(good, [1, 2], gap=6)


def test_two_defects_lie_apart_and_outside_of_them_nothing_changes(planted):
    good, damaged, parts, changes = planted
    assert parts.shape == (7, 2, 72, 80)
    assert parts.flatten(2).any(2).all()
    touched = (damaged != good).any(1)
    assert not (touched & ~doubtful.exact(parts)).any()
    assert touched[doubtful.exact(parts)].float().mean() > 0.9
    assert not (doubtful.dilated(parts[:, :1], 6) & parts[:, 1]).any()
    assert changes.shape == (7, 2)
    inside = (damaged - good).abs().mean(1)
    for k in (0, 1):
        assert changes[3, k] == pytest.approx(float(inside[3][parts[3, k]].mean()), rel=1e-5)


def test_the_same_seed_plants_the_same_and_another_another(planted):
    good, damaged, parts, _ = planted
    again = doubtful.two_defects(good, [1, 2], gap=6)
    assert torch.equal(again[0], damaged)
    assert torch.equal(again[1], parts)
    assert not torch.equal(doubtful.two_defects(good[:1], [1, 3], gap=6)[0], damaged[:1])


def test_where_no_second_defect_fits_it_is_said(planted):
    good = planted[0]
    with pytest.raises(
        ValueError, match=r"no place for a hole on an image of \(72, 80\): make the gap smaller"
    ):
        doubtful.plant_two(good[0], ("cut", "hole"), [0], gap=500.0)
    with pytest.raises(ValueError, match="expected two kinds, a gap of 0 or more"):
        doubtful.plant_two(good[0], KINDS[:3], [0], gap=4)
    with pytest.raises(ValueError, match="expected two or more of cut, hole"):
        doubtful.two_defects(good, [0], gap=4, kinds=("hole", "hole"))
    with pytest.raises(ValueError, match=r"expected \(N,3,H,W\), one or more"):
        doubtful.two_defects(good[:0], [0], gap=4)


def test_what_cannot_be_seen_is_planted_elsewhere(planted):
    """On a picture that is plain on the left a blur changes nothing there."""
    plain = planted[0][0].clone()
    plain[..., :40] = 0.5
    for seed in range(4):
        once = doubtful.plant_two(plain, ("blur", "hole"), [seed], gap=2)
        seen = doubtful.plant_two(plain, ("blur", "hole"), [seed], gap=2, least=0.03)
        assert seen[2].min() >= 0.03
        if once[2].min() >= 0.03:
            assert torch.equal(once[0], seen[0])
    with pytest.raises(ValueError, match="500 tries found no place for a blur .* or the least change"):
        doubtful.plant_two(torch.full((3, 32, 32), 0.5), ("blur", "hole"), [0], gap=2, least=0.03)
