"""What goes in is refused here, in words, before torch or NumPy refuse it in theirs. Knows nobody; everyone may use it."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from math import prod
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


# Arguments ------------------------------------------------------------------------------------------------


def checked(target: F) -> F:
    """Check the arguments of a function, or of all public methods of a class, against their annotations.

    Another type raises ValueError, and so does a `seed` below 0, as no generator takes one. What is annotated as
    np.ndarray is left to `as_array` and `as_tensor`, which convert it.
    """
    if isinstance(target, type):
        for name, member in list(vars(target).items()):
            if inspect.isfunction(member) and (name == "__init__" or not name.startswith("_")):
                setattr(target, name, checked(member))
        return target
    signature = inspect.signature(target)
    hints = functools.cache(lambda: get_type_hints(target))  # later, when all names are there

    @functools.wraps(target)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:  # an argument too many or too few: Python says so itself
            return target(*args, **kwargs)
        for name, value in bound.arguments.items():
            hint = hints().get(name, Any)
            if _scalar(value) and (isinstance(value, np.generic) or not _fits(value, hint)):
                bound.arguments[name] = value = value.item()  # torch takes no np.int64 where it wants a size
            if not _fits(value, hint):
                raise ValueError(f"{name} is {shown(value)}: expected {_said(hint)}{_advice(value)}.")
            if name == "seed" and min(value if isinstance(value, Sequence) else [value], default=0) < 0:
                raise ValueError(f"seed is {value}: expected 0 or more.")
        return target(*bound.args, **bound.kwargs)

    return call  # type: ignore[return-value]


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a value is what an annotation asks for; what nobody can tell by looking fits."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if kind is Literal:
        return type(value) in {type(one) for one in inner}  # which of them is for the function to say
    if kind is tuple:
        inner = inner[:1] * len(value) if inner[1:] == (...,) and isinstance(value, Sequence) else inner
        return isinstance(value, tuple | list) and len(value) == len(inner) and all(map(_fits, value, inner))
    if isinstance(kind, type) and issubclass(kind, Sequence):
        plain = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        return plain and all(_fits(one, inner[0]) for one in value)
    if hint is int:
        return isinstance(value, Integral) and not isinstance(value, bool) and abs(int(value)) < 2**63
    if hint is float:
        return _fits(value, int) or (isinstance(value, Real) and not isinstance(value, Integral))
    if hint is Tensor:
        return isinstance(value, Tensor) and _dense(value)
    if hint in (Any, np.ndarray):
        return True
    if getattr(hint, "_is_protocol", False):
        asked = (*hint.__annotations__, *(name for name in vars(hint) if not name.startswith("_")))
        return all(hasattr(value, name) for name in asked)
    plain_type = kind or hint
    return isinstance(value, plain_type) if isinstance(plain_type, type) else True


def _scalar(value: Any) -> bool:
    """Tell whether a number comes in the wrapping of NumPy or torch."""
    wrapped = isinstance(value, np.generic | np.ndarray) or (isinstance(value, Tensor) and _dense(value))
    return wrapped and value.ndim == 0


def _dense(x: Tensor) -> bool:
    """Tell whether a tensor is an array of real numbers: not complex, sparse, quantised, or without values."""
    return not (x.is_complex() or x.is_quantized or x.is_meta) and x.layout is torch.strided


def shown(value: Any) -> str:
    """Show a value in a few words, by its shape if it is large."""
    if isinstance(value, Tensor):
        return f"a tensor of {str(value.dtype).removeprefix('torch.')} and shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"an ndarray of {value.dtype} and shape {value.shape}"
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '…'} ({type(value).__name__})"


def _said(hint: Any) -> str:
    """Write an annotation without the modules that its names come from."""
    return re.sub(
        r"(\w+\.)+", "", hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    )


def _advice(value: Any) -> str:
    return "; torch.from_numpy makes a tensor of an array" if isinstance(value, np.ndarray) else ""


# Arrays ---------------------------------------------------------------------------------------------------


def as_array(x: Any, name: str) -> np.ndarray:
    """Return real numbers, an array, a tensor on any device or a nested list, as a NumPy array.

    Raises ValueError for anything else: ragged lists, words, objects, complex numbers.
    """
    if isinstance(x, Tensor):
        x = as_tensor(x, name).detach().cpu()
        return (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x).numpy()
    try:
        found = np.asarray(x)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{name} is {shown(x)}: expected numbers in one shape, not ragged.") from error
    if found.dtype.kind not in "biuf" or found.dtype.itemsize > 8:
        raise ValueError(
            f"{name} is {shown(x)}: expected real numbers of 64 bits or fewer, an array or a tensor."
        )
    return found if found.dtype.isnative else found.astype(found.dtype.newbyteorder("="))


def as_tensor(x: Any, name: str) -> Tensor:
    """Return real numbers, a tensor as it is or what `as_array` takes, as a tensor. Raises ValueError as it does."""
    if not isinstance(x, Tensor):
        # A copy, as torch takes neither read-only arrays nor negative strides.
        return torch.from_numpy(np.array(as_array(x, name)))
    if not _dense(x):
        raise ValueError(f"{name} is {shown(x)}, {x.layout}: expected real numbers in a dense tensor.")
    return x


ROOM = 2**31  # values: 8 GB of float32


def check_room(what: str, *sides: int) -> None:
    """Refuse to make an array that no memory holds, before the attempt."""
    if prod(sides) > ROOM:
        raise ValueError(
            f"{what} asks for {' × '.join(map(str, sides))} values: expected at most {ROOM}; ask for less."
        )


def check_numbers(of: Any, interval: str, *names: str) -> None:
    """Refuse attributes outside an interval, as "[1,inf)" or "(0,1]"; the message names the first. None passes, NaN does not."""
    low, high = map(float, interval[1:-1].split(","))
    for name in names:
        value = getattr(of, name)
        if value is None:
            continue
        above = value >= low if interval[0] == "[" else value > low
        below = value <= high if interval[-1] == "]" else value < high
        if not (above and below):
            raise ValueError(f"{name} is {value}: expected a number in {interval}.")


# Images ---------------------------------------------------------------------------------------------------


@checked
def check_images(images: Tensor, name: str = "images", smallest: int = 1) -> None:
    """Refuse anything that is no batch of images: float (N,3,H,W), RGB in [0,1], sides of `smallest` or more."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"{name}: expected an RGB tensor (N,3,H,W), got shape {tuple(images.shape)}; add the batch axis with "
            "images[None], repeat a grey channel with images.expand(-1, 3, -1, -1)."
        )
    if not images.is_floating_point():
        raise ValueError(f"{name}: expected floats in [0,1], got {images.dtype}; use images.float() / 255.")
    if images.numel() == 0:
        raise ValueError(
            f"{name}: the batch of shape {tuple(images.shape)} is empty: expected at least one image."
        )
    if min(images.shape[-2:]) < smallest:
        raise ValueError(
            f"{name}: expected sides of at least {smallest} pixels, got shape {tuple(images.shape)}; resize them."
        )
    hold = "images hold" if name == "images" else f"{name}:"
    low, high = (float(end) for end in torch.aminmax(images.detach()))
    if not (-torch.inf < low and high < torch.inf):  # NaN fails as well
        bad = [n for n, image in enumerate(images) if not torch.isfinite(image).all()]
        raise ValueError(f"{hold} NaN or infinite values in images {bad[:5]}; repair them or leave them out.")
    if low < 0.0 or high > 1.0:
        raise ValueError(
            f"{hold} values from {low:.3g} to {high:.3g}: expected values in [0,1]; divide 8-bit images by 255, clip "
            "what noise pushed out, and pass them before any mean/std normalisation, which the backbones do themselves."
        )
