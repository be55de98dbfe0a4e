"""Named sets of classes, and the rule by which each got in: what several studies compare methods on."""

from otad.data import Dataset
from otad.data.drawn import scenes, textures
from otad.data.packaged import photographs


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
