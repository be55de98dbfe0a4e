"""Time against size: measured, fitted, and the order that was promised."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from otad.plotting.output import COLORS, WIDTH, show

MARKS = "osD^vx<>"


def slope(x: Any, y: Any) -> float:
    """Return the slope of y over x, least squares in the logarithms: p where y is a power x^p."""
    return float(np.polyfit(np.log(np.asarray(x, float)), np.log(np.asarray(y, float)), 1)[0])


def growth(
    panels: Mapping[str, Mapping[str, tuple[Any, Any, Any]]],
    ylabel: str,
    shows: Sequence[str] = (),
    timing: bool = True,
) -> None:
    """Display times against sizes with logarithmic axes: marks are measured, lines their fits, dotted the order through the last mark.

    panels: label of the horizontal axis → name → (sizes, seconds, values of the order), ascending; two panels side by side. Vertical axes
    are in milliseconds, called `ylabel`. ValueError for a time or size that is not positive: it has no logarithm.
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    across = min(2, len(panels))
    down = -(-len(panels) // across)
    size = (WIDTH if across > 1 else 6.5, 3.5 * down + 0.3)
    fig, axes = plt.subplots(down, across, figsize=size, layout="constrained", squeeze=False)
    drawn: dict[str, Any] = {}
    told = []
    for ax, (label, lines) in zip(axes.flat, panels.items(), strict=False):
        for name, (x, y, order) in lines.items():
            k = names.index(name)
            drawn[name] = _power(ax, name, x, y, order, COLORS[k % 7], MARKS[k % len(MARKS)])
        slopes = (f"{name} {slope(x, y):.2f} for {slope(x, o):.2f}" for name, (x, y, o) in lines.items())
        told.append(f"{label}: {', '.join(slopes)}")
        sizes = max((list(x) for x, *_ in lines.values()), key=len)
        ax.set(xscale="log", yscale="log", xlabel=label, ylabel=ylabel)
        low, high = ax.get_ylim()
        if high < 10 * low:  # room for two powers of ten on the axis
            ax.set_ylim(low / 3, 3 * high)
        if max(sizes) < 100:
            ax.set_xticks(sizes, [f"{s:g}" for s in sizes])
            ax.minorticks_off()
    for ax in axes.flat[len(panels) :]:
        ax.axis("off")
    fig.legend(drawn.values(), drawn.keys(), loc="outside upper center", ncols=min(3, len(drawn)))
    show(
        fig,
        alt=f"{ylabel} against size, both axes logarithmic. Slopes measured and promised: {'; '.join(told)}.",
        shows=shows,
        timing=timing,
    )


def _power(ax: Axes, name: str, x: Any, y: Any, order: Any, color: str, mark: str) -> Any:
    """Draw one line with its fit and its order; return the marks."""
    x, y, order = (np.asarray(v, float) for v in (x, y, order))
    if not all((v > 0).all() for v in (x, y, order)):
        raise ValueError(f"{name}: sizes, times and orders must be positive to have logarithms; got {y}")
    fit = np.exp(np.polyval(np.polyfit(np.log(x), np.log(y), 1), np.log(x)))
    ax.plot(x, 1000 * order * y[-1] / order[-1], ":", color=color, lw=1.2)
    ax.plot(x, 1000 * fit, color=color, lw=1)
    (marks,) = ax.plot(x, 1000 * y, mark, color=color, ms=6)
    return marks
