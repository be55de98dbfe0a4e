"""Dots in a plane, a dot a thing, a mark a group."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from otad.plotting.output import COLORS, show

MARKS = "osD^vX"


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
