"""Named sets of classes, and the rule by which each got in: what several studies compare methods on."""

import os
from collections.abc import Sequence
from pathlib import Path

from otad.data import Dataset
from otad.data.drawn import scenes, textures
from otad.data.packaged import photographs
from otad.data.readers import folders, loco, realiad
from otad.data.readers.locations import VARIABLE, location

READERS = {"mvtec_loco": loco, "mvtec_ad": folders, "mpdd": folders, "realiad": realiad}


def packaged(name: str, side: int, n_train: int, n_good: int, n_each: int, seed: int) -> Dataset:
    """Return a class that the package draws or ships: a scene, a texture or a photograph, by its name.

    side: pixels. n_train, n_good: normal pictures to learn from and to judge. n_each: pictures of each kind of defect. Raises
    ValueError for an unknown name.
    """
    for source in (scenes, textures, photographs):
        if name in source.NAMES:
            return source.load(name, side, n_train, n_good, n_each, seed=seed)
    known = (*scenes.NAMES, *textures.NAMES, *photographs.NAMES)
    raise ValueError(f"the package has no class {name!r}; it has {', '.join(known)}")


def categories(dataset: str) -> tuple[str, ...]:
    """Return the classes of your own copy of a data set, a key of READERS; ValueError if OTAD_DATA does not hold it."""
    return tuple(READERS[dataset].categories(location(dataset)))


def on_disk(dataset: str, name: str, side: int) -> Dataset:
    """Return a class of your own copy of a data set, at `side` pixels; ValueError as `categories`."""
    return READERS[dataset].load(location(dataset), name, side)


def holding(datasets: Sequence[str]) -> tuple[str, ...]:
    """Return which of these data sets the folder of OTAD_DATA holds; ValueError if none."""
    there = tuple(
        name for name in datasets if (Path(os.environ.get(VARIABLE, "")).expanduser() / name).is_dir()
    )
    if not there:
        location(datasets[0])  # says what was expected where
    return there
