"""What transport takes: floating tensors without NaN, and finite cost matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from otad.checks import as_tensor

Array = Tensor | np.ndarray


def floats(x: Any, name: str) -> Tensor:
    """Check one array and return it as a floating tensor; integers become float64."""
    x = as_tensor(x, name)
    if not x.is_floating_point():
        x = x.to(torch.float64)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{name} has shape {tuple(x.shape)}: expected at least one value on its last axis.")
    if x.numel() and bool(x.detach().amin().isnan()):  # a NaN anywhere makes the minimum NaN, at once
        raise ValueError(f"{name} has {int(x.isnan().sum())} NaN of {x.numel()} values: remove them first.")
    return x


def same_dtype(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return both tensors in the wider of their types."""
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(dtype)


def matrix(x: Any, name: str) -> Tensor:
    """Check one matrix of finite numbers and return it as a floating tensor."""
    x = floats(x, name)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"{name} has shape {tuple(x.shape)}: expected a matrix (n, m) with n, m ≥ 1.")
    if any(bool(end.isinf()) for end in torch.aminmax(x.detach())):
        raise ValueError(
            f"{name} holds infinite entries: expected finite ones; forbid a pair by a large cost."
        )
    return x
