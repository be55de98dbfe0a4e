"""Numbers side by side: printed and here, curves over seeds, the margins of verdicts."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from otad.judgement import t_interval
from otad.plotting.output import COLORS, WIDTH, show, table

BLUE, RED, GREEN = COLORS[:3]
GREY = "#767676"
MARKS = "os^Dv<>p"
Numbers: TypeAlias = pd.Series | pd.DataFrame


def beside(
    printed: Numbers,
    here: Numbers,
    half: Numbers | None = None,
    caption: str = "",
    shows: Sequence[str] = (),
    digits: int = 1,
    folded: str = "",
    timing: bool = False,
) -> None:
    """Display one metric, printed and here in neighbouring columns.

    printed, here: a Series, a row a name, or a DataFrame, a pair of columns for each of its columns; or a Series and a DataFrame, one
    column printed beside all of its columns. Matched by name, rows in the order of `printed`, then what is only here. half: like
    `here`, half of each interval. folded, timing: as in `table`.
    """
    one = isinstance(printed, pd.Series) and isinstance(here, pd.DataFrame)
    old, new, span = _matched(pd.DataFrame(dict.fromkeys(here, printed)) if one else printed, here, half)
    found: dict[Any, list[str]] = {}
    for i, column in enumerate(new.columns):
        if not one or i == 0:
            found["" if one else column, "printed"] = [_number(v, digits) for v in old[column]]
        pairs = zip(new[column], span[column], strict=True)
        found[column, "here"] = [
            _number(v, digits) + ("" if np.isnan([v, w]).any() else f" ± {w:.{digits}f}") for v, w in pairs
        ]
    frame = pd.DataFrame(found, index=old.index)
    if isinstance(here, pd.Series):
        frame.columns = frame.columns.get_level_values(1)
    table(
        frame.rename_axis([None] * frame.index.nlevels),
        caption=caption,
        shows=shows,
        folded=folded,
        timing=timing,
    )


def intervals(
    samples: pd.DataFrame,
    caption: str = "",
    shows: Sequence[str] = (),
    digits: int = 1,
    folded: str = "",
    hide: Sequence[str] = (),
) -> pd.DataFrame:
    """Display means with 95 % intervals over seeds, of differences: signed; return them, each as [mean, low, high].

    samples: a row a seed, which is the last level of the index; the other levels name the rows of the table, except those in `hide`. A
    column a thing; NaN where a thing has no number for a row.
    """
    levels = list(range(samples.index.nlevels - 1))
    found = samples.groupby(level=levels, sort=False).agg(
        lambda x: list(t_interval(x.tolist())) if x.notna().all() else None
    )
    spec = f"{{:+.{digits}f}} [{{:+.{digits}f}}, {{:+.{digits}f}}]"
    text = found.map(lambda ends: spec.format(*ends) if ends else "–")
    rows = text.reset_index().drop(columns=list(hide)).rename_axis(columns=None)
    table(rows, caption=caption, shows=shows, folded=folded)
    return found


def dots(
    printed: Numbers | None,
    here: Numbers,
    half: Numbers | None = None,
    label: str = "",
    shows: Sequence[str] = (),
    zero: bool = False,
    bent: bool = False,
    log: bool = False,
    timing: bool = False,
) -> None:
    """Display a row a name: a diamond where print has it, a dot with its interval here; a panel for each column of DataFrames.

    printed: None where nothing is. label: of the horizontal axis. zero: draw a line there (differences).
    bent: the axis is linear between −1 and 1, logarithmic beyond; log: it is logarithmic. The rest as in `beside`.
    """
    old, new, span = _matched(here * np.nan if printed is None else printed, here, half)
    names = [" ".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in old.index]
    fig, axes = plt.subplots(
        1,
        len(new.columns),
        figsize=(WIDTH, 0.27 * len(names) + 1.1),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    at = np.arange(len(names))
    for ax, column in zip(axes[0], new.columns, strict=True):
        if zero:
            ax.axvline(0, color="black", lw=1)
        if printed is not None:
            ax.plot(old[column], at - 0.15, "D", mfc="none", color=RED, label="printed")
        error = None if half is None else span[column].fillna(0)
        ax.errorbar(new[column], at + 0.15, xerr=error, fmt="o", color=BLUE, capsize=3, label="here")
        title = "" if isinstance(here, pd.Series) else str(column)
        ax.set_title(textwrap.fill(title, 60 // len(new.columns)), fontsize=10)
        ax.grid(axis="y", color="0.93")
        if bent:
            ax.set_xscale("symlog", linthresh=1)
            ax.xaxis.set_major_formatter("{x:+g}")
        if log:
            ax.set_xscale("log")
    fig.supxlabel(
        label, fontsize=plt.rcParams["axes.labelsize"]
    )  # one for all: side by side they would touch
    axes[0, 0].set_yticks(at, names)
    axes[0, 0].set_ylim(len(names) - 0.4, -0.6)
    if printed is not None:
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    show(fig, alt=_told(None if printed is None else old, new, label), shows=shows, timing=timing)


def curves(
    panels: Mapping[str, Mapping[str, pd.DataFrame]],
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
    shows: Sequence[str] = (),
    log: bool = False,
    columns: int = 3,
    log_y: bool = False,
    same: bool = True,
    timing: bool = False,
) -> None:
    """Display curves, the mean over seeds with its 95 % interval as a band.

    panels: title → label → DataFrame, a row a seed, a column an x (numbers, or words in their order); a single row is drawn dashed
    and without a band, as printed curves are. levels: label → height of a dotted line in every panel. log: the horizontal axis; log_y:
    the other. same: all panels have one vertical axis. timing: as in `show`.
    """
    labels = list(dict.fromkeys(label for lines in panels.values() for label in lines))
    if not labels:
        raise ValueError("curves needs at least one panel with one line; got none")
    across = min(columns, len(panels))
    down = -(-len(panels) // across)
    fig, axes = plt.subplots(
        down, across, figsize=(WIDTH, 2.7 * down + 0.3), layout="constrained", sharey=same, squeeze=False
    )
    drawn: dict[str, Any] = {}
    told = []
    for ax, (title, lines) in zip(axes.flat, panels.items(), strict=False):
        for name, frame in lines.items():
            k = labels.index(name)
            drawn[name], ends = _band(ax, frame, COLORS[k % 7], MARKS[k % len(MARKS)])
            told.append(f"{title + ': ' if title else ''}{name} {ends}")
        for k, (name, height) in enumerate((levels or {}).items()):
            drawn[name] = ax.axhline(height, ls=":", color=("black", GREY)[k % 2])
        ax.set(title=title, xlabel=xlabel)
        if log:  # never "linear": it would put numbers in the place of words
            ax.set_xscale("log")
        if log_y:
            ax.set_yscale("log")
    for ax in axes.flat[len(panels) :]:
        ax.axis("off")
    for ax in axes[:, 0]:
        ax.set_ylabel(ylabel)
    fig.legend(drawn.values(), drawn.keys(), loc="outside lower center", ncols=min(4, len(drawn)))
    show(fig, alt=f"{ylabel} against {xlabel}. {'; '.join(told)}.", shows=shows, timing=timing)


def margins(
    verdicts: Mapping[str, Mapping[str, Any]],
    unit: str = "points",
    printed: Mapping[str, Mapping[str, float]] | None = None,
    effects: Mapping[str, float] | None = None,
    bands: Mapping[str, tuple[float, float]] | None = None,
    shows: Sequence[str] = (),
) -> None:
    """Display the margins of verdicts as forest plots: a dot and its 95 % interval an inequality, positive as claimed.

    verdicts: claim → what `ledger.recorded("verdict " + claim)` returns. printed: claim → inequality → the margin in print, a diamond.
    effects: claim → the smallest effect that would matter, shaded; bands: claim → where a claim of closeness wants its values.
    """
    if without := [claim for claim, found in verdicts.items() if not found.get("inequalities")]:
        raise ValueError(
            f"only verdicts from margins have inequalities to draw; {', '.join(without)} has none"
        )
    sizes = [len(found["inequalities"]) for found in verdicts.values()]
    fig, axes = plt.subplots(
        len(sizes),
        1,
        figsize=(WIDTH, 0.34 * sum(sizes) + 0.85 * len(sizes) + 0.3),
        height_ratios=[n + 0.6 for n in sizes],
        layout="constrained",
        squeeze=False,
    )
    told = []
    for ax, (claim, found) in zip(axes[:, 0], verdicts.items(), strict=True):
        low, high = (bands or {}).get(
            claim, (-(effects or {}).get(claim, 0.0), (effects or {}).get(claim, 0.0))
        )
        if low < high:
            ax.axvspan(low, high, color="0.93", lw=0)
        told.append(_forest(ax, claim, found, (printed or {}).get(claim, {}), banded=claim in (bands or {})))
    axes[-1, 0].set_xlabel(unit)
    show(
        fig, alt=f"Margins with 95 % intervals, in {unit}, positive as claimed. {' '.join(told)}", shows=shows
    )


def _forest(
    ax: Axes, claim: str, found: Mapping[str, Any], printed: Mapping[str, float], banded: bool = False
) -> str:
    """Draw one verdict; return it in words."""
    word = "fails here" if found["verdict"] == "fails" else found["verdict"]
    ends = found["inequalities"]
    if not banded:
        ax.axvline(0, color="black", lw=1)
    for y, (name, (mean, low, high)) in enumerate(ends.items()):
        color = BLUE if banded else GREEN if low > 0 else RED if high < 0 else GREY
        ax.plot([low, high], [y, y], color=color, lw=2)
        ax.plot(mean, y, "o", color=color, mfc="white" if color == GREY else color)
        if np.isfinite(printed.get(name, np.nan)):
            ax.plot(printed[name], y, "D", mfc="none", color="black", label="printed" if y == 0 else None)
    ax.set_yticks(range(len(ends)), [textwrap.fill(name, 38) for name in ends])
    ax.set_ylim(len(ends) - 0.4, -0.6)
    ax.set_title(
        f"{claim} {word}, {found['n']} seeds" + (" (◇ in print)" if set(printed) & set(ends) else ""),
        loc="left",
        fontsize=11,
    )
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    told = "; ".join(f"{n} {m:+.2g} [{low:+.2g}, {high:+.2g}]" for n, (m, low, high) in ends.items())
    return f"{claim} {word}: {told}."


def _band(ax: Axes, frame: pd.DataFrame, color: str, mark: str) -> tuple[Any, str]:
    """Draw the mean of the rows and its interval; return the line, and where it begins and ends."""
    single = len(frame) < 2
    frame = frame.dropna(axis=1) if single else frame.dropna()
    x, middle = list(frame.columns), frame.mean().to_numpy()
    (line,) = ax.plot(
        x, middle, mark, ls="--" if single else "-", color=color, mfc="none" if single else color, ms=5
    )
    if not single:
        _, low, high = zip(*(t_interval(frame[c].tolist()) for c in x), strict=True)
        ax.fill_between(x, low, high, color=color, alpha=0.2, lw=0)
    if not len(middle) or np.isnan(middle).any():
        return line, "without values"
    return line, f"from {middle[0]:.3g} at {x[0]} to {middle[-1]:.3g} at {x[-1]}"


def _matched(
    printed: Numbers, here: Numbers, half: Numbers | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the three as DataFrames with the same rows and columns, NaN where there is no number."""
    given = [printed, here] if half is None else [printed, here, half]
    frames = [pd.DataFrame({"": x}) if isinstance(x, pd.Series) else x for x in given]
    rows, columns = frames[0].index, frames[0].columns
    if not rows.is_unique or not frames[1].index.is_unique:
        raise ValueError(
            "printed and here are matched by the names of their rows, and a name stands there twice"
        )
    rows = rows.append(frames[1].index.difference(rows, sort=False))
    columns = columns.append(frames[1].columns.difference(columns, sort=False))
    aligned = [f.reindex(index=rows, columns=columns).astype(float) for f in frames]
    return aligned[0], aligned[1], aligned[2] if half is not None else aligned[1] * np.nan


def _number(value: float, digits: int) -> str:
    return "–" if np.isnan(value) else f"{value:.{digits}f}"


def _told(old: pd.DataFrame | None, new: pd.DataFrame, label: str) -> str:
    """Return printed (if anything is) and measured in words, for those who cannot see the dots."""
    lines = []
    for column in new.columns:
        pairs = []
        for name, value in new[column].items():
            before = "" if old is None else f"{_number(old.loc[name, column], 1)} and "
            words = name if isinstance(name, str) else " ".join(map(str, name))
            pairs.append(f"{words} {before}{_number(value, 1)}")
        lines.append(f"{column + ': ' if column else ''}{', '.join(pairs)}")
    return f"{label or 'Values'}, {'' if old is None else 'printed and '}here: {'; '.join(lines)}."
