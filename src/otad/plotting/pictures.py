"""Images, masks and maps side by side: at most five in a line, one colour scale a method."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from otad.plotting.output import COLORS, OUTLINE, WIDTH, numbers, show

PENS = (OUTLINE, COLORS[7], COLORS[1], COLORS[3])  # of outlines, readable on grey and brown
SCREEN = 1600  # pixels of a side that a screen can show: more costs memory only
ACROSS = 5  # maps side by side: more are too small to read in the book's column


def gallery(images: Any, titles: Sequence[str] | None = None, columns: int = 6, masks: Any = None) -> Figure:
    """Draw images (N,3,H,W) in rows of `columns`, the outline of each mask (N,H,W) over its image.

    masks: or several readings, label → masks; each has its colour, and the legend says which.
    """
    pictures = numbers(images)
    readings = masks if isinstance(masks, Mapping) else {} if masks is None else {"": masks}
    outlines = [(numbers(m), color) for m, color in zip(readings.values(), PENS, strict=False)]
    rows = -(-len(pictures) // columns)
    side = min(WIDTH / columns, 2.2)
    height = side * pictures.shape[-2] / pictures.shape[-1] + (0.3 if titles else 0.0)
    size = (side * columns, height * rows + (0.35 if len(readings) > 1 else 0.0))
    fig, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for i, ax in enumerate(axes.flat):
        ax.axis("off")
        if i < len(pictures):
            ax.imshow(np.moveaxis(pictures[i], 0, -1))
            for values, color in outlines:
                _outline(ax, values[i], color)
            if titles:
                ax.set_title(titles[i], fontsize=10)
    if len(readings) > 1:
        lines = [Line2D([], [], color=color, lw=2) for _, color in outlines]
        fig.legend(lines, list(readings), loc="outside lower center", ncols=len(readings))
    return fig


def show_gallery(
    images: Any,
    titles: Sequence[str],
    columns: int = 6,
    masks: Any = None,
    alt: str = "",
    shows: Sequence[str] = (),
) -> None:
    """Display `gallery`; the alt text names the pictures and ends with `alt`."""
    told = f"{len(titles)} pictures: {'; '.join(t.replace(chr(10), ', ') for t in titles)}."
    show(gallery(images, titles, columns, masks), alt=f"{told} {alt}".strip(), shows=shows)


def maps(
    images: Any,
    masks: Any,
    methods: Mapping[str, Any],
    titles: Sequence[str] | None = None,
    notes: Mapping[str, Sequence[str]] | None = None,
    scales: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw for each image: the image with the mask's outline, the mask, and the map of each method; what exceeds a line goes to the next.

    Where it saves a line the mask is left out: its outline is there.
    images (N,3,H,W), masks (N,H,W), methods: name to maps (N,H,W). Each method has one colour scale over all images, so that a good
    image looks good; its ends stand under its name. notes: name to a text under each of its maps. scales: name to (low, high), or to
    one such pair an image where images are of different kinds.
    """
    pictures, truth = numbers(images), numbers(masks)
    arrays = {name: numbers(m) for name, m in methods.items()}
    ends = {name: _ends(array, (scales or {}).get(name)) for name, array in arrays.items()}
    lines = -(-(1 + len(arrays)) // ACROSS)  # an image
    lead = 2 if 2 + len(arrays) <= lines * ACROSS else 1
    columns = min(ACROSS, lead + len(arrays))
    side = min(WIDTH / columns, 2.2)
    height = side * pictures.shape[-2] / pictures.shape[-1] + (0.2 if notes else 0.05)
    above = 0.45 * (len(pictures) * lines if lines > 1 else 1)  # names
    fig, grid = plt.subplots(
        len(pictures) * lines,
        columns,
        figsize=(side * columns, height * len(pictures) * lines + above),
        layout="constrained",
        squeeze=False,
    )
    for ax in grid.flat:
        ax.axis("off")
    for i, axes in enumerate(grid.reshape(len(pictures), -1)):
        named = i == 0 or lines > 1
        _first(axes[:lead], pictures[i], truth[i], titles[i] if titles else "", named)
        for ax, (name, array) in zip(axes[lead:], arrays.items(), strict=False):
            low, high = ends[name][i]
            title = f"{name}\n{low:.2g} to {high:.2g}" if np.ptp(ends[name], axis=0).max() == 0 else name
            ax.axis("on")
            draw(ax, array[i], title if named else "", vmin=low, vmax=high)
            if notes and name in notes:
                ax.set_xlabel(notes[name][i], fontsize=10)
    return fig


def show_maps(
    images: Any,
    masks: Any,
    methods: Mapping[str, Any],
    titles: Sequence[str],
    notes: Mapping[str, Sequence[str]] | None = None,
    scales: Mapping[str, Any] | None = None,
    alt: str = "",
    shows: Sequence[str] = (),
) -> None:
    """Display `maps`; the alt text says for each method how often its largest value lies in the defect, and ends with `alt`."""
    truth = numbers(masks).astype(bool)
    bad = [i for i, mask in enumerate(truth) if mask.any() and not mask.all()]
    found = []
    for name, values in methods.items():
        tops = [np.unravel_index(int(numbers(values)[i].argmax()), truth[i].shape) for i in bad]
        found.append(f"{name} {sum(bool(truth[i][top]) for i, top in zip(bad, tops, strict=True))}")
    told = f"Pictures with outlined defects ({', '.join(t.replace(chr(10), ', ') for t in titles)}), their masks and maps."
    if bad:
        told += f" Of {len(bad)} defects the largest value of the map lies in: {', '.join(found)}."
    show(maps(images, masks, methods, titles, notes, scales), alt=f"{told} {alt}".strip(), shows=shows)


def sheet(
    pictures: Mapping[str, tuple[Any, Any, Sequence[str]]], methods: Mapping[str, Mapping[str, Any]], alt: str
) -> None:
    """Display of each class a row of pictures with outlined defects, and below it a row of maps a method, all on one scale from 0 to 1.

    pictures: class → images (n,3,H,W), masks (n,H,W), titles. methods: name → class → maps (n,h,w). alt: what the maps show, in words.
    """
    lines = [(name, method) for name in pictures for method in ("", *methods)]
    across = max(len(images) for images, *_ in pictures.values())
    fig, axes = plt.subplots(
        len(lines), across, figsize=(WIDTH, 1.62 * len(lines)), layout="constrained", squeeze=False
    )
    for line, (name, method) in zip(axes, lines, strict=True):
        images, masks, titles = pictures[name]
        for ax in line[len(images) :]:
            ax.axis("off")
        for k, (ax, title) in enumerate(zip(line, titles, strict=False)):
            if method:
                draw(ax, numbers(methods[method][name][k]), vmin=0, vmax=1)
            else:
                draw(ax, np.moveaxis(numbers(images[k]), 0, -1), title)
                _outline(ax, numbers(masks[k]), OUTLINE)
        line[0].set_ylabel(method or name)
    show(fig, alt=f"Pictures with outlined defects, and maps of {len(methods)} methods. {alt}")


def best_and_worst(scores: Any, n: int = 1) -> list[int]:
    """Return the indices of the n largest scores, best first, and of the n smallest, worst last; NaN is never chosen.

    The rule by which examples are picked: nobody's taste. Equal scores keep their order; no index comes twice.
    """
    values = np.asarray(numbers(scores), dtype=float)
    known = [int(i) for i in np.argsort(-values, kind="stable") if not np.isnan(values[i])]
    return known if len(known) <= 2 * n else known[:n] + known[-n:]


def draw(ax: Axes, picture: Any, title: str = "", **kwargs: Any) -> AxesImage:
    """Draw one image or map without ticks; a colour scale is given by whoever calls (`Axes.imshow`'s arguments)."""
    drawn = ax.imshow(picture, **kwargs)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=10)
    return drawn


