"""Figures of the book: one palette, one colour scale a data set, alt text for each."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from otad.display import emit

# Okabe and Ito's palette: distinguishable with every common colour vision deficiency.
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
HEAT = "inferno"
OUTLINE = "#00E5FF"

plt.rcParams.update(
    {
        "axes.prop_cycle": plt.cycler(color=COLORS),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.facecolor": "white",
        "font.size": 10,
        "image.cmap": HEAT,
        "image.interpolation": "nearest",
        "legend.frameon": False,
        "savefig.dpi": 120,
    }
)


def show(fig: Figure, alt: str, shows: Sequence[str] = (), timing: bool = False) -> None:
    """Display a figure with its alt text, note which figures of the papers it regenerates, and close it.

    shows: names as in figures.csv behind the paper's key, `"fca Figure 3"`. timing: the picture depends on measured time.
    """
    if not alt.strip():
        raise ValueError(
            "a figure needs alt text: one or two sentences with what a reader who cannot see it must know"
        )
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", metadata={"Software": None})
    plt.close(fig)
    width, height = (round(96 * side) for side in fig.get_size_inches())
    emit(
        {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": alt},
        {
            "image/png": {"width": width, "height": height, "alt": alt},
            "otad": {"shows": list(shows), "timing": timing},
        },
    )


def table(
    frame: pd.DataFrame,
    caption: str = "",
    shows: Sequence[str] = (),
    formats: str | Mapping[str, str] | None = None,
    timing: bool = False,
) -> None:
    """Display a DataFrame; `formats` is one format string for all float columns or one a column name."""
    text = frame.copy()
    for column in text.columns:
        spec = formats if isinstance(formats, str) else (formats or {}).get(column)
        if spec and pd.api.types.is_numeric_dtype(text[column]):
            if isinstance(formats, str) and not pd.api.types.is_float_dtype(text[column]):
                continue
            text[column] = ["–" if pd.isna(v) else spec.format(v) for v in text[column]]
    body = text.to_html(
        border=0, classes="otad-table", index=not isinstance(frame.index, pd.RangeIndex), na_rep="–"
    )
    if caption:
        body = body.replace("<thead>", f"<caption>{html.escape(caption)}</caption>\n  <thead>", 1)
    emit(
        {"text/html": f"<div class='otad-scroll'>{body}</div>", "text/plain": text.to_string()},
        {"otad": {"shows": list(shows), "timing": timing}},
    )


def gallery(images: Any, titles: Sequence[str] | None = None, columns: int = 6, masks: Any = None) -> Figure:
    """Draw images (N,3,H,W) in rows of `columns`, the outline of each mask (N,H,W) over its image."""
    pictures = _array(images)
    rows = -(-len(pictures) // columns)
    side = min(9.0 / columns, 2.2)
    height = side * pictures.shape[-2] / pictures.shape[-1] + (0.3 if titles else 0.0)
    fig, axes = plt.subplots(
        rows, columns, figsize=(side * columns, height * rows), layout="constrained", squeeze=False
    )
    for i, ax in enumerate(axes.flat):
        ax.axis("off")
        if i < len(pictures):
            _picture(ax, pictures[i], None if masks is None else _array(masks)[i])
            if titles:
                ax.set_title(titles[i], fontsize=9)
    return fig


def maps(images: Any, masks: Any, methods: Mapping[str, Any], titles: Sequence[str] | None = None) -> Figure:
    """Draw a row an image: the image with the mask's outline, the mask, and the map of each method.

    images (N,3,H,W), masks (N,H,W), methods: name to maps (N,H,W). Each method has one colour scale over all rows, so that a
    good image looks good.
    """
    pictures, truth = _array(images), _array(masks)
    arrays = {name: _array(m) for name, m in methods.items()}
    rows, columns = len(pictures), 2 + len(arrays)
    side = min(9.0 / columns, 2.2)
    height = side * pictures.shape[-2] / pictures.shape[-1]
    fig, grid = plt.subplots(
        rows + 1,
        columns,
        figsize=(side * columns, height * rows + 0.7),
        height_ratios=[height] * rows + [0.09],
        layout="constrained",
    )
    axes, bars = grid[:-1], grid[-1]
    for i, row in enumerate(axes):
        _picture(row[0], pictures[i], truth[i])
        row[1].imshow(truth[i], cmap="gray", vmin=0, vmax=1)
        if titles:
            row[0].set_ylabel(titles[i], fontsize=9)
    for j, (name, array) in enumerate(arrays.items(), start=2):
        low, high = float(array.min()), float(array.max())
        for i in range(rows):
            drawn = axes[i, j].imshow(array[i], vmin=low, vmax=high)
        axes[0, j].set_title(name, fontsize=10)
        bar = fig.colorbar(drawn, cax=bars[j], orientation="horizontal", ticks=[low, high])
        bar.ax.set_xticklabels([f"{low:.2g}", f"{high:.2g}"], fontsize=8)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for ax in bars[:2]:
        ax.axis("off")
    axes[0, 0].set_title("image", fontsize=10)
    axes[0, 1].set_title("mask", fontsize=10)
    return fig


def draw(ax: Axes, picture: Any, title: str = "", **kwargs: Any) -> AxesImage:
    """Draw one image or map without ticks; a colour scale is given by whoever calls (`Axes.imshow`'s arguments)."""
    drawn = ax.imshow(picture, **kwargs)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=10)
    return drawn


def _picture(ax: Axes, picture: np.ndarray, mask: np.ndarray | None) -> None:
    ax.imshow(np.moveaxis(picture, 0, -1))
    if mask is not None and mask.any() and not mask.all():
        ax.contour(mask, levels=[0.5], colors=OUTLINE, linewidths=1.2)


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
