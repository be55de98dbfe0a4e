"""Pieces of one picture, blended into another without a seam: the defects that NSA makes on purpose.

Schlüter et al., Natural Synthetic Anomalies for Self-Supervised Anomaly Detection and Localization (ECCV 2022); the blending is
Pérez, Gangnet and Blake, Poisson Image Editing (SIGGRAPH 2003): inside a patch the picture gets other gradients, and around it its own
colours. Find f with Δf = div v inside, f = the picture on the border, v the patch's gradient.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from scipy.ndimage import median_filter
from scipy.sparse.linalg import splu
from scipy.special import expit
from torch import Tensor

from otad.checks import checked
from otad.methods.pretext.patches import check_picture

Bounds = tuple[tuple[float, float], tuple[float, float]]
RIM, MARGIN = (
    2,
    3,
)  # pixels of a patch that keep the picture's values, and further ones that keep its gradients
SMALLEST = 2 * (RIM + MARGIN)  # side of a patch that still changes something


@checked
def blend(
    image: Tensor,
    source: Tensor,
    rng: np.random.Generator,
    bounds: Bounds = ((0.03, 0.4), (0.03, 0.4)),
    patches: int = 3,
    resize: tuple[float, float] = (0.7, 1.3),
    mixed: bool = False,
    k: float = 1 / 3,
    x0: float = 7.0,
    background: tuple[float, float] | None = None,
) -> tuple[Tensor, Tensor]:
    """Blend one to `patches` pieces of a source into a picture, both (3,H,W): the new picture and its label (H,W) in [0,1].

    bounds : smallest and largest height and width of a piece, shares of the picture. resize : factors that its size is changed by.
    mixed : keep the picture's gradients where they are stronger. k, x0 : of the label, see `intensity_label`.
    background : grey level and tolerance in [0,1]; pieces are taken from, and put onto, what differs from it. None = everywhere.

    Raises ValueError for pictures of different or too small sizes and settings out of range.
    """
    check_picture(image, smallest=2 * SMALLEST)
    check_picture(source, "source")
    check_blend(bounds, patches, resize, k, x0, background)
    if image.shape != source.shape:
        raise ValueError(
            f"image is {tuple(image.shape)}, source {tuple(source.shape)}: expected one size; resize one."
        )
    things = [_objects(picture, background) for picture in (image, source)]
    blended, touched = image, torch.zeros(image.shape[1:], dtype=torch.bool)
    for number in range(patches):
        if number and rng.random() < 0.5:
            continue  # the first always, each other one as a coin falls
        placed = _piece(source, things, rng, bounds, resize)
        if placed is not None:
            piece, (y, x), thing = placed
            blended = poisson_blend(blended, piece, (y, x), mixed)
            touched[y : y + thing.shape[0], x : x + thing.shape[1]] = thing
    return blended, intensity_label(image, blended, touched, k, x0)


@checked
def poisson_blend(destination: Tensor, patch: Tensor, corner: tuple[int, int], mixed: bool = False) -> Tensor:
    """Blend a patch (3,h,w) into a picture (3,H,W), its upper left pixel at corner (y,x): (3,H,W), clipped to [0,1].

    As OpenCV does it: two rows and columns on each side of the patch keep the picture's values, three more its gradients. mixed : of
    picture and patch the longer gradient counts, for each colour by itself. OpenCV compares |∂x − ∂y| instead, so its mixed blend is another.

    Raises ValueError for a patch that is smaller than 10 pixels or does not lie in the picture.
    """
    check_picture(destination, "destination")
    check_picture(patch, "patch", SMALLEST)
    (y, x), (h, w) = corner, patch.shape[1:]
    if min(corner) < 0 or y + h > destination.shape[1] or x + w > destination.shape[2]:
        raise ValueError(
            f"a patch of {h} × {w} at {corner} does not lie in a picture of {tuple(destination.shape[1:])}: move or cut it."
        )
    there, piece = (t.detach().cpu().double().numpy() for t in (destination[:, y : y + h, x : x + w], patch))
    down, across = (_guided(there, piece, axis, mixed) for axis in (1, 2))
    right = np.diff(down, axis=1)[:, :, 1:-1] + np.diff(across, axis=2)[:, 1:-1]  # the divergence, inside
    inside = slice(RIM, -RIM)
    right = right[:, RIM - 1 : h - RIM - 1, RIM - 1 : w - RIM - 1]
    found = destination.clone()
    solved = torch.from_numpy(_solved(right, there[:, RIM - 1 : 1 - RIM, RIM - 1 : 1 - RIM])).clamp(0, 1)
    found[:, y : y + h, x : x + w][:, inside, inside] = solved.to(found)
    return found


def _guided(there: np.ndarray, piece: np.ndarray, axis: int, mixed: bool) -> np.ndarray:
    """Return the differences along an axis that the result should have: the picture's, well inside those of the patch."""
    own, other = (np.diff(a, axis=axis) for a in (there, piece))
    start = RIM + MARGIN - 1
    core = (slice(None), slice(start, piece.shape[1] - start), slice(start, piece.shape[2] - start))
    if mixed:
        length = [_length(a) for a in (there, piece)]
        other = np.where((length[1] > length[0])[:, : own.shape[1], : own.shape[2]], other, own)
    guided = own.copy()
    guided[core] = other[core]
    return guided


def _length(picture: np.ndarray) -> np.ndarray:
    """Return the squared length of the gradient, forward differences, 0 beyond the rim."""
    down, across = (np.diff(picture, axis=a, append=picture.take([-1], axis=a)) for a in (1, 2))
    return down**2 + across**2