def overlay(image: Any, scores: Any, share: float = 0.01, shows: Sequence[str] = ()) -> None:
    """Display an image (3,H,W), its map (H,W), and the map as a veil over the image with a line round its largest values.

    share: of the pixels that the line encloses. The alt text says where the largest value lies.
    """
    values, picture = numbers(scores), np.moveaxis(numbers(image), 0, -1)
    step = -(-max(values.shape) // SCREEN)
    seen, small = picture[::step, ::step], values[::step, ::step]
    fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.2), layout="constrained")
    draw(axes[0], seen, "picture")
    drawn = draw(axes[1], small, "anomaly map")
    draw(axes[2], seen.mean(-1), "overlay", cmap="gray", vmin=0, vmax=1)
    axes[2].imshow(small, alpha=0.45)
    axes[2].contour(small, levels=[np.quantile(values, 1 - share)], colors=OUTLINE)
    fig.colorbar(drawn, ax=axes[1], location="bottom", shrink=0.8).set_label("score")
    y, x = (i / n for i, n in zip(np.unravel_index(values.argmax(), values.shape), values.shape, strict=True))
    show(
        fig,
        alt=f"A picture, its anomaly map from {values.min():.2g} to {values.max():.2g}, and the map laid over the grey picture with a line "
        f"round the highest {share:.0%} of the pixels. The highest of all lies {x:.0%} from the left and {y:.0%} from the top.",
        shows=shows,
    )


def dotted(image: Any, dots: Sequence[Any], size: tuple[int, int]) -> Callable[[Axes], None]:
    """Return a panel (of a pipeline, say): an image (3,H,W), pale, with a dot in some cells of a grid over it, a colour a group.

    dots: of each group the indices (n,) of cells, row by row; red, blue, green. size: of the grid (h, w).
    """

    def panel(ax: Axes) -> None:
        picture = np.moveaxis(numbers(image), 0, -1)
        draw(ax, 0.5 + 0.5 * picture)
        for cells, color in zip(dots, (COLORS[1], COLORS[0], COLORS[2]), strict=False):
            y, x = np.divmod(numbers(cells), size[1])
            tall, wide = (side / n for side, n in zip(picture.shape, size, strict=False))
            ax.scatter((x + 0.5) * wide, (y + 0.5) * tall, color=color, s=16)

    return panel


def _ends(array: np.ndarray, scale: Any) -> np.ndarray:
    """Return the colour scale of each map (N,2)."""
    pair = (float(array.min()), float(array.max())) if scale is None else scale
    return np.broadcast_to(np.asarray(pair, dtype=float), (len(array), 2))


def _first(axes: Any, picture: np.ndarray, mask: np.ndarray, title: str, named: bool) -> None:
    """Draw the image with its outline, and the mask if there is a place for it."""
    for ax, name in zip(axes, ("image", "mask"), strict=False):
        ax.axis("on")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_title(name if named else "", fontsize=10)
    _picture(axes[0], picture, mask)
    for ax in axes[1:]:
        ax.imshow(mask, cmap="gray", vmin=0, vmax=1)
    axes[0].set_ylabel(title, fontsize=10)


def _picture(ax: Axes, picture: np.ndarray, mask: np.ndarray) -> None:
    ax.imshow(np.moveaxis(picture, 0, -1))
    _outline(ax, mask, OUTLINE)


def _outline(ax: Axes, mask: np.ndarray, color: str) -> None:
    if mask.any() and not mask.all():
        ax.contour(mask, levels=[0.5], colors=color, linewidths=1.2)
