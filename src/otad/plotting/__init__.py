"""Figures and tables of the book: one look for each thing that several pages draw.

`output` is how anything is shown; `pictures` draws images and maps; `comparison` draws printed beside measured, curves over seeds and
the margins of verdicts; `computed` draws lines at points; `growth` draws time against size; `clouds` draws a dot a thing, and
points of a plane with what links them; `matrices` draws numbers as colours; `ranges` draws a bar
a row.
"""

from otad.plotting.clouds import cloud, ellipse, planes
from otad.plotting.comparison import beside, curves, dots, intervals, margins
from otad.plotting.computed import lines
from otad.plotting.growth import growth, slope
from otad.plotting.matrices import cells, outline
from otad.plotting.output import COLORS, HEAT, OUTLINE, WIDTH, card, show, table
from otad.plotting.pictures import (
    best_and_worst,
    dotted,
    draw,
    gallery,
    maps,
    overlay,
    sheet,
    show_gallery,
    show_maps,
)
from otad.plotting.ranges import bars

__all__ = [
    "COLORS",
    "HEAT",
    "OUTLINE",
    "WIDTH",
    "bars",
    "beside",
    "best_and_worst",
    "card",
    "cells",
    "cloud",
    "curves",
    "dots",
    "dotted",
    "draw",
    "ellipse",
    "gallery",
    "growth",
    "intervals",
    "lines",
    "maps",
    "margins",
    "outline",
    "overlay",
    "planes",
    "sheet",
    "show",
    "show_gallery",
    "show_maps",
    "slope",
    "table",
]
