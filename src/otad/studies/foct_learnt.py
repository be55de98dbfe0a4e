"""A learnt navigator of FOCT that a laptop can afford: a small network over pairs of patches that goes on from query to query.

As printed, a network over all pairs is learnt for minutes a query. This one sees a thousand pairs a step, is taught on the shots
first, and takes ten steps a query.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from otad.studies.few_shot import sharpened
from otad.studies.networks import Look
from otad.transport import PairNetwork

TYPICAL = 10.0  # mean squared distance of a pair of the shots' patches; how far learning comes in so many steps hangs on it


def rescaled(look: Look, shots: Tensor, typical: float | None) -> Look:
    """Return the features in another unit: a pair of the shots' patches is `typical` apart, squared, on average; None leaves them."""
    if typical is None:
        return look
    factor = float((typical * sharpened(look, shots, 1.0)(0).beta) ** 0.5)
    return lambda images: [factor * features for features in look(images)]


def cheap(hidden: Sequence[int] = (32,), slope: float = 0.0) -> dict[str, Any]:
    """Return arguments of `FOCT` for such a navigator."""
    return {
        "navigator": lambda channels: PairNetwork(channels, hidden, slope),
        "steps": 10,
        "lr": 3e-3,
        "pairs": (32, 32),
        "warm": True,
        "support_steps": 50,
    }
