"""Numbers as colours: small maps and tables with each value in its cell, large matrices without."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from otad.plotting.output import OUTLINE, WIDTH, numbers, show

WRITTEN = 100  # cells at most whose values are written in
LOW, LINE = 1.1, 0.45  # inches: of a large matrix, of a line of a table
TOP = 0.995  # share of a large matrix's values that the colours tell apart


def cells(
    panels: Mapping[str, Any],
    columns: int = 2,
    digits: int = 1,
    outlines: Mapping[str, Any] | None = None,
    xlabel: str = "",
    ylabel: str = "",
    alt: str = "",
    shows: Sequence[str] = (),
) -> None:
    """Display numbers as colours, title → a map (H,W), or a DataFrame, whose names stand at the axes; a line has one colour scale.

    Values stand in the cells unless there are too many; then the colours leave out the largest few. outlines: title → mask (H,W), drawn
    along the edges of cells. The alt text says where the largest value of each is, and ends with `alt`. ValueError without a panel.
    """
    if not panels:
        raise ValueError("cells needs at least one panel; got none")
    arrays = {
        title: numbers(v.to_numpy() if isinstance(v, pd.DataFrame) else v) for title, v in panels.items()
    }
    down, side = -(-len(panels) // columns), WIDTH / columns
    large = max(a.size for a in arrays.values()) > WRITTEN
    named = any(isinstance(values, pd.DataFrame) for values in panels.values())
    ratios = [a.shape[0] * LINE if named else side * a.shape[0] / a.shape[1] for a in arrays.values()]
    tall = LOW if large else max(ratios)
    fig, axes = plt.subplots(
        down, columns, figsize=(WIDTH, (tall + 0.3) * down + 0.3), layout="constrained", squeeze=False
    )
    told = []
    for k, (ax, (title, values)) in enumerate(zip(axes.flat, arrays.items(), strict=False)):
        line = list(arrays.values())[k - k % columns : k - k % columns + columns]
        _colour(ax, values, _scale(line), digits, equal=not large and not named)
        _name(ax, panels[title])
        if title in (outlines or {}):
            outline(ax, numbers((outlines or {})[title]))
        ax.set_title(title, fontsize=10)
        told.append(f"{title}: {_largest(values, panels[title])}")
    for ax in axes[-1]:
        ax.set_xlabel(xlabel)
    for ax in axes[:, 0]:
        ax.set_ylabel(ylabel)
    for ax in axes.flat[len(panels) :]:
        ax.axis("off")
    show(fig, alt=f"Numbers as colours. {'; '.join(told)}. {alt}".strip(), shows=shows)


def outline(ax: Axes, mask: Any, color: str = OUTLINE) -> None:
    """Draw the edges between the cells of a mask (H,W) and all others."""
    around = np.pad(numbers(mask).astype(bool), 1)
    level = [
        [(j - 0.5, i - 0.5), (j + 0.5, i - 0.5)]
        for i, j in np.argwhere(around[1:, 1:-1] != around[:-1, 1:-1])
    ]
    upright = [
        [(j - 0.5, i - 0.5), (j - 0.5, i + 0.5)]
        for i, j in np.argwhere(around[1:-1, 1:] != around[1:-1, :-1])
    ]
    ax.add_collection(LineCollection([*level, *upright], colors=color, lw=2))


def _scale(line: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the ends of the colours of panels in one line."""
    values = np.concatenate([a.ravel() for a in line])
    top = np.max(values) if max(a.size for a in line) <= WRITTEN else np.quantile(values, TOP)
    return float(np.min(values)), float(top)


def _colour(ax: Axes, values: np.ndarray, ends: tuple[float, float], digits: int, equal: bool) -> None:
    low, high = ends
    ax.imshow(values, vmin=low, vmax=high, aspect="equal" if equal else "auto")
    for (i, j), value in np.ndenumerate(values) if values.size <= WRITTEN else ():
        color = "white" if value < low + 0.6 * (high - low) else "black"
        ax.text(j, i, f"{value:.{digits}f}", ha="center", va="center", fontsize=10, color=color)


def _name(ax: Axes, panel: Any) -> None:
    """Write the names of a DataFrame at the axes; a map has none."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if isinstance(panel, pd.DataFrame):
        ax.set_xticks(range(panel.shape[1]), panel.columns)
        ax.set_yticks(range(panel.shape[0]), panel.index)
        ax.tick_params(length=0)


def _largest(values: np.ndarray, panel: Any) -> str:
    """Say how large an array is, and where its largest value lies."""
    i, j = np.unravel_index(int(np.nanargmax(values)), values.shape)
    place = (
        f"{panel.index[i]}, {panel.columns[j]}"
        if isinstance(panel, pd.DataFrame)
        else f"row {i + 1}, column {j + 1}"
    )
    return f"{values.shape[0]} × {values.shape[1]}, largest {values[i, j]:.3g} ({place})"
