"""Object scenes: any size, seeded, exact masks, twins that differ where the mask says, LOCO's saturation."""

import numpy as np
import pytest
import torch

from otad.data import GOOD
from otad.data.drawn import scenes
from otad.data.drawn.canvas import FLAWS, Canvas, box, disc, flaw, hexagon, noise, stroke, without
from otad.data.drawn.parts import PARTS, Item, outlines, scatter
from otad.data.drawn.scenes import KINDS, LOGICAL, NAMES, STRUCTURAL, group, load, render
from otad.metrics import auspro

EVERY = [(name, kind) for name in NAMES for kind in KINDS[name]]


def _mask(marks, shape):
    mask = torch.zeros(shape, dtype=torch.bool)
    for mark in marks:
        mask |= mark.mask
    return mask


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(64, 97), (101, 64), 48])
def test_any_size(name, size):
    image, marks = render(name, size, 0)
    assert image.shape == (3, *(size if isinstance(size, tuple) else (size, size)))
    assert image.dtype == torch.float32
    assert torch.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1
    assert marks == []


@pytest.mark.parametrize("name", NAMES)
def test_seeds_decide_and_differ(name):
    first, again, other = (render(name, (80, 96), seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 0.01
    assert (first.mean((1, 2)) - other.mean((1, 2))).abs().max() < 0.25  # the same scene all the same
    assert first.mean(0).std() > 0.08
    assert ((first <= 0) | (first >= 1)).float().mean() < 0.06


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_every_defect_is_marked_and_changes_what_is_marked(name, kind):
    """At the smallest size too, whatever the seed."""
    for seed, size in ((3, 48), (4, (72, 88))):
        good, _ = render(name, size, seed)
        bad, marks = render(name, size, seed, kind)
        assert [mark.kind for mark in marks] == [kind]
        mask = marks[0].mask
        assert mask.shape == good.shape[1:]
        assert 0 < marks[0].saturation_area <= mask.sum()
        difference = (good - bad).abs().amax(0)
        assert difference[mask].max() > 0.03
        again, twice = render(name, size, seed, kind)
        assert torch.equal(bad, again)
        assert torch.equal(mask, twice[0].mask)


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n, k in EVERY if k in STRUCTURAL[n]])
def test_structural_masks_are_exact(name, kind):
    """Outside, the damaged twin equals the good one to the bit; inside, it is changed nearly everywhere."""
    good, _ = render(name, 96, 5)
    bad, marks = render(name, 96, 5, kind)
    same = (good == bad).all(0)
    assert same[~marks[0].mask].all()
    assert same[marks[0].mask].float().mean() < 0.1
    assert marks[0].saturation_area == marks[0].mask.sum()
    assert marks[0].mask.float().mean() < 0.1


@pytest.mark.parametrize(
    ("name", "kind"),
    [("tray", "swapped"), ("tray", "foreign"), ("tray", "extra"), ("bottle", "underfilled"),
     ("bottle", "overfilled"), ("bottle", "label_shifted"), ("bottle", "wrong_fruit"),
     ("transistor", "misplaced"), ("transistor", "turned"), ("transistor", "bent_lead")],
)  # fmt: skip
def test_logical_defects_change_little_outside_their_mask(name, kind):
    good, _ = render(name, 96, 6)
    bad, marks = render(name, 96, 6, kind)
    changed = (good - bad).abs().amax(0)
    inside, outside = changed[marks[0].mask], changed[~marks[0].mask]
    assert inside.mean() > 5 * outside.mean()


def test_saturation_follows_the_table():
    _, (swapped,) = render("tray", 160, 0, "swapped")
    assert swapped.saturation_area == pytest.approx(int(swapped.mask.sum()) / 2, rel=0.1)
    for kind in ("missing", "extra"):
        _, (mark,) = render("tray", 160, 0, kind)
        assert mark.saturation_area < 0.55 * mark.mask.sum()
    _, (missing,) = render("dish", 160, 0, "missing")
    assert missing.mask.sum() > 30 * missing.saturation_area
    _, (shifted,) = render("bottle", 160, 0, "label_shifted")
    assert 0.5 < shifted.saturation_area / shifted.mask.sum() < 1
    _, (foreign,) = render("tray", 160, 0, "foreign")
    assert foreign.saturation_area == foreign.mask.sum()


def test_a_missing_part_was_where_its_twin_has_it():
    good, _ = render("tray", 160, 7)
    bad, (mark,) = render("tray", 160, 7, "missing")
    gone = ((good - bad).abs().amax(0) > 0.1) & mark.mask
    assert 0.3 * mark.saturation_area < gone.sum() < 4 * mark.saturation_area


