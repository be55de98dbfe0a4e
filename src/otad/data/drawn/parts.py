"""Small parts for the object scenes, how they fall, and print.

A part is an outline and a function that draws it. An item is a part that lies somewhere, with a seed of its
own, so that its looks do not depend on what happens to the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import map_coordinates

from otad.data.drawn.canvas import (
    Array,
    Canvas,
    Mask,
    Place,
    Shape,
    box,
    disc,
    either,
    hexagon,
    ring,
    shifted,
    stroke,
    without,
)

TURN = 10.0  # degrees by which parts that are laid down miss their angle


@dataclass(frozen=True)
class Part:
    """A small part: outline, half length and radius for keeping it clear of others, and how to draw it."""

    outline: Shape
    half_length: float
    radius: float
    draw: Callable[[Canvas, Place, np.random.Generator], None]


@dataclass(frozen=True)
class Item:
    """One part lying somewhere; `seed` fixes its looks."""

    kind: str
    place: Place
    seed: int


# The parts ------------------------------------------------------------------------------------------------


def steel(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw the colour of one piece of steel."""
    tone = rng.normal(0.60, 0.03)
    return (tone, tone * 1.005, tone * 1.03)


_NUT = without(hexagon(0.041), disc(0.021))
_WASHER = without(disc(0.043), disc(0.021))
_SEAL = ring(0.034, 0.0105)
_HEAD = shifted(box(0.016, 0.030, 0.012), -0.062, 0)
_PILL = box(0.048, 0.021, 0.021)
_RESISTOR, _WIRE = box(0.036, 0.0175, 0.012), stroke([(-0.062, 0), (0.062, 0)], 0.0045)
_BANDS = ((-0.020, (0.42, 0.20, 0.08)), (-0.006, (0.10, 0.10, 0.10)), (0.008, (0.72, 0.16, 0.10)))


def _shaft(tip: float) -> Shape:
    return stroke([(-0.045, 0), (tip, 0)], 0.013)


