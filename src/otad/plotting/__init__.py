"""Figures and tables of the book: one look for each thing that several pages draw.

`output` is how anything is shown; `pictures` draws images and maps; `comparison` draws printed beside measured, curves over seeds and
the margins of verdicts; `growth` draws time against size; `clouds` draws a dot a thing.
"""

from otad.plotting.clouds import cloud
from otad.plotting.comparison import beside, curves, dots, intervals, margins
from otad.plotting.growth import growth, slope
from otad.plotting.output import COLORS, HEAT, OUTLINE, WIDTH, card, show, table
from otad.plotting.pictures import best_and_worst, draw, gallery, maps, show_gallery, show_maps

__all__ = [
    "COLORS",
    "HEAT",
    "OUTLINE",
    "WIDTH",
    "beside",
    "best_and_worst",
    "card",
    "cloud",
    "curves",
    "dots",
    "draw",
    "gallery",
    "growth",
    "intervals",
    "maps",
    "margins",
    "show",
    "show_gallery",
    "show_maps",
    "slope",
    "table",
]
