"""The other two residual networks of the papers, cut as `pretrained.resnet50` is.

weights=None draws them from seed 0: where a paper trains a network from nothing, it begins so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from otad.features.pretrained import Backbone, _resnet

if TYPE_CHECKING:
    import torchvision.models as zoo


def resnet18(
    stages: Sequence[int] = (4, 8, 16),
    device: torch.device | str | None = None,
    weights: zoo.ResNet18_Weights | str | None = "IMAGENET1K_V1",
) -> Backbone:
    """Build torchvision's ResNet18: strides 2, 4, 8, 16, 32 have 64, 64, 128, 256, 512 channels; the rest as `wide_resnet50_2`."""
    return _resnet("resnet18", "ResNet18_Weights", weights, stages).to(device)


def resnet152(
    stages: Sequence[int] = (32,),
    device: torch.device | str | None = None,
    weights: zoo.ResNet152_Weights | str | None = "IMAGENET1K_V1",
) -> Backbone:
    """Build torchvision's ResNet152; strides, channels, arguments and errors as `wide_resnet50_2`."""
    return _resnet("resnet152", "ResNet152_Weights", weights, stages).to(device)
