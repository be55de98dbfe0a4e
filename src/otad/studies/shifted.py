"""The arena of the pages on TTAD: solar cells that have something to lose under a shift, and how hard they are shifted."""

from otad.data import Dataset
from otad.data.drawn.corruptions import KINDS
from otad.data.packaged import solar

PLANTED = ("cut", "hole", "contamination")
FIRST = "mono, planted defects"  # it has masks, and decides
REAL = {
    "mono, real, all designs": ("mono", "all"),
    "mono, real": ("mono", "shared"),
    "poly, real": ("poly", "shared"),
}
FLAGGED = (
    "mono, real, all designs",
)  # a design gives many of its defects away: shown, and never judged (page 30)
SHIFTED = (FIRST, *FLAGGED)  # the classes that page 30 has let in: they have something to lose under a shift
# The severities at which PatchCore loses about what it loses in print. Page 30 chooses them, and raises if it would choose others.
MATCHED = {"gaussian noise": 1, "defocus blur": 1, "brightness": 1, "contrast": 4}
HARDEST = dict.fromkeys(KINDS, 5)
# What counts as nothing in the verdicts on TTAD, fixed on page 30 with printed numbers only.
NOTHING = {
    "smallest_effect": 1.0,  # point of AUROC
    "effect_reason": "half of the printed steps between the transport rows of Table 4 are smaller",
}


def solar_cells(
    name: str, side: int, n_train: int, n_good: int, n_each: int, seed: int, salt: int = 30
) -> Dataset:
    """Return solar cells by the name of their class: with planted defects and masks, `n_each` of each kind, or with real ones.

    Real defects, without masks, are as many as the planted ones. salt : draws other defects on the same cells. Raises ValueError for
    an unknown name.
    """
    if name == FIRST:
        return solar.planted("mono", side, n_train, ["good"] * n_good + list(PLANTED) * n_each, seed, salt)
    if name not in REAL:
        raise ValueError(
            f"there are no solar cells {name!r}; there are {FIRST!r}, {', '.join(map(repr, REAL))}"
        )
    cell, designs = REAL[name]
    return solar.load(cell, side, n_train, n_good, len(PLANTED) * n_each, seed, designs)
