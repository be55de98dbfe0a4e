"""Equation 1 as the FCA paper computes it: a loop over references, each compared with every patch. It is here to be timed.

Ardelean and Weyrich (WACV 2024), Sec. 3.1 to 3.3. `otad.methods.matching.ranks` gives the same maps without the loop.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.methods.matching.fca import patch_weights
from otad.methods.matching.ranks import gaussian

Sender = Callable[[Tensor, Tensor, torch.Size, Tensor], Tensor]


def ranked_patches(features: Tensor, patch_size: int) -> tuple[Tensor, Tensor]:
    """Return values of the patches of the reflected map (C,h,w), sorted, and where they came from: (C,N,T²) twice."""
    T, C = patch_size, len(features)
    padded = F.pad(features[None], (T // 2,) * 4, mode="reflect")
    patches = F.unfold(padded, T).view(C, T * T, -1).transpose(1, 2)
    return patches.sort(dim=-1, stable=True)


def to_centre(errors: Tensor, order: Tensor, shape: torch.Size, weights: Tensor) -> Tensor:
    """Return SWW, Eq. 4: Σ_p M(p) g(p − centre), summed over channels; (h,w)."""
    return (errors * weights[order]).sum(dim=(0, 2)).view(shape)


def to_members(errors: Tensor, order: Tensor, shape: torch.Size, weights: Tensor) -> Tensor:
    """Return FCA, Eq. 5 or 6, as the weights are: each error back to its pixel, weighted, summed over channels; (h,w)."""
    (h, w), size = shape, round(len(weights) ** 0.5)
    by_pixel = torch.empty_like(errors).scatter_(-1, order, errors).sum(dim=0)
    padded = F.fold((by_pixel @ weights.T).T[None], (h + size - 1, w + size - 1), size)
    return padded[0, 0, size // 2 : size // 2 + h, size // 2 : size // 2 + w]


def senders(
    patch_size: int,
    sigma_w: float,
    sigma_p: float,
    sigma_s: float | None,
    device: torch.device | None = None,
) -> dict[str, tuple[Sender, Tensor]]:
    """Return SWW and FCA: what each does with the errors of a patch, and its weights."""
    near = gaussian(patch_size, sigma_w).flatten().float().to(device)
    members = patch_weights(patch_size, sigma_p, sigma_s).float().to(device)
    return {"SWW": (to_centre, near), "FCA": (to_members, members)}


def looped(features: Tensor, references: Tensor, patch_size: int, send: Sender, weights: Tensor) -> Tensor:
    """Return Eq. 1 as it stands: sort once, then a whole map for each reference (R,C,T²), added up; (C,h,w) → (h,w)."""
    ranked, order = ranked_patches(features, patch_size)
    total = torch.zeros_like(features[0])
    for reference in references[:, :, None]:
        total += send((ranked - reference).abs(), order, features.shape[1:], weights)
    return total
