"""One epoch of gradient steps, as every method takes them that learns by gradients on normal pictures alone."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def descend(
    optimiser: torch.optim.Optimizer, losses: Iterable[Tensor], epoch: int, clip: float | None = None
) -> float:
    """Step down each loss (0-d) when it comes, before the next is computed; return their mean.

    epoch counts from 1, for the message. clip : the largest norm that all gradients together may have; longer ones are
    shortened; None = as they are. Raises ValueError where a loss is not finite.
    """
    found = []
    for loss in losses:
        value = float(loss.detach())
        if not torch.isfinite(loss):
            lr = optimiser.param_groups[0]["lr"]
            raise ValueError(f"the loss is {value} in epoch {epoch}: lower lr, which is {lr:g} now.")
        optimiser.zero_grad()
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], clip)
        optimiser.step()
        found.append(value)
    return sum(found) / len(found)
