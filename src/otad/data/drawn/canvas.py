"""What the object scenes are drawn with: soft-edged shapes with relief and shadow, flaws, and a camera.

A shape is a signed distance, negative inside, in units of the image's short side; its edge is one pixel
wide, its shadow a wider one of the same distance, displaced. Every image has a pose, a light and a camera
of its own. Lengths are relative, so a larger image shows the same objects in finer detail.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from torch.nn import functional

from otad.data.drawn.defects import FAINTEST

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]
Shape = Callable[[Array, Array], Array]
Window = tuple[slice, slice]
Place = tuple[float, float, float]  # u, v, angle in radians
WHOLE: Window = (slice(None), slice(None))


# Shapes: (u, v) → signed distance -------------------------------------------------------------------------


def length(a: Array, b: Array) -> Array:
    """Length of (a, b): np.hypot without its care for overflow, eight times as fast."""
    return np.sqrt(a * a + b * b)


def disc(radius: float) -> Shape:
    """Draw a disc."""
    return lambda u, v: length(u, v) - radius


def ring(radius: float, half: float) -> Shape:
    """Draw a ring of a mean radius and half a width."""
    return lambda u, v: np.abs(length(u, v) - radius) - half


def box(half_u: float, half_v: float, corner: float = 0.0) -> Shape:
    """Draw a rectangle of half sides, with rounded corners."""

    def distance(u: Array, v: Array) -> Array:
        a, b = np.abs(u) - (half_u - corner), np.abs(v) - (half_v - corner)
        return length(np.maximum(a, 0), np.maximum(b, 0)) + np.minimum(np.maximum(a, b), 0) - corner

    return distance


def hexagon(radius: float) -> Shape:
    """Draw a regular hexagon by its inner radius."""

    def distance(u: Array, v: Array) -> Array:
        a, b = np.abs(u), np.abs(v)
        return np.maximum(a, 0.5 * a + 0.8660254 * b) - radius

    return distance


def stroke(points: list[tuple[float, float]], half: float) -> Shape:
    """Draw a line of constant width through points (u, v)."""

    def distance(u: Array, v: Array) -> Array:
        near = np.full(u.shape, np.inf, np.float32)
        for (a, b), (c, d) in pairwise(points):
            e, f, p, q = c - a, d - b, u - np.float32(a), v - np.float32(b)
            along = np.clip((p * e + q * f) / max(e * e + f * f, 1e-12), 0, 1)
            np.minimum(near, (p - along * e) ** 2 + (q - along * f) ** 2, out=near)
        return np.sqrt(near) - half

    return distance


def without(shape: Shape, hole: Shape) -> Shape:
    """Cut a hole into a shape."""
    return lambda u, v: np.maximum(shape(u, v), -hole(u, v))


def shifted(shape: Shape, a: float, b: float) -> Shape:
    """Move a shape to (a, b)."""
    return lambda u, v: shape(u - a, v - b)


def either(*shapes: Shape) -> Shape:
    """Join shapes."""
    return lambda u, v: np.minimum.reduce([shape(u, v) for shape in shapes])


def ragged(radius: float, stretch: float, rng: np.random.Generator) -> Shape:
    """Draw an irregular spot, longer than wide by `stretch`."""
    angle, waves = rng.uniform(0, np.pi), np.arange(2, 7)
    sizes, phases = rng.normal(0, 0.22, 5) / waves**0.7, rng.uniform(0, 2 * np.pi, 5)

    def distance(u: Array, v: Array) -> Array:
        a = (u * np.cos(angle) + v * np.sin(angle)) / np.sqrt(stretch)
        b = (v * np.cos(angle) - u * np.sin(angle)) * np.sqrt(stretch)
        bearing = np.arctan2(b, a)
        edge = sum(s * np.cos(k * bearing + p) for s, k, p in zip(sizes, waves, phases, strict=True))
        return (length(a, b) - radius * (1 + np.clip(edge, -0.5, 0.5))).astype(np.float32)

    return distance


# The canvas -----------------------------------------------------------------------------------------------


class Canvas:
    """An image in the making: (3,H,W) in scene coordinates u (right) and v (down), 0 at its centre.

    The pose (turn, shift, zoom) and the direction of the light are drawn from `rng`; `wander` scales the
    pose. zoom : of the camera; at 1 the short side of the image is one unit of the scene.
    """

    def __init__(
        self, shape: tuple[int, int], rng: np.random.Generator, zoom: float = 1.0, wander: float = 1.0
    ) -> None:
        """Lay out the coordinates."""
        self.shape, unit = shape, min(shape)
        turn, zoom = np.deg2rad(rng.normal(0, 1.0)) * wander, zoom * (1 + rng.normal(0, 0.012))
        self.shift = rng.normal(0, 0.008, 2) * wander
        self.turn, self.step = float(turn), 1 / (unit * zoom)  # step: one pixel in scene units
        y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        x, y = (x - (shape[1] - 1) / 2) * self.step, (y - (shape[0] - 1) / 2) * self.step
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        self.u = x * cos + y * sin - np.float32(self.shift[0])
        self.v = y * cos - x * sin - np.float32(self.shift[1])
        self.colour = np.zeros((3, *shape), np.float32)
        self.objects = np.zeros(shape, bool)  # what is no background
        bearing = np.deg2rad(225 + rng.normal(0, 14))
        self.light = np.array([np.cos(bearing), np.sin(bearing)])  # towards the lamp, in the plane

    def window(self, u: float, v: float, reach: float) -> Window:
        """Rows and columns around a point of the scene."""
        a, b = u + self.shift[0], v + self.shift[1]
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        x = (a * cos - b * sin) / self.step + (self.shape[1] - 1) / 2
        y = (a * sin + b * cos) / self.step + (self.shape[0] - 1) / 2
        r = reach / self.step + 2
        rows, columns = (
            slice(int(max(min(np.floor(c - r), side - 2), 0)), int(max(min(np.ceil(c + r), side), 2)))
            for c, side in zip((y, x), self.shape, strict=True)
        )
        return rows, columns

    def at(self, place: Place, window: Window) -> tuple[Array, Array]:
        """Coordinates of a window as an object at a place (u, v, angle) sees them."""
        u, v = self.u[window] - np.float32(place[0]), self.v[window] - np.float32(place[1])
        cos, sin = np.float32(np.cos(place[2])), np.float32(np.sin(place[2]))
        return u * cos + v * sin, v * cos - u * sin

    def cover(self, distance: Array) -> Array:
        """Turn signed distances into the covered share of each pixel, in [0,1]."""
        return np.clip(0.5 - distance / self.step, 0, 1)

    def region(self, shape: Shape, place: Place = (0, 0, 0)) -> Mask:
        """Mark the pixels whose centre is inside a shape: (H,W) bool."""
        return shape(*self.at(place, WHOLE)) < 0

    def shadow(self, shape: Shape, place: Place, window: Window, lift: float, depth: float = 0.5) -> None:
        """Darken what lies beside a shape that stands `lift` above the ground."""
        away = -self.light * lift
        d = shape(*self.at((place[0] + away[0], place[1] + away[1], place[2]), window))
        soft = np.clip(0.5 - d / (2.4 * lift + self.step), 0, 1)
        self.colour[:, *window] *= 1 - depth * soft * soft * (3 - 2 * soft)

    def solid(
        self,
        shape: Shape,
        place: Place,
        reach: float,
        colour: Array | tuple[float, float, float] | Callable[[Array, Array], Array],
        *,
        bevel: float = 0.01,
        relief: float = 1.0,
        gloss: float = 0.15,
        lift: float = 0.012,
        focus: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Put one object with rounded rims on what is there, and its shadow beneath.

        reach : radius around `focus`, a point of the object, that holds all of the shape. bevel : width of the rim. relief : height of the rim over its width; negative = a hollow. gloss : of
        the reflection of the lamp. lift : height over the ground, for the shadow; 0 = none. colour : (3,), or
        a function of the object's coordinates that gives (3,h,w).
        """
        cos, sin = np.cos(place[2]), np.sin(place[2])
        centre = place[0] + focus[0] * cos - focus[1] * sin, place[1] + focus[0] * sin + focus[1] * cos
        if lift > 0:
            self.shadow(shape, place, self.window(*centre, reach + 3 * lift), lift)
        window = self.window(*centre, reach)
        u, v = self.at(place, window)
        d = shape(u, v)
        self.objects[window] |= d < 0
        cover = self.cover(d)
        rise = np.clip(-d / bevel, 0, 1)
        height = (relief * bevel / self.step) * np.sqrt(1 - (1 - rise) ** 2 + 1e-6)
        gy, gx = np.gradient(height)
        slope = (gx * self.light[0] + gy * self.light[1]).astype(np.float32)  # negative towards the lamp
        normal = 1 / np.sqrt(1 + gx * gx + gy * gy)
        shade = np.clip((0.75 - 0.66 * slope) * normal / 0.75, 0.15, 1.7)
        flat = colour(u, v) if callable(colour) else np.asarray(colour, np.float32).reshape(3, 1, 1)
        spark = gloss * np.clip((0.55 - slope) * normal - 0.35, 0, 1) ** 2 * 3
        body = flat * shade + spark * (np.abs(slope) > 0.05)
        self.colour[:, *window] += cover * (body - self.colour[:, *window])

    def hollow(self, shape: Shape, place: Place, reach: float, colour: Array, depth: float) -> None:
        """Sink a pocket into what is there: its floor, the shadow of its wall on the floor, its rim.

        colour : (3,H,W) of the floor.
        """
        window = self.window(place[0], place[1], reach)
        d = shape(*self.at(place, window))
        a, b = place[0] - self.light[0] * depth, place[1] - self.light[1] * depth
        lit = np.clip(0.5 - shape(*self.at((a, b, place[2]), window)) / (1.6 * depth), 0, 1)
        rim = np.exp(-((d / (0.006 + self.step)) ** 2))
        cover, here = self.cover(d), self.colour[:, *window]
        here += cover * (colour[:, *window] * (0.5 + 0.5 * lit) - here)
        here *= 1 + 0.10 * rim


