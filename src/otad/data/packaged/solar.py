"""Real defects: electroluminescence pictures of solar cells (ELPV), with labels for whole images.

2,624 grey-level cells of 300 × 300 px, each with a probability of being defective (0, 1/3, 2/3 or 1) and a
type, mono- or polycrystalline. Only the certain ones, 0 and 1, are used. Looked at closely, three things
matter:

- No two files hold the same pixels, so there are no exact duplicates.
- Polycrystalline wafers are sawn from one ingot like slices of bread: neighbours show the same grains,
  upright, mirrored or turned. A normal set that holds the sister of a test cell makes the test easier than
  it should be, so `load` keeps sisters apart. Monocrystalline cells have no grains to know them by; cells
  of one module, which share marks of the printing screen, may fall on both sides there.
- The first monocrystalline cells of the list (positions below `THICK_BARS`) have thick busbars that the rest
  has not; 209 of the 313 defective cells are among them, but 26 of the 588 normal ones. A method that
  recognises the busbar looks as if it recognised cracks, so `load` leaves them out unless asked with
  designs="all".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from otad.checks import checked
from otad.data import GOOD, Dataset, pair, resize
from otad.data.drawn.defects import damage

LICENCE = "CC BY-NC-SA 4.0 (ELPV)"
NOTICE = (
    "Solar cell images: ELPV data set by C. Buerhop-Lutz, S. Deitsch, A. Maier, F. Gallwitz, S. Berger, B. "
    "Doll, J. Hauch, C. Camus and C. J. Brabec (*A Benchmark for Visual Identification of Defective Solar "
    "Cells in Electroluminescence Imagery*, EU PVSEC 2018; see also Deitsch et al., Solar Energy 185, 2019, and "
    "Machine Vision and Applications 32, 2021), "
    "[github.com/zae-bayern/elpv-dataset](https://github.com/zae-bayern/elpv-dataset), licensed under "
    "[CC BY-NC-SA 4.0](https://creativecommons.org/licenses/by-nc-sa/4.0/). Shown resized; every figure "
    "on this page that contains these cells is under the same licence."
)
CELLS = ("mono", "poly")
THICK_BARS = 600
DESIGNS = ("shared", "all")
SISTERS = 0.6  # correlation of fingerprints; families hardly change between 0.5 and 0.7


@dataclass(frozen=True)
class Cell:
    """One line of the data set's own table: file, probability of a defect, type of silicon."""

    path: str
    probability: float
    cell: str


@cache
def index() -> tuple[Cell, ...]:
    """List all 2,624 cells in the order of the data set."""
    rows = (line.split() for line in _root().joinpath("labels.csv").read_text().splitlines())
    return tuple(Cell(path, float(probability), cell) for path, probability, cell in rows)


def _root():  # importlib's Traversable lives elsewhere in every Python version
    return files("elpv_dataset").joinpath("data")


def read(cells: Sequence[Cell]) -> NDArray[np.uint8]:
    """Read the original pictures: (N,300,300) bytes."""
    pictures = []
    for cell in cells:
        with _root().joinpath(cell.path).open("rb") as file, Image.open(file) as picture:
            pictures.append(np.asarray(picture.convert("L")))
    return np.stack(pictures)


