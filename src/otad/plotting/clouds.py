"""Dots in a plane, a dot a thing, a mark a group."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba

from otad.plotting.output import COLORS, WIDTH, numbers, show

MARKS = "osD^vX"
# Colour, mark and size of the groups in a plane: what is compared with, what is asked, what is odd.
GROUPS = (("0.55", "s", 5.0), (COLORS[0], "o", 4.0), (COLORS[1], "^", 5.5))
ALONE = ("black", "o", 4.0)
MANY, CROWD = 60, 200  # points from which on they are drawn smaller, and as specks
WEAK = 0.02  # share of the strongest link: below it none is drawn
DENSE = 200  # links from which on the weak ones fade


def cloud(
    groups: Mapping[str, tuple[Any, Any]],
    xlabel: str,
    ylabel: str,
    alt: str = "",
    diagonal: bool = False,
    level: float | None = None,
    log: bool = False,
    shows: Sequence[str] = (),
) -> None:
    """Display dots, group → (x, y); the alt text says how many there are of each and where they lie, and ends with `alt`.

    diagonal: both axes go from 0 to 1, and a line says where they are equal. level: of a vertical line. log: the horizontal axis.
    """
    if not groups:
        raise ValueError("cloud needs at least one group of dots; got none")
    fig, ax = plt.subplots(figsize=(7, 5 if diagonal else 3.8), layout="constrained")
    told = []
    for k, (name, (x, y)) in enumerate(groups.items()):
        ax.plot(x, y, MARKS[k % 6], color=COLORS[k % 7], alpha=0.8, label=name)
        told.append(f"{len(x)} {name}, around ({np.median(x):.2g}, {np.median(y):.2g})")
    if diagonal:
        ax.plot([0, 1], [0, 1], color="0.6", lw=1)
        ax.set(xlim=(0, 1.01), ylim=(0, 1.01), box_aspect=1)
        above = sum(int(np.greater(y, x).sum()) for x, y in groups.values())
        told.append(f"{above} lie above the diagonal")
    if level is not None:
        ax.axvline(level, color="0.6", lw=1, ls=":")
    if log:
        ax.set_xscale("log")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    fig.legend(loc="outside right center")
    show(fig, alt=f"{ylabel} against {xlabel}: {'; '.join(told)}. {alt}".strip(), shows=shows)


def planes(
    panels: Mapping[str, Mapping[str, Any]] | None = None,
    links: Mapping[str, Any] | None = None,
    paths: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
    density: Mapping[str, tuple[Any, Any]] | None = None,
    columns: int = 3,
    limit: float | None = None,
    alt: str = "",
    shows: Sequence[str] = (),
) -> None:
    """Display points of a plane, title → group → points (n,2), a mark and a colour a group; axes have no numbers, and one scale.

    links: title → weights (n,m) between the n points of the first group and the m of all others, each as wide as its share of the
    strongest; those below a fiftieth of it are left out. paths: title → name → polylines (k,2), thin, in the colour of the group of this
    name or one of their own; where there are no points, panels have a scale each. density: title → (axis (k,), values (k,k)), the first index along x. limit:
    where both axes end. The alt text counts points and links, and ends with `alt`. ValueError without a panel.
    """
    titles = list(dict.fromkeys([*(panels or {}), *(paths or {})]))
    if not titles:
        raise ValueError("planes needs at least one panel; got none")
    down, across = -(-len(titles) // columns), min(columns, len(titles))
    tall = 1.0 if limit else _ratio(panels or {}, paths or {})
    size = (WIDTH, (tall * WIDTH / across + 0.45) * down + 0.4)
    fig, axes = plt.subplots(
        down,
        across,
        figsize=size,
        layout="constrained",
        sharex=bool(panels),
        sharey=bool(panels),
        squeeze=False,
    )
    handles: dict[str, Any] = {}
    told = []
    for ax, title in zip(axes.flat, titles, strict=False):
        if title in (density or {}):
            axis, values = (density or {})[title]
            ax.contourf(axis, axis, numbers(values).T, 12, cmap="Blues")
        groups = {name: numbers(points) for name, points in (panels or {}).get(title, {}).items()}
        drawn, words = _plane(ax, groups, (paths or {}).get(title, {}), (links or {}).get(title))
        handles |= drawn
        told.append(f"{title}: {', '.join(words)}" if words else title)
        ax.set(xticks=[], yticks=[], aspect="equal")
        if limit:
            ax.set(xlim=(-limit, limit), ylim=(-limit, limit))
        ax.set_title(title, fontsize=10)
        ax.spines[:].set_visible(False)
    for ax in axes.flat[len(titles) :]:
        ax.axis("off")
    if len(handles) > 1:
        fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    show(fig, alt=f"Points of a plane. {'; '.join(told)}. {alt}".strip(), shows=shows)


def ellipse(mean: Any, covariance: Any, radius: float = 1.0) -> np.ndarray:
    """Return the points (80,2) of the ellipse at a Mahalanobis distance from the mean of a Gaussian on a plane, the last one the first."""
    around = np.linspace(0, 2 * np.pi, 80)
    circle = np.stack([np.cos(around), np.sin(around)], 1)
    return numbers(mean) + radius * circle @ np.linalg.cholesky(numbers(covariance)).T


def _ratio(
    panels: Mapping[str, Mapping[str, Any]], paths: Mapping[str, Mapping[str, Sequence[Any]]]
) -> float:
    """Return the height of all points and paths as a share of their width."""
    drawn = [points for groups in panels.values() for points in groups.values()]
    drawn += [path for named in paths.values() for several in named.values() for path in several]
    wide, tall = np.ptp(np.concatenate([numbers(points) for points in drawn]), axis=0)
    return float(tall / wide)


def _plane(
    ax: Axes, groups: Mapping[str, np.ndarray], paths: Mapping[str, Sequence[Any]], weights: Any
) -> tuple[dict[str, Any], list[str]]:
    """Draw paths, links and points of one panel; return a handle a group, and what is there in words."""
    words = [f"{len(points)} {name}" for name, points in groups.items()]
    for k, (name, polylines) in enumerate(paths.items()):
        color = GROUPS[list(groups).index(name) % 3][0] if name in groups else COLORS[k % 7]
        ax.add_collection(LineCollection([numbers(p) for p in polylines], colors=color, lw=0.9))
        words.append(f"lines: {len(polylines)} {name}")
    if weights is not None:
        words += _linked(ax, groups, numbers(weights))
    looks = GROUPS if len(groups) > 1 else (ALONE,)
    handles = {}
    for (name, points), (color, mark, size) in zip(groups.items(), looks, strict=False):
        small = 1.0 if len(points) >= CROWD else 0.7 * size if len(points) >= MANY else size
        (handles[name],) = ax.plot(*points.T, mark, color=color, ms=small, zorder=3)
    ax.autoscale_view()
    return handles, words


def _linked(ax: Axes, groups: Mapping[str, np.ndarray], weights: np.ndarray) -> list[str]:
    """Draw links from the first group to the others, in the colour of the other end; return how many there are of each."""
    (_, first), *others = groups.items()
    shares, start, said = weights / weights.max(), 0, []
    for (name, points), (color, *_) in zip(others, GROUPS[1:], strict=False):
        part = shares[:, start : start + len(points)]
        start += len(points)
        i, j = np.nonzero(part > WEAK)
        share, dense = part[i, j], np.count_nonzero(shares > WEAK) > DENSE
        looks = [to_rgba(color, 0.6 * max(w, 0.05) if dense else 0.5) for w in share]
        ends = np.stack([first[i], points[j]], 1)
        widths = (1.0 if dense else 2.5) * share
        ax.add_collection(LineCollection(list(ends), colors=looks, linewidths=widths, zorder=1))
        said.append(f"{len(i)} links to {name}")
    return said