def noise(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> Array:
    """Smooth noise of about unit variance, correlated over `scale` (of the short side): (H,W)."""
    unit = scale * min(shape)
    if unit < 1.5:
        return rng.standard_normal(shape, dtype=np.float32)
    small = [max(int(np.ceil(side / unit)) + 3, 4) for side in shape]
    coarse = torch.from_numpy(rng.standard_normal((1, 1, *small), dtype=np.float32))
    large = functional.interpolate(coarse, scale_factor=unit, mode="bicubic", align_corners=False)
    return large[0, 0, int(unit) :, int(unit) :][: shape[0], : shape[1]].numpy() * 1.3


def photograph(colour: Array, rng: np.random.Generator) -> Callable[[Array], Array]:
    """Draw one camera: a function from scene colours (3,H,W) to pixels in [0,1].

    Uneven light, exposure, white balance, optics, noise: all fixed once drawn, so that two versions of a
    scene can be photographed alike.
    """
    shape = colour.shape[1:]
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0, 0.10) * (x * np.cos(angle) + y * np.sin(angle)) - 0.05 * (x * x + y * y)
    balance = 1 + rng.normal(0, 0.012, (3, 1, 1))
    gain = ((1 + slope) * balance * rng.normal(1, 0.04)).astype(np.float32)
    sigma = rng.uniform(0.4, 0.65)
    grain = rng.standard_normal(colour.shape, dtype=np.float32) * np.float32(rng.uniform(0.004, 0.008))
    return lambda seen: np.clip(gaussian_filter(seen * gain, (0, sigma, sigma), truncate=3) + grain, 0, 1)