def _solved(right: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Solve Δf = right (3,m,n) with f = frame (3,m+2,n+2) on its outermost pixels: (3,m,n)."""
    right = right.copy()
    right[:, 0] -= frame[:, 0, 1:-1]
    right[:, -1] -= frame[:, -1, 1:-1]
    right[:, :, 0] -= frame[:, 1:-1, 0]
    right[:, :, -1] -= frame[:, 1:-1, -1]
    m, n = right.shape[1:]
    second = [sp.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(s, s)) for s in (m, n)]
    laplacian = sp.kron(second[0], sp.eye_array(n)) + sp.kron(sp.eye_array(m), second[1])
    return splu(sp.csc_matrix(laplacian)).solve(right.reshape(3, -1).T).T.reshape(3, m, n)


@checked
def intensity_label(
    before: Tensor, after: Tensor, where: Tensor, k: float = 1 / 3, x0: float = 7.0
) -> Tensor:
    """Return how abnormal a change is, (H,W) in [0,1]: 1 / (1 + exp(−k (d − x₀))) where it is seen at all, else 0.

    d : the change of a pixel in grey levels of 255, mean over colours, median of a disc around it. where : (H,W) bool, what was pasted on.
    """
    from skimage.morphology import disk

    check_picture(before, "before")
    check_picture(after, "after")
    if before.shape != after.shape or where.shape != before.shape[1:] or not (0 < k < 1e6 and abs(x0) < 1e6):
        raise ValueError(
            f"before is {tuple(before.shape)}, after {tuple(after.shape)}, where {tuple(where.shape)}, k {k}, x0 {x0}: expected (3,H,W) twice, "
            "(H,W), k above 0 and a finite x0."
        )
    change = (
        255 * (after - before).detach().abs().mean(dim=0).cpu().double().numpy() * where.cpu().bool().numpy()
    )
    seen = median_filter((change > 1).astype(np.uint8), 5, mode="nearest")
    level = median_filter(change * seen, footprint=disk(5), mode="nearest")
    return torch.from_numpy(seen * expit(k * (level - x0))).to(before)


def check_blend(
    bounds: Bounds,
    patches: int,
    resize: tuple[float, float],
    k: float,
    x0: float,
    background: tuple[float, float] | None,
) -> None:
    """Raise ValueError for settings out of range."""
    fits = all(0 < low <= high <= 0.9 for low, high in bounds) and 0 < resize[0] <= resize[1] <= 100
    seen = background is None or all(0 <= value <= 1 for value in background)
    if not (fits and seen and 1 <= patches <= 100 and 0 < k < 1e6 and abs(x0) < 1e6):
        raise ValueError(
            f"bounds are {bounds}, patches {patches}, resize {resize}, k {k}, x0 {x0}, background {background}: expected pairs of shares in "
            "(0,0.9], ascending, 1 to 100, two factors in (0,100], ascending, k above 0, a finite x0, and a level and a tolerance in [0,1] or None."
        )


def _objects(picture: Tensor, background: tuple[float, float] | None) -> Tensor:
    """Return where there is something, (H,W) bool: what differs from a grey level by more than a tolerance."""
    if background is None:
        return torch.ones(picture.shape[1:], dtype=torch.bool)
    level, tolerance = background
    differs = ((picture.mean(dim=0) - level).abs() > tolerance).cpu().numpy()
    return torch.from_numpy(median_filter(differs.astype(np.uint8), 7, mode="nearest") > 0)


def _piece(
    source: Tensor,
    things: list[Tensor],
    rng: np.random.Generator,
    bounds: Bounds,
    resize: tuple[float, float],
    tries: int = 200,
) -> tuple[Tensor, tuple[int, int], Tensor] | None:
    """Cut a piece, change its size and find a place for it: piece, corner, and where there is something. None where there is no place."""
    sides = source.shape[1:]
    low, high = ([max(SMALLEST, round(b[i] * s)) for b, s in zip(bounds, sides, strict=True)] for i in (0, 1))
    half = [
        int(np.clip((0.03 + rng.gamma(2, 0.05)) * s, b[0] * s, b[1] * s))
        for b, s in zip(bounds, sides, strict=True)
    ]
    factor = float(np.clip(rng.normal(1, 0.5), *resize))
    for _ in range(tries):
        centre = [int(rng.integers(s)) for s in sides]
        (y0, y1), (x0, x1) = (
            (max(0, c - max(1, b)), min(s, c + max(1, b)))
            for c, b, s in zip(centre, half, sides, strict=True)
        )
        if float(things[1][y0:y1, x0:x1].float().mean()) < 0.7:
            continue
        size = [
            int(np.clip(round(factor * n), a, b))
            for n, a, b in zip((y1 - y0, x1 - x0), low, high, strict=True)
        ]
        y, x = (int(rng.integers(s - n + 1)) for s, n in zip(sides, size, strict=True))
        piece, thing = (
            F.interpolate(t[None], size, mode="bilinear")[0]
            for t in (source[:, y0:y1, x0:x1], things[1][None, y0:y1, x0:x1].float())
        )
        from_piece, below = thing[0] > 0.5, things[0][y : y + size[0], x : x + size[1]]
        if bool(from_piece.any()) and float(below[from_piece].float().mean()) > 0.25:
            return piece.clamp(0, 1), (y, x), from_piece | below
    return None
