"""A method as a row of pictures: what goes in, what each part makes of it, what comes out, with arrows between."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine

from otad.plotting.output import COLORS, WIDTH, numbers, show
from otad.plotting.pictures import ACROSS, draw

Panel = (
    Any  # an image (3,H,W), colours (H,W,3), a map (H,W), numbers (n,), or a function that draws into axes
)


def pipeline(
    rows: Mapping[str, Mapping[str, Panel]], alt: str, shows: Sequence[str] = (), loose: Sequence[str] = ()
) -> None:
    """Display rows of panels, an arrow from each to the next; what stands before a row says which part of the scheme it is.

    rows: part → name → panel, at most five a row. loose: names of panels that nothing leads to. ValueError for more panels, or none.
    """
    most = max((len(row) for row in rows.values()), default=0)
    if not 1 <= most <= ACROSS or not all(rows.values()):
        raise ValueError(
            f"rows have {[len(row) for row in rows.values()]} panels: expected 1 to {ACROSS} each"
        )
    side = min(WIDTH / most, 2.0)
    fig, axes = plt.subplots(
        len(rows), most, figsize=(WIDTH, (side + 0.55) * len(rows)), layout="constrained", squeeze=False
    )
    cast(ConstrainedLayoutEngine, fig.get_layout_engine()).set(wspace=0.12)  # room for the arrows
    for line, (part, panels) in zip(axes, rows.items(), strict=True):
        for k, (ax, (name, panel)) in enumerate(zip(line, panels.items(), strict=False)):
            _panel(ax, panel)
            ax.set_title(name, fontsize=10)
            if k and name not in loose:
                _arrow(ax)
        line[0].set_ylabel(part, fontsize=10, color=COLORS[0])
        for ax in line[len(panels) :]:
            ax.axis("off")
    show(fig, alt=alt, shows=shows)


def _panel(ax: Axes, panel: Panel) -> None:
    if isinstance(panel, Callable):  # type: ignore[arg-type]
        panel(ax)
        return
    values = numbers(panel)
    if values.ndim == 1:
        ax.bar(range(len(values)), values, color=COLORS[0])
        ax.set(xticks=[], yticks=[])
        ax.set_box_aspect(1)
        ax.spines[:].set_visible(False)
    else:
        draw(ax, np.moveaxis(values, 0, -1) if values.ndim == 3 and len(values) == 3 else values)


def _arrow(ax: Axes) -> None:
    """Draw an arrow that comes from the left and ends at these axes."""
    ax.annotate(
        "",
        xy=(-0.03, 0.5),
        xytext=(-0.2, 0.5),
        xycoords="axes fraction",
        annotation_clip=False,
        arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 1.5},
    )