def test_an_image_does_not_depend_on_how_many_are_asked_for():
    few = load("dish", 48, 1, 2, 1, ("extra", "scratch"), 1, seed=3)
    many = load("dish", 48, 3, 3, 2, ("scratch", "missing", "extra"), 2, seed=3)
    assert torch.equal(few.train, many.train[:1])
    assert torch.equal(few.validation, many.validation[:1])
    assert torch.equal(few.test[:2], many.test[:2])
    assert torch.equal(few.test[few.kinds.index("extra")], many.test[many.kinds.index("extra")])
    everything = torch.cat([many.train, many.validation, many.test])
    assert len(torch.unique(everything, dim=0)) == len(everything)
    assert not torch.equal(load("dish", 48, 1, 1, 0, seed=4).train, few.train)


def test_the_split_is_as_asked_and_feeds_the_metric():
    data = load("tray", (64, 80), 2, 3, 1, seed=1)
    assert data.kinds == [GOOD] * 3 + list(KINDS["tray"])
    assert data.groups == [GOOD] * 3 + ["logical"] * 4 + ["structural"] * 4
    assert data.train.shape == (2, 3, 64, 80)
    assert data.validation.shape == (0, 3, 64, 80)
    assert data.part("structural") == [0, 1, 2, 7, 8, 9, 10]
    for mask, marks in zip(data.masks, data.defects, strict=True):
        assert torch.equal(mask, _mask(marks, mask.shape))
    keep = data.part("logical")
    perfect = data.masks[keep].float()
    assert auspro(perfect, [data.defects[i] for i in keep]) > 0.99


def test_enough_is_enough():
    """To find one of the swapped pockets, or one part's area in an emptier one, is to find the defect."""
    data = load("dish", 64, 1, 1, 1, ("missing",), seed=0)
    mark = data.defects[1][0]
    maps = torch.zeros(2, 64, 64)
    spot = torch.nonzero(mark.mask)[: int(mark.saturation_area)]
    maps[1, spot[:, 0], spot[:, 1]] = 1.0
    assert auspro(maps, data.defects) > 0.99
    maps[1, spot[::2, 0], spot[::2, 1]] = -1.0
    assert auspro(maps, data.defects) < 0.7


def test_kinds_and_groups():
    for name in NAMES:
        assert not set(LOGICAL[name]) & set(STRUCTURAL[name])
        assert {group(name, kind) for kind in STRUCTURAL[name]} == {"structural"}
    assert group("tray", "swapped") == "logical"
    assert group("tray", GOOD) == GOOD


def test_bad_arguments():
    with pytest.raises(ValueError, match="unknown scene 'shelf'; choose from transistor"):
        render("shelf")
    with pytest.raises(ValueError, match="bottle has no defect 'swapped'"):
        render("bottle", kind="swapped")
    with pytest.raises(ValueError, match="at least 48 pixels"):
        render("bottle", (47, 60))
    with pytest.raises(ValueError, match="at least one image"):
        load("bottle", n_train=0)
    with pytest.raises(ValueError, match="tray has no defect 'turned'"):
        load("tray", 48, 1, 1, 1, ("turned",))
    with pytest.raises(ValueError, match="unknown group 'optical'; choose from logical, structural"):
        load("tray", 48, 1, 1, 0).part("optical")


# Canvas and parts -----------------------------------------------------------------------------------------


def test_shapes_against_their_areas():
    canvas = Canvas((180, 220), np.random.default_rng(0))
    for shape, area in (
        (disc(0.2), np.pi * 0.04),
        (box(0.2, 0.1), 0.08),
        (box(0.2, 0.1, 0.05), 0.08 - (4 - np.pi) * 0.0025),
        (hexagon(0.2), 2 * np.sqrt(3) * 0.04),
        (stroke([(-0.1, 0), (0.1, 0)], 0.05), 0.02 + np.pi * 0.0025),
        (without(disc(0.2), disc(0.1)), np.pi * 0.03),
    ):
        for place in ((0.0, 0.0, 0.0), (0.1, -0.05, 0.7)):
            assert canvas.region(shape, place).sum() * canvas.step**2 == pytest.approx(area, rel=0.02)


@pytest.mark.parametrize("place", [(0.13, -0.21, 0.4), (0.0, 0.0, 2.0), (0.9, 0.9, 0.0), (-3.0, 0.0, 0.0)])
def test_an_object_is_drawn_the_same_in_its_window_as_on_the_whole(place):
    """The window is only there to save time; objects that leave the image, or are not in it, are cut."""
    pictures = []
    for reach in (0.13, 2.0):
        canvas = Canvas((90, 70), np.random.default_rng(1))
        canvas.colour[:] = 0.5
        canvas.solid(box(0.08, 0.05), place, reach, (0.9, 0.2, 0.1))
        pictures.append(canvas.colour)
    np.testing.assert_allclose(*pictures, atol=0.02)
    assert (np.abs(pictures[0] - 0.5).max() > 0.1) == (abs(place[0]) < 0.5)


