"""The three sizes of every page: smoke, laptop and paper."""

from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    import torch

SCALES = ("smoke", "laptop", "paper")
FINISHED = "OTAD_CELLS"  # environment variable: the folder of a study's finished cells, which pages read at paper scale

T = TypeVar("T")
_UNSET = object()


def check(scale: str) -> str:
    """Return `scale` if it is one of the three, else raise ValueError."""
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}; it must be one of {', '.join(map(repr, SCALES))}")
    return scale


def pick(scale: str, *, smoke: T, laptop: T, paper: T | object = _UNSET) -> T:
    """Return the value that belongs to `scale`; without one of its own, paper takes the laptop's."""
    values = {"smoke": smoke, "laptop": laptop, "paper": laptop if paper is _UNSET else paper}
    return cast(T, values[check(scale)])


def device() -> "torch.device":
    """Return the GPU if there is one, else the CPU."""
    import torch  # here, because the build asks for scales without ever needing torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
