"""What a teacher makes of pictures: its maps, as they are, or with the values of another picture's, as GNL wants them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from otad.checks import checked, shown
from otad.features.pretrained import Backbone


@torch.no_grad()
def teach(
    backbone: Backbone, images: Tensor, references: Sequence[Tensor] = (), alpha: float = 0.5
) -> list[Tensor]:
    """Return the teacher's maps of images (N,3,H,W), as `backbone(images)` does, 16 images at a time.

    With references, one map (1,C,h,w) a stride, all but the deepest are matched to them (`efdm`) before they are
    kept and sent on. Raises ValueError as `efdm` does.
    """
    parts = [_through(backbone, x, references, alpha) for x in images.split(16)]
    return [torch.cat(maps) for maps in zip(*parts, strict=True)]


def _through(backbone: Backbone, x: Tensor, references: Sequence[Tensor], alpha: float) -> list[Tensor]:
    maps: list[Tensor] = []
    x = (x - backbone.mean) / backbone.std
    for stride, layers in backbone.stages.items():
        x = layers(x)
        if int(stride) in backbone.strides:
            if references and int(stride) < backbone.strides[-1]:
                x = efdm(x, references[len(maps)], alpha)
            maps.append(x)
    return maps


@checked
def efdm(features: Tensor, reference: Tensor, alpha: float = 0.5) -> Tensor:
    """Give features (N,C,h,w) the values of a reference (1,C,h,w), rank by rank in each channel.

    Zhang et al., Sec. 3: the place with the r-th smallest value gets (1 − α) of its own and α of the reference's r-th
    smallest value. Order is kept. Raises ValueError for shapes that do not fit and alpha outside [0,1].
    """
    alike = (
        features.dtype == reference.dtype
        and features.device == reference.device
        and features.is_floating_point()
    )
    fits = features.ndim == 4 and features.shape[1:] == reference.shape[1:] and len(reference) == 1
    if not (fits and alike and 0 <= alpha <= 1):
        raise ValueError(
            f"features are {shown(features)}, the reference {shown(reference)}, alpha is {alpha}: expected (N,C,h,w), "
            "(1,C,h,w), floats of one type, and a share in [0,1]; pictures must have the training pictures' size."
        )
    ranks = features.flatten(2).argsort(dim=2, stable=True).argsort(dim=2)
    values = reference.flatten(2).sort(2).values.expand(len(features), -1, -1).gather(2, ranks)
    return torch.lerp(features, values.view_as(features), alpha)