@pytest.mark.parametrize("kind", FLAWS)
def test_a_flaw_changes_its_mask_only(kind):
    canvas = Canvas((80, 100), np.random.default_rng(2))
    canvas.colour[:] = 0.5 + 0.1 * noise(canvas.shape, 0.1, np.random.default_rng(3))
    before, where = canvas.colour.copy(), canvas.region(box(0.3, 0.2))
    mask = flaw(canvas, kind, where, np.random.default_rng(4))
    changed = (before != canvas.colour).any(axis=0)
    assert mask.any()
    assert not (mask & ~where).any()
    assert not (changed & ~mask).any()
    assert changed[mask].mean() > 0.8


def test_parts_do_not_touch_where_there_is_room():
    canvas = Canvas((200, 200), np.random.default_rng(5))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        items = scatter(["nut", "screw", "pill", "bead"] * 2, disc(0.45), (0.4, 0.4), rng, lie=30)
        stack = np.stack(outlines(canvas, items))
        assert stack.any((1, 2)).all()
        assert stack.sum(0).max() == 1
        more = scatter(["seal"], disc(0.45), (0.4, 0.4), rng, beside=items)
        assert [item.kind for item in more] == ["seal"]


def test_outlines_are_where_parts_are_drawn():
    for kind, part in PARTS.items():
        if kind in ("bent_screw", "broken_seal"):  # marked by their difference from a whole one
            continue
        canvas = Canvas((160, 160), np.random.default_rng(6))
        canvas.colour[:] = 0.4
        item = Item(kind, (0.1, 0.05, 0.6), 0)
        part.draw(canvas, item.place, np.random.default_rng(item.seed))
        changed = np.abs(canvas.colour - 0.4).max(axis=0) > 0.01
        assert changed[outlines(canvas, [item])[0]].mean() > 0.9


def test_noise_is_smooth_and_of_unit_size():
    for scale in (0.003, 0.05, 0.2):
        field = noise((120, 90), scale, np.random.default_rng(7))
        assert field.shape == (120, 90)
        assert 0.6 < field.std() < 1.4
    assert np.abs(np.diff(field, axis=0)).max() < 0.5
    assert scenes.LICENCE.startswith("MIT")


# The foreground, the camera farther away, the object anywhere ------------------------------------------------


@pytest.mark.parametrize("name", scenes.NAMES)
def test_the_foreground_is_the_object(name):
    mask = scenes.foreground(name, (96, 120), seed=3)
    far = scenes.foreground(name, (96, 120), seed=3, zoom=0.5)
    assert mask.dtype == torch.bool
    assert mask.shape == (96, 120)
    assert (
        0.05 < float(far.float().mean() / mask.float().mean()) < 0.35
    )  # a quarter, where nothing is cut off
    image, _ = scenes.render(name, (96, 120), seed=3)
    grey = image.mean(0)
    assert abs(float(grey[mask].mean() - grey[~mask].mean())) > 0.03


@pytest.mark.parametrize("name", scenes.NAMES)
def test_wander_moves_the_object_and_turns_it(name):
    near, wide = (
        torch.stack([scenes.foreground(name, 96, seed=s, zoom=0.7, wander=w) for s in range(6)]).float()
        for w in (0.0, 12.0)
    )
    assert float(wide.std(0).mean()) > 2 * float(near.std(0).mean())


def test_usual_pictures_did_not_change_and_loading_tells_the_foreground():
    plain, usual = (
        scenes.load("bottle", 64, 2, 1, 1, seed=5, **k) for k in ({}, {"zoom": 1.0, "wander": 1.0})
    )
    assert torch.equal(plain.test, usual.test)
    assert plain.foreground.shape == (2, 64, 64)
    assert torch.equal(
        plain.foreground[1], scenes.foreground("bottle", 64, [5, scenes.NAMES.index("bottle"), 0, 0, 1])
    )
    moved = scenes.load("bottle", 64, 2, 1, 1, seed=5, zoom=0.7, wander=12.0)
    assert moved.kinds == plain.kinds
    assert not torch.equal(moved.test, plain.test)


@pytest.mark.parametrize("bad", [{"zoom": 0.0}, {"zoom": 9.0}, {"wander": -1.0}])
def test_a_camera_out_of_range_is_refused(bad):
    with pytest.raises(ValueError, match="expected 0.2 to 5"):
        scenes.render("dish", 64, **bad)
