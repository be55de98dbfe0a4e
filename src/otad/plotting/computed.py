"""Lines that are computed and not sampled: no seeds and no bands, a point is a number."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from otad.plotting.output import COLORS, WIDTH, numbers, show

MARKED = 15  # points of a line at most that are marked one by one
# x (n,) and y (n,), or y (n,K): K lines that have one name; y alone, over 0, 1, …; or a number: a level, dotted.
Line = Any


def lines(
    panels: Mapping[str, Mapping[str, Line]],
    xlabel: str | Sequence[str],
    ylabel: str = "",
    alt: str = "",
    shows: Sequence[str] = (),
    pale: Sequence[str] = (),
    upright: Mapping[str, Mapping[str, float]] | None = None,
    filled: Mapping[str, float] | None = None,
    notes: Mapping[str, Sequence[str]] | None = None,
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float | None, float | None] | None = None,
    log: bool = False,
) -> None:
    """Display lines, title → name → a `Line`, a colour a name in all panels; a line of one point is a mark.

    xlabel: one for all, or one a panel. pale: names of what stays in the background. upright: title → name → x of a dotted line.
    filled: name → x up to which the area below is shaded. notes: name → a text at each of its points. log: the horizontal axes. The alt
    text says where every line begins and ends, and ends with `alt`. ValueError without a line.
    """
    names = list(dict.fromkeys(name for drawn in panels.values() for name in drawn))
    if not names:
        raise ValueError("lines needs at least one panel with one line; got none")
    own = [
        n
        for n in names
        if n not in pale and not all(isinstance(d.get(n, 0), int | float) for d in panels.values())
    ]
    colors = {n: COLORS[k % 7] for k, n in enumerate(own)} | dict.fromkeys(pale, "0.82")
    below = [xlabel] * len(panels) if isinstance(xlabel, str) else list(xlabel)
    size = (WIDTH if len(panels) > 1 else 6.0, 3.1)
    fig, axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", squeeze=False)
    handles: dict[str, Any] = {}
    told = []
    for ax, label, (title, drawn) in zip(axes[0], below, panels.items(), strict=True):
        for name, line in drawn.items():
            handles[name], said = _line(ax, line, colors.get(name, "black"), name in pale)
            told.append(f"{title + ': ' if title else ''}{name} {said}")
            if filled and name in filled:
                _fill(ax, line, filled[name], colors[name])
            for text, *place in zip(notes[name], *line, strict=False) if notes and name in notes else ():
                ax.annotate(text, place, (5, -11), textcoords="offset points", annotation_clip=True)
        for name, x in (upright or {}).get(title, {}).items():
            handles[name] = ax.axvline(x, ls=":", color="black")
            told.append(f"{title + ': ' if title else ''}{name} at {x:.3g}")
        ax.set(xlabel=label, xlim=xlim, ylim=ylim, xscale="log" if log else "linear")
        ax.set_title(title, fontsize=10)
    axes[0, 0].set_ylabel(ylabel)
    if len(handles) > 1:
        room = int(size[0] / (0.6 + 0.085 * max(map(len, handles))))  # labels of 10 points side by side
        columns = max(1, min(4, room, len(handles)))
        fig.set_figheight(size[1] + 0.2 * (-(-len(handles) // columns) - 1))
        fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)
    what = f"{ylabel} against {' and '.join(dict.fromkeys(below))}. " if ylabel else ""
    show(fig, alt=f"{what}{'; '.join(told)}. {alt}".strip(), shows=shows)


def _line(ax: Axes, line: Line, color: str, pale: bool) -> tuple[Any, str]:
    """Draw one line or several that are alike; return the first, and where it begins and ends."""
    if isinstance(line, int | float):
        return ax.axhline(float(line), ls=":", color=color), f"at {line:.3g}"
    x, y = (numbers(v) for v in line) if isinstance(line, tuple) else (np.arange(len(line)), numbers(line))
    style: dict[str, Any] = {"color": color, "lw": 0.6 if pale else 1.5, "zorder": 1 if pale else 2}
    if not pale and len(x) <= MARKED:
        style |= {"marker": "<" if len(x) == 1 else "o", "ms": 4}
    return ax.plot(x, y, **style)[0], _ends(x, y)


def _fill(ax: Axes, line: Line, end: float, color: str) -> None:
    """Shade what lies below a line, from its beginning to an x."""
    x, y = (numbers(v) for v in line)
    kept = x < end
    cut, height = np.append(x[kept], end), np.append(y[kept], np.interp(end, x, y))
    ax.fill_between(cut, height, color=color, alpha=0.15, lw=0)


def _ends(x: np.ndarray, y: np.ndarray) -> str:
    """Say where a line begins and ends; of several, their median."""
    first, last = (float(np.median(row)) for row in (y[0], y[-1]))
    several = f"({y.shape[1]} of them, the median) " if y.ndim > 1 and y.shape[1] > 1 else ""
    if len(x) == 1:
        return f"{several}{first:.3g} at {x[0]:.3g}"
    return f"{several}from {first:.3g} at {x[0]:.3g} to {last:.3g} at {x[-1]:.3g}"
