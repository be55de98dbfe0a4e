"""How every figure and table of the book leaves its cell: one palette, one size of letters, alt text for each."""

import base64
import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text

from otad.display import emit

# Okabe and Ito's palette: distinguishable with every common colour vision deficiency.
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
WIDTH = 8.3  # inches of the column at 1280 pixels: drawn wider, letters of 10 points come out smaller
LETTERS = 10  # points: no letter is below
TOGETHER = re.compile(
    r"(?<=\d) (?=±)|(?<=±) (?=\d)|(?<=\d,) (?=[+−-]?\d[\d.]*\])"
)  # spaces within a number and its half interval, and within an interval
HEAT = "inferno"
OUTLINE = "#00E5FF"

plt.rcParams.update(
    {
        "axes.prop_cycle": plt.cycler(color=COLORS),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.facecolor": "white",
        "font.size": LETTERS,
        "image.cmap": HEAT,
        "image.interpolation": "nearest",
        "legend.frameon": False,
        "savefig.dpi": 120,
    }
)


def show(fig: Figure, alt: str, shows: Sequence[str] = (), timing: bool = False) -> None:
    """Display a figure with its alt text, note which figures of the papers it regenerates, and close it.

    shows: names as in figures.csv behind the paper's key, `"fca Figure 3"`. timing: the picture depends on measured time.
    ValueError without alt text, for a figure wider than `WIDTH`, and for letters below ten points (indices of formulas apart).
    """
    if not alt.strip():
        raise ValueError(
            "a figure needs alt text: one or two sentences with what a reader who cannot see it must know"
        )
    if fig.get_figwidth() > WIDTH + 1e-6:
        raise ValueError(
            f"a figure is at most {WIDTH} inches wide, this one has {fig.get_figwidth():g}: "
            "on the page it would be made smaller, letters and all; use plotting.WIDTH"
        )
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", metadata={"Software": None})
    plt.close(fig)
    if small := _small(fig):
        raise ValueError(
            f"letters have at least {LETTERS} points; smaller are {', '.join(small)}: leave fontsize out, or raise it"
        )
    width, height = (round(96 * side) for side in fig.get_size_inches())
    emit(
        {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": alt},
        {
            "image/png": {"width": width, "height": height, "alt": alt},
            "otad": {"shows": list(shows), "timing": timing},
        },
    )


def _small(fig: Figure) -> list[str]:
    """Return the visible texts of a drawn figure that are too small to read, each once, with its size."""
    texts = [t for t in fig.findobj(Text) if t.get_visible() and t.get_text().strip()]
    found = {t.get_text(): size for t in texts if (size := float(t.get_fontsize())) < LETTERS}
    return [f"{text!r} ({size:.3g})" for text, size in found.items()]


def table(
    frame: pd.DataFrame,
    caption: str = "",
    shows: Sequence[str] = (),
    formats: str | Mapping[str, str] | None = None,
    timing: bool = False,
    folded: str = "",
) -> None:
    """Display a DataFrame; `formats` is one format string for all float columns or one a column name.

    folded: what stands on the fold; the table opens when it is pressed.
    """
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
    body = f"<div class='otad-scroll'>{TOGETHER.sub('&nbsp;', body)}</div>"
    if folded:
        body = f"<details><summary>{html.escape(folded)}</summary>{body}</details>"
    emit(
        {"text/html": body, "text/plain": text.to_string()},
        {"otad": {"shows": list(shows), "timing": timing}},
    )


def card(text: str, columns: Sequence[str] = ("", "here"), folded: str = "Protocol card") -> None:
    """Display what decides a page's numbers, folded: a line a row of `text`, its cells set apart by " | "."""
    rows = [[cell.strip() for cell in line.split(" | ")] for line in text.strip().splitlines()]
    if wrong := [row[0] for row in rows if len(row) != len(columns)]:
        raise ValueError(
            f"a line of a card needs {len(columns)} cells set apart by ' | '; see {', '.join(wrong)}"
        )
    table(pd.DataFrame(rows, columns=list(columns)), folded=folded)


def numbers(values: Any) -> np.ndarray:
    """Return a tensor of any device, or what an array can be made of, as an array."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
