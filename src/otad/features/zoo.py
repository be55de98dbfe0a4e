"""torchvision's networks that the benchmark's methods were printed with, cut as `otad.features.pretrained` cuts its own.

Weights are fetched when a network is built, named and checked by the hash that torchvision knows; None = random, for tests.
Arguments, errors and what comes back are those of `otad.features.pretrained.wide_resnet50_2`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from otad.features import check_images
from otad.features.pretrained import IMAGENET_MEAN, IMAGENET_STD, Backbone, _built

if TYPE_CHECKING:
    import torchvision.models as zoo

VGG19_LAYERS = (1, 3, 6, 8, 11, 13, 15, 17, 20, 22, 24, 26)  # relu1_1 … relu4_4
Device = torch.device | str | None


def alexnet(
    stages: Sequence[int] = (32,),
    device: Device = None,
    weights: zoo.AlexNet_Weights | str | None = "IMAGENET1K_V1",
) -> Backbone:
    """Build torchvision's AlexNet (DifferNet); strides 4, 8, 16, 32 have 64, 64, 256, 256 channels, 8 and 32 after a pool."""
    return _cut(
        "alexnet",
        "AlexNet_Weights",
        weights,
        stages,
        {4: (0, 2), 8: (2, 3), 16: (3, 12), 32: (12, 13)},
        device,
    )


def vgg16(
    stages: Sequence[int] = (4, 8, 16, 32),
    device: Device = None,
    weights: zoo.VGG16_Weights | str | None = "IMAGENET1K_V1",
) -> Backbone:
    """Build torchvision's VGG16 (KDAD); strides 2, 4, 8, 16, 32 are the pools, with 64, 128, 256, 512, 512 channels."""
    cuts = {2: (0, 5), 4: (5, 10), 8: (10, 17), 16: (17, 24), 32: (24, 31)}
    return _cut("vgg16", "VGG16_Weights", weights, stages, cuts, device)


def efficientnet_b4(
    stages: Sequence[int] = (2, 4, 8, 16),
    device: Device = None,
    weights: zoo.EfficientNet_B4_Weights | str | None = "IMAGENET1K_V1",
) -> Backbone:
    """Build torchvision's EfficientNet-B4 (UniAD); strides 2, 4, 8, 16, 32 have 24, 32, 56, 160, 272 channels."""
    return _cut("efficientnet_b4", "EfficientNet_B4_Weights", weights, stages, EFFICIENTNET, device)


def efficientnet_b5(
    stages: Sequence[int] = (32,),
    device: Device = None,
    weights: zoo.EfficientNet_B5_Weights | str | None = "IMAGENET1K_V1",
) -> Backbone:
    """Build torchvision's EfficientNet-B5 (CS-Flow); strides 2, 4, 8, 16, 32 have 24, 40, 64, 176, 304 channels."""
    return _cut("efficientnet_b5", "EfficientNet_B5_Weights", weights, stages, EFFICIENTNET, device)


EFFICIENTNET = {2: (0, 2), 4: (2, 3), 8: (3, 4), 16: (4, 6), 32: (6, 7)}  # the last layer of each size


class Layers(nn.Module):
    """A frozen network read after many of its layers: images (N,3,H,W) in [0,1] → a list of maps, in the layers' order.

    Several of them may have one size, which `Backbone` does not allow. name, weights : what to print beside a result.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, weights: str, layers: Sequence[nn.Module], after: Sequence[int]) -> None:
        """Keep the layers up to the last one that is read."""
        super().__init__()
        self.name, self.weights, self.after = name, weights, tuple(after)
        self.layers = nn.ModuleList(layers[: max(after) + 1])
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return one map a layer that is read."""
        check_images(images)
        x, maps = (images - self.mean) / self.std, []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i in self.after:
                maps.append(x)
        return maps


def vgg19_layers(
    after: Sequence[int] = VGG19_LAYERS,
    device: Device = None,
    weights: zoo.VGG19_Weights | str | None = "IMAGENET1K_V1",
) -> Layers:
    """Build torchvision's VGG19, read after the twelve ReLUs of its first four blocks (DFR), or after others by number.

    Raises ValueError for a number that no layer has.
    """
    net, label = _built("vgg19", "VGG19_Weights", weights)
    layers = list(net.features)
    if not after or not {*after} <= {*range(len(layers))}:
        raise ValueError(
            f"vgg19 was asked for layers {tuple(after)}: expected numbers from 0 to {len(layers) - 1}."
        )
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # maps handed out must not change afterwards
    return Layers("vgg19", label, layers, after).to(device)


def _cut(
    name: str,
    enum: str,
    weights: object,
    stages: Sequence[int],
    cuts: dict[int, tuple[int, int]],
    device: Device,
) -> Backbone:
    """Build a network and cut its features: stride → which layers lead there from the stride before."""
    net, label = _built(name, enum, weights)
    parts: dict[int, nn.Module] = {stride: net.features[a:b] for stride, (a, b) in cuts.items()}
    return Backbone(name, label, parts, stages, IMAGENET_MEAN, IMAGENET_STD).to(device)