def _nut(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    canvas.solid(_NUT, place, 0.06, steel(rng), bevel=0.009, relief=0.8, gloss=0.5)


def _washer(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    tone = 0.85 * steel(rng)[0]
    canvas.solid(_WASHER, place, 0.055, (tone,) * 3, bevel=0.005, relief=0.8, gloss=0.4, lift=0.008)


def _rubber(canvas: Canvas, place: Place, rng: np.random.Generator, shape: Shape) -> None:
    tone = rng.normal(0.13, 0.012)
    canvas.solid(shape, place, 0.055, (tone,) * 3, bevel=0.0105, gloss=0.35)


def _seal(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    _rubber(canvas, place, rng, _SEAL)


def _broken_seal(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    """A seal without a sector of half angle arctan(gap); the gap has a generator of its own."""
    gap = rng.spawn(1)[0].uniform(0.5, 1.2)
    _rubber(canvas, place, rng, without(_SEAL, lambda u, v: np.abs(v) - gap * u))


def _threaded(canvas: Canvas, place: Place, rng: np.random.Generator, shaft: Shape, reach: float) -> None:
    colour, phase = np.array(steel(rng), np.float32), rng.uniform(0, 1)

    def threads(u: Array, v: Array) -> Array:
        wave = 0.5 + 0.5 * np.sin(2 * np.pi * (u / 0.0105 + 0.25 * v / 0.013 + phase))
        return colour[:, None, None] * (0.70 + 0.30 * wave) * (1 - 0.55 * np.minimum((v / 0.016) ** 2, 1))

    canvas.solid(shaft, place, reach, threads, bevel=0.012, relief=0.7, gloss=0.4)
    canvas.solid(_HEAD, place, 0.10, tuple(colour * 1.05), bevel=0.010, gloss=0.5)


def _screw(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    _threaded(canvas, place, rng, _shaft(0.070), 0.10)


def _long_screw(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    _threaded(canvas, place, rng, _shaft(0.140), 0.17)


def _bent_screw(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    own = rng.spawn(1)[0]
    tip = (0.040, float(own.choice([-1, 1]) * own.uniform(0.035, 0.060)))
    _threaded(canvas, place, rng, stroke([(-0.045, 0), (0.0, 0), tip], 0.013), 0.11)


def _bead(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    colour = np.clip(np.array([0.74, 0.13, 0.12]) * rng.normal(1, 0.06) + rng.normal(0, 0.012, 3), 0.03, 1)
    canvas.solid(disc(0.036), place, 0.05, tuple(colour), bevel=0.036, relief=0.8, gloss=0.7)


def _pill(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    blue = np.array([0.16, 0.36, 0.70])[:, None, None] * rng.normal(1, 0.05)
    white = np.array([0.86, 0.85, 0.80])[:, None, None] * rng.normal(1, 0.02)

    def halves(u: Array, v: Array) -> Array:
        return blue + (white - blue) * np.clip(0.5 + (u - 0.004) / canvas.step, 0, 1)

    canvas.solid(_PILL, place, 0.06, halves, bevel=0.02, relief=0.7, gloss=0.5)


def _resistor(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    base = np.array([0.76, 0.63, 0.44])[:, None, None] * rng.normal(1, 0.03)

    def bands(u: Array, v: Array) -> Array:
        flat = np.broadcast_to(base, (3, *u.shape)).copy()
        for at, tint in _BANDS:
            share = np.clip((0.0042 - np.abs(u - at)) / canvas.step + 0.5, 0, 1)
            flat += share * (np.array(tint)[:, None, None] - flat)
        return flat

    canvas.solid(_WIRE, place, 0.08, steel(rng), bevel=0.004, gloss=0.3)
    canvas.solid(_RESISTOR, place, 0.06, bands, bevel=0.015, relief=0.8, gloss=0.3)


PARTS = {
    "nut": Part(_NUT, 0.0, 0.047, _nut),
    "washer": Part(_WASHER, 0.0, 0.045, _washer),
    "seal": Part(_SEAL, 0.0, 0.047, _seal),
    "broken_seal": Part(_SEAL, 0.0, 0.047, _broken_seal),
    "screw": Part(either(_shaft(0.070), _HEAD), 0.055, 0.030, _screw),
    "long_screw": Part(either(_shaft(0.140), _HEAD), 0.090, 0.030, _long_screw),
    "bent_screw": Part(either(_shaft(0.070), _HEAD), 0.055, 0.030, _bent_screw),
    "bead": Part(disc(0.036), 0.0, 0.038, _bead),
    "pill": Part(_PILL, 0.028, 0.023, _pill),
    "resistor": Part(either(_RESISTOR, _WIRE), 0.045, 0.020, _resistor),
}


# How they lie ---------------------------------------------------------------------------------------------


def scatter(
    kinds: Sequence[str],
    inside: Shape,
    reach: tuple[float, float],
    rng: np.random.Generator,
    *,
    homes: Sequence[tuple[float, float]] | None = None,
    lie: float = 0.0,
    apart: float = 0.0,
    beside: Sequence[Item] = (),
) -> list[Item]:
    """Drop parts one after the other where they touch neither wall nor another part, as far as there is room.

    inside : the container's shape around 0. reach : half sides of the box around a part's home (0 if it has
    none) in which it falls. lie : mean angle in degrees. apart : the gap kept between parts. beside : parts
    that lie there already.
    """
    items = list(beside)
    for number, kind in enumerate(kinds):
        part, tries = PARTS[kind], 40
        at = rng.uniform(-1, 1, (tries, 2)) * reach + (homes[number] if homes else (0, 0))
        angle = np.deg2rad(rng.normal(lie, TURN, tries))
        points = _ends(at, angle, part.half_length)
        room = -inside(points[..., 0], points[..., 1]).max(axis=1) - part.radius
        for item in items:
            other = PARTS[item.kind]
            there = _ends(np.array([item.place[:2]]), np.array([item.place[2]]), other.half_length)
            gaps = np.sqrt(((points[:, :, None] - there) ** 2).sum(axis=-1)).min(axis=(1, 2))
            room = np.minimum(room, gaps - part.radius - other.radius - apart)
        best = int(np.argmax(room > 0)) if (room > 0).any() else int(np.argmax(room))
        place = (float(at[best, 0]), float(at[best, 1]), float(angle[best]))
        items.append(Item(kind, place, int(rng.integers(2**31))))
    return items[len(beside) :]


def _ends(at: Array, angle: Array, half_length: float) -> Array:
    """Head, middle and tail of parts at (n,2): (n,3,2)."""
    along = np.stack([np.cos(angle), np.sin(angle)], -1) * half_length
    return at[:, None] + np.array([-1, 0, 1])[:, None] * along[:, None]


def moved(items: Sequence[Item], by: tuple[float, float]) -> list[Item]:
    """Shift items."""
    return [replace(i, place=(i.place[0] + by[0], i.place[1] + by[1], i.place[2])) for i in items]


def drop(canvas: Canvas, items: Sequence[Item]) -> None:
    """Draw items, the first at the bottom."""
    for item in items:
        PARTS[item.kind].draw(canvas, item.place, np.random.default_rng(item.seed))


def outlines(canvas: Canvas, items: Sequence[Item]) -> list[Mask]:
    """Mark the pixels of each item: (H,W) bool each."""
    masks = []
    for item in items:
        mask, window = np.zeros(canvas.shape, bool), canvas.window(item.place[0], item.place[1], 0.2)
        mask[window] = PARTS[item.kind].outline(*canvas.at(item.place, window)) < 0
        masks.append(mask)
    return masks


# Print ----------------------------------------------------------------------------------------------------

_GLYPHS = (  # 3 × 5 dots of 0–9 and A, E, H, L, P, T, row by row
    31599, 11415, 29671, 29647, 23497, 31183, 31215, 29330, 31727, 31695, 11245, 31143, 23533, 18727, 31716, 29842
)  # fmt: skip


def characters(
    rows: int, columns: int, dot: float, rng: np.random.Generator
) -> Callable[[Array, Array], Array]:
    """Print rows of random characters in dots of a size: a function of (u, v) that is 1 on ink."""
    ink = np.zeros((7 * rows - 2, 4 * columns - 1), np.float32)
    for row in range(rows):
        for column in range(columns):
            bits = np.array(list(f"{_GLYPHS[rng.integers(16)]:015b}"), np.float32)
            ink[7 * row : 7 * row + 5, 4 * column : 4 * column + 3] = bits.reshape(5, 3)
    ink = np.pad(ink, 2)

    def read(u: Array, v: Array) -> Array:
        at = np.stack([v / dot + (ink.shape[0] - 1) / 2, u / dot + (ink.shape[1] - 1) / 2])
        return map_coordinates(ink, at, order=1, mode="constant")

    return read
