"""A row a name: a bar from one number to another, marks beside it, dotted lines for what it is compared with."""

from collections.abc import Collection, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from otad.plotting.output import COLORS, WIDTH, show

MARKS = "osD^vX"


def bars(
    ends: pd.DataFrame | pd.Series | None = None,
    marks: pd.DataFrame | None = None,
    half: pd.Series | None = None,
    hollow: Collection[str] = (),
    label: str = "",
    levels: Mapping[str, float] | None = None,
    xlim: tuple[float | None, float | None] | None = None,
    alt: str = "",
    shows: Sequence[str] = (),
) -> None:
    """Display horizontal bars, a row a name, from the first to the last column of `ends`, of a Series from 0; marks have the same rows.

    marks: a mark a column in each row; one that has a level's name has its colour. half: of an interval around a bar's end. hollow: names
    of bars that are only outlined. levels: label → where an upright dotted line stands. The alt text has all numbers, and ends with `alt`.
    ValueError with neither bars nor marks, and where their rows differ.
    """
    if isinstance(ends, pd.Series):
        ends = pd.DataFrame({"from": 0.0, "to": ends})
    frame = marks if ends is None else ends
    if frame is None or frame.empty:
        raise ValueError("bars needs rows: bars from low to high, marks, or both; got none")
    if ends is not None and marks is not None and not marks.index.equals(ends.index):
        raise ValueError(
            f"bars have the rows {list(ends.index)}, marks {list(marks.index)}: expected the same"
        )
    at, names = np.arange(len(frame)), [str(name) for name in frame.index]
    fig, ax = plt.subplots(figsize=(WIDTH, 0.36 * len(names) + 1.2), layout="constrained")
    told = []
    if ends is not None:
        low, high = ends.iloc[:, 0].to_numpy(), ends.iloc[:, -1].to_numpy()
        colors = ["none" if name in hollow else "0.75" for name in names]
        ax.barh(
            at, high - low, left=low, xerr=half, height=0.6, color=colors, edgecolor="0.45", ecolor="0.45"
        )
        told += [f"{name} {a:.3g} to {b:.3g}" for name, a, b in zip(names, low, high, strict=True)]
    columns = [] if marks is None else list(marks.columns)
    for k, (column, values) in enumerate(() if marks is None else marks.items()):
        ax.plot(values.to_numpy(), at, MARKS[k % 6], color=COLORS[k % 7], label=str(column), ms=6)
        told.append(f"{column}: {', '.join(f'{n} {v:.3g}' for n, v in zip(names, values, strict=True))}")
    for name, x in (levels or {}).items():
        known = name in columns
        color = COLORS[columns.index(name) % 7] if known else "black"
        ax.axvline(x, color=color, lw=1, ls=":")
        if not known:
            ax.text(x, -0.7, name, ha="center", va="bottom", fontsize=10)
            told.append(f"{name} at {x:.3g}")
    ax.set_yticks(at, names)
    ax.set(xlabel=label, ylim=(len(names) - 0.4, -0.6), xlim=xlim)
    ax.grid(axis="y", color="0.93")
    ax.set_axisbelow(True)
    if columns:
        fig.legend(loc="outside lower center", ncols=min(5, len(columns)))
    show(fig, alt=f"{label}. {'; '.join(told)}. {alt}".strip(), shows=shows)