# Flaws on a surface ---------------------------------------------------------------------------------------


def flaw(canvas: Canvas, kind: str, where: Mask, rng: np.random.Generator) -> Mask:
    """Damage the canvas somewhere in `where` and return the exact pixels: (H,W) bool.

    kind : one of `FLAWS`. The opacity is at least FAINTEST on every pixel of the mask, 0 outside.
    """
    rows, columns = np.nonzero(where)
    pick = int(rng.random() * len(rows))
    place = (float(canvas.u[rows[pick], columns[pick]]), float(canvas.v[rows[pick], columns[pick]]), 0.0)
    u, v = canvas.at(place, WHOLE)
    altered, depth, soft, opacity = FLAWS[kind](canvas, u, v, rng)
    alpha = np.where(depth > 0, FAINTEST + (1 - FAINTEST) * np.clip(depth / soft, 0, 1), 0) * where
    if not alpha.any():  # a mark smaller than a pixel still marks one
        alpha[rows[pick], columns[pick]] = 1.0
    canvas.colour = (canvas.colour + opacity * alpha * (altered - canvas.colour)).astype(np.float32)
    return alpha > 0


Made = tuple[Array, Array, float, float]  # what it looks like, depth inside, softness, opacity


def _walk(total: float, bend: float, steps: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Random points of a line through 0, of a length, turning by `bend` radians a step."""
    turns = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, steps))
    path = np.cumsum(np.stack([np.cos(turns), np.sin(turns)]) * total / steps, axis=1)
    path -= path.mean(axis=1, keepdims=True)
    return [(float(a), float(b)) for a, b in path.T]


def _below(canvas: Canvas, depth: Array) -> float:
    """Mean brightness of what a mark will cover."""
    return float(canvas.colour[:, depth > 0].mean()) if (depth > 0).any() else 0.5


def _scratch(canvas: Canvas, u: Array, v: Array, rng: np.random.Generator) -> Made:
    """A nearly straight line, bright or dark."""
    half = max(rng.uniform(0.005, 0.009), 0.75 * canvas.step)
    depth = -stroke(_walk(rng.uniform(0.12, 0.30), 0.12, 8, rng), half)(u, v)
    dark = rng.random() < 0.4 and _below(canvas, depth) > 0.35  # on a dark ground a dark one cannot be seen
    return (
        canvas.colour * 0.25 if dark else 0.35 + canvas.colour * 0.8,
        depth,
        0.7 * half,
        rng.uniform(0.6, 0.95),
    )


def _crack(canvas: Canvas, u: Array, v: Array, rng: np.random.Generator) -> Made:
    """A jagged dark line with one lit lip."""
    half = max(rng.uniform(0.005, 0.009), 0.75 * canvas.step)
    path = _walk(rng.uniform(0.18, 0.34), 0.55, 11, rng)
    branch = [path[5], (path[5][0] + rng.normal(0, 0.04), path[5][1] + rng.normal(0, 0.04))]
    shape = either(stroke(path, half), stroke(branch, 0.7 * half))
    depth = -shape(u, v)
    lit = np.clip(shape(u - canvas.light[0] * half, v - canvas.light[1] * half) / half, 0, 1)
    return canvas.colour * (0.15 + 0.6 * lit), depth, 0.6 * half, rng.uniform(0.75, 1.0)


def _stain(canvas: Canvas, u: Array, v: Array, rng: np.random.Generator) -> Made:
    """A dried drop: one tint multiplied in, darker at its rim."""
    radius = rng.uniform(0.03, 0.06)
    depth = -ragged(radius, rng.uniform(1, 1.7), rng)(u, v)
    tint = rng.permutation([rng.uniform(0.35, 0.6), rng.uniform(0.6, 0.8), rng.uniform(0.85, 1.0)])
    rim = 1 - 0.25 * np.exp(-((depth / (0.12 * radius + canvas.step)) ** 2))
    return (
        canvas.colour * tint[:, None, None].astype(np.float32) * rim,
        depth,
        0.3 * radius,
        rng.uniform(0.4, 0.8),
    )


def _contamination(canvas: Canvas, u: Array, v: Array, rng: np.random.Generator) -> Made:
    """A thread, or a few crumbs, lit from one side."""
    if rng.random() < 0.5:
        half = max(rng.uniform(0.004, 0.007), 0.8 * canvas.step)
        shape = stroke(_walk(rng.uniform(0.15, 0.35), 0.45, 14, rng), half)
    else:
        half = max(rng.uniform(0.010, 0.017), 1.2 * canvas.step)
        spots = rng.normal(0, 0.035, (int(rng.integers(2, 6)), 2))
        shape = either(*(shifted(ragged(half * rng.uniform(0.6, 1.3), 1.3, rng), *spot) for spot in spots))
    depth = -shape(u, v)
    lit = shape(u + canvas.light[0] * half, v + canvas.light[1] * half) - shape(u, v)
    grey = rng.uniform(0.6, 0.85) if _below(canvas, depth) < 0.35 else rng.uniform(0.08, 0.28)
    body = np.clip(grey + rng.uniform(-0.08, 0.08, 3), 0, 1)[:, None, None] * (1 + 0.4 * lit / half)
    return body.astype(np.float32), depth, 0.4 * half, rng.uniform(0.7, 0.95)


def _dent(canvas: Canvas, u: Array, v: Array, rng: np.random.Generator) -> Made:
    """A soft hollow: what is there is pushed aside, one flank darker, the other brighter."""
    radius = rng.uniform(0.045, 0.075)
    depth = -ragged(radius, rng.uniform(1, 1.5), rng)(u, v)
    bump = np.clip(depth / radius, 0, 1)
    gy, gx = (gaussian_filter(g, 1.0) for g in np.gradient(bump * radius / canvas.step))
    y, x = np.mgrid[: canvas.shape[0], : canvas.shape[1]]
    push = rng.uniform(0.25, 0.5) * bump * radius / canvas.step
    moved = np.stack(
        [map_coordinates(c, [y + push * gy, x + push * gx], order=1, mode="nearest") for c in canvas.colour]
    )
    shade = 1 + rng.uniform(0.35, 0.6) * (gx * canvas.light[0] + gy * canvas.light[1])
    return moved * np.clip(shade, 0.3, 1.7), depth, 0.3 * radius, 1.0


FLAWS: dict[str, Callable[[Canvas, Array, Array, np.random.Generator], Made]] = {
    "scratch": _scratch,
    "crack": _crack,
    "stain": _stain,
    "contamination": _contamination,
    "dent": _dent,
}