def fingerprints(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe the grains of each cell: (N,300,300) → (N,52,52), zero mean and unit length.

    5 × 5 block means, the frame dropped, scales from 0.7 to 4 blocks kept, busbars removed as the median of
    each row and column, outliers clipped at three standard deviations.
    """
    n, height, width = pictures.shape
    small = pictures.reshape(n, height // 5, 5, width // 5, 5).mean((2, 4))[:, 4:-4, 4:-4]
    grains = gaussian_filter(small, (0, 0.7, 0.7)) - gaussian_filter(small, (0, 4, 4))
    grains -= np.median(grains, axis=2, keepdims=True)
    grains -= np.median(grains, axis=1, keepdims=True)
    spread = 3 * grains.std((1, 2), keepdims=True)
    grains = np.clip(grains, -spread, spread)
    grains -= grains.mean((1, 2), keepdims=True)
    return (grains / np.linalg.norm(grains, axis=(1, 2), keepdims=True)).astype(np.float32)


def sisters(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compare fingerprints (N,h,h), (M,h,h): (N,M) largest correlation over turns and mirror images."""
    flat = first.reshape(len(first), -1)
    best = np.full((len(first), len(second)), -1.0, np.float32)
    for turns in range(4):
        turned = np.rot90(second, turns, (1, 2))
        for laid in (turned, turned[:, :, ::-1]):
            best = np.maximum(best, flat @ laid.reshape(len(second), -1).T)
    return best


@dataclass(frozen=True)
class Split:
    """Which cells a split consists of (positions in `index()`), and how many sisters were turned away."""

    train: tuple[int, ...]
    good: tuple[int, ...]
    defective: tuple[int, ...]
    turned_away: int


@checked
def split(
    cell: str,
    n_train: int,
    n_good: int,
    n_defective: int,
    seed: int = 0,
    designs: str = "shared",
    keep_sisters: bool = False,
) -> Split:
    """Draw a split: test cells first, then training cells that are neither copies nor (poly) sisters of them.

    designs="all" admits the mono cells with thick busbars, keep_sisters=True the sisters: to measure what
    they are worth. Raises ValueError for unknown words and if fewer cells remain than were asked for.
    """
    if cell not in CELLS or designs not in DESIGNS:
        raise ValueError(f"cell={cell!r}, designs={designs!r}: expected one of {CELLS} and one of {DESIGNS}.")
    if n_train < 1 or n_good + n_defective < 1 or min(n_good, n_defective) < 0:
        raise ValueError(
            f"n_train={n_train}, n_good={n_good}, n_defective={n_defective} leaves the normal set or the "
            "test set empty; ask for at least one cell in each."
        )
    first = THICK_BARS if cell == "mono" and designs == "shared" else 0
    fit = [i for i, c in enumerate(index()) if c.cell == cell and i >= first]
    rng = np.random.default_rng(seed)
    normal = rng.permutation([i for i in fit if index()[i].probability == 0.0]).tolist()
    broken = rng.permutation([i for i in fit if index()[i].probability == 1.0]).tolist()
    if n_train + n_good > len(normal) or n_defective > len(broken):
        raise ValueError(
            f"{cell}, designs={designs!r}: {len(normal)} normal and {len(broken)} defective cells; asked for "
            f"n_train + n_good = {n_train + n_good} and n_defective = {n_defective}. Ask for fewer."
        )
    good, defective = normal[:n_good], broken[:n_defective]
    train, away = _apart(normal[n_good:], good + defective, n_train, cell == "poly" and not keep_sisters)
    return Split(tuple(train), tuple(good), tuple(defective), away)


def _apart(pool: list[int], test: list[int], n_train: int, check: bool) -> tuple[list[int], int]:
    """Walk through the pool; keep what has no copy, and if `check` no sister, among the test cells."""
    judged = read([index()[i] for i in test])
    seen = {picture.tobytes() for picture in judged}
    prints = fingerprints(judged)
    train: list[int] = []
    for walked, i in enumerate(pool):
        if len(train) == n_train:
            return train, walked - n_train
        picture = read([index()[i]])
        related = check and sisters(fingerprints(picture), prints).max() > SISTERS
        if not related and picture.tobytes() not in seen:
            seen.add(picture.tobytes())
            train.append(i)
    if len(train) < n_train:
        raise ValueError(
            f"only {len(train)} of {len(pool)} normal cells are neither copies nor sisters of the "
            f"{len(test)} test cells, n_train={n_train} asked for; ask for fewer training or test cells."
        )
    return train, len(pool) - n_train


@checked
def load(
    cell: str = "mono",
    size: int | tuple[int, int] = 160,
    n_train: int = 100,
    n_good: int = 50,
    n_defective: int = 50,
    seed: int = 0,
    designs: str = "shared",
    keep_sisters: bool = False,
) -> Dataset:
    """Load a data set of one cell type: normal cells to learn from, both sorts to judge, no masks.

    size : side or (height, width), resized by antialiased bilinear interpolation; the grey level is
    repeated in three channels. Raises ValueError as `split` does.
    """
    chosen = split(cell, n_train, n_good, n_defective, seed, designs, keep_sisters)
    train = _images(chosen.train, pair(size))
    test = _images(chosen.good + chosen.defective, pair(size))
    labels = torch.arange(len(test)) >= n_good
    kinds = [GOOD] * n_good + ["defective"] * n_defective
    return Dataset(cell, train, test, None, labels, kinds, LICENCE)


@checked
def planted(
    cell: str, size: int | tuple[int, int], n_train: int, kinds: Sequence[str], seed: int = 0, salt: int = 0
) -> Dataset:
    """Load normal cells and plant a defect of its kind on each test cell that is not to stay good; with masks.

    kinds : of `otad.data.drawn.defects.KINDS` or "good", one a test cell. salt : draws other defects on the same cells.
    Raises ValueError as `split` and `defects.plant` do.
    """
    cells = load(cell, size, n_train, len(kinds), 0, seed)
    images, masks = damage(list(cells.test), kinds, [seed, salt], grey=True)
    return Dataset(
        f"{cell}, planted", cells.train, images, masks, masks.flatten(1).any(1), list(kinds), LICENCE
    )


def _images(positions: Sequence[int], size: tuple[int, int]) -> Tensor:
    pictures = torch.from_numpy(read([index()[i] for i in positions])).float() / 255.0
    return resize(pictures[:, None], size).expand(-1, 3, -1, -1).contiguous()
