"""UniAD: a transformer rebuilds each place from places further away, for all classes at once; what it cannot rebuild is anomalous.

You et al., A Unified Model for Multi-class Anomaly Detection (NeurIPS 2022). Three things keep it from copying what it sees: no place attends to
its neighbours, each layer of the decoder asks a learnt question of its own, and while it learns the features are jittered,
x + s · |x|/C · noise. The score of a place is |x − x̂|. The public code keeps the epoch with the best pixel AUROC of the *test* pictures;
here the last one counts. All classes come in one `fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import check_numbers, checked
from otad.features import check_images, feature_maps
from otad.methods import Scores
from otad.methods.training import descend


@checked
@dataclass
class UniAD:
    """The method of the paper.

    backbone    : images (N,3,H,W) → list of feature maps, never changed. The paper: EfficientNet-B4, strides 2, 4, 8, 16, pictures of 224 pixels.
    size        : (h,w) to which all maps are resized. window : side of the neighbourhood that no place attends to, odd.
    hidden, heads, layers, feedforward, dropout : of the transformer; as many layers encode as decode. On a CPU a step
                  takes less than half the time without dropout.
    jitter      : s. standardise : bring each channel to mean 0 and variance 1 first; the paper does not. Needed where channels differ much in size.
    epochs, lr, weight_decay, batch_size, clip : of AdamW, whose rate falls to a tenth after four fifths, and the largest norm of a gradient.
    pool        : side of the square, in image pixels, whose mean the image score is the largest of.

    mean_, std_ : (C,) what standardises, 0 and 1 if nothing does; rebuilder_ : once fitted; losses_ : the mean of every epoch, the last one counts.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    size: Sequence[int] = (14, 14)
    window: int = 7
    hidden: int = 256
    heads: int = 8
    layers: int = 4
    feedforward: int = 1024
    dropout: float = 0.1
    jitter: float = 20.0
    standardise: bool = False
    epochs: int = 1000
    lr: float = 1e-4
    weight_decay: float = 1e-4
    batch_size: int = 8
    clip: float | None = 0.1
    pool: int = 16
    seed: int = 0
    mean_: Tensor | None = field(default=None, init=False, repr=False)
    std_: Tensor | None = field(default=None, init=False, repr=False)
    rebuilder_: Rebuilder | None = field(default=None, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1] of any number of classes; maps are kept, 4 N C h w bytes.

        Raises ValueError for bad or no images, settings out of range, a window as large as the map, and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "epochs", "batch_size", "pool")
        check_numbers(self, "(0,inf)", "lr")
        check_numbers(self, "[0,inf)", "jitter")
        check_numbers(self, "[0,1)", "dropout")
        if len(self.size) != 2 or min(self.size) < 2:
            raise ValueError(f"size is {tuple(self.size)}: expected (h,w), 2 or more each.")
        check_images(images)
        maps = torch.cat([self.features(image) for image in images.split(1)])
        mean, std = maps.mean(dim=(0, 2, 3)), maps.std(dim=(0, 2, 3)).clamp_min(1e-6)
        self.mean_, self.std_ = (mean, std) if self.standardise else (0 * mean, torch.ones_like(std))
        with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
            torch.manual_seed(self.seed)  # of the weights, and of what drops out
            rebuilder = self.build_rebuilder().to(images).train()
            self._train(rebuilder, self._standardised(maps))
        self.rebuilder_ = rebuilder.eval().requires_grad_(False)
        return self

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return all maps at one size, concatenated: (N,C,h,w)."""
        h, w = self.size
        maps = feature_maps(self.backbone, images)
        return torch.cat([F.interpolate(m, (h, w), mode="bilinear", align_corners=True) for m in maps], dim=1)

    def build_rebuilder(self) -> Rebuilder:
        """Build the transformer for as many channels as were seen, untrained."""
        assert self.mean_ is not None
        h, w = self.size
        return Rebuilder(
            *(len(self.mean_), (h, w), self.window, self.hidden, self.heads),
            *(self.layers, self.feedforward, self.dropout),
        )

    def _standardised(self, maps: Tensor) -> Tensor:
        assert self.mean_ is not None
        assert self.std_ is not None
        return (maps - self.mean_[:, None, None]) / self.std_[:, None, None]

    def _train(self, rebuilder: Rebuilder, maps: Tensor) -> None:
        optimiser = torch.optim.AdamW(rebuilder.parameters(), self.lr, weight_decay=self.weight_decay)
        plan = torch.optim.lr_scheduler.StepLR(optimiser, max(1, round(0.8 * self.epochs)), 0.1)
        generator, self.losses_ = torch.Generator().manual_seed(self.seed), []
        for epoch in range(1, self.epochs + 1):
            batches = torch.randperm(len(maps), generator=generator).split(self.batch_size)
            pairs = ((maps[b], jittered(maps[b], self.jitter, generator)) for b in batches)
            losses = ((rebuilder(seen) - true).square().mean() for true, seen in pairs)
            self.losses_.append(descend(optimiser, losses, epoch, self.clip))
            plan.step()

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each by itself: maps are distances in units of the features. Raises ValueError before `fit`."""
        if self.rebuilder_ is None:
            raise ValueError("UniAD has learnt no transformer yet: call fit with normal images first.")
        check_images(images)
        maps = torch.cat([self._one(image) for image in images.split(1)])
        sides = [min(self.pool, side) for side in maps.shape[1:]]
        return Scores(maps, torch.cat([F.avg_pool2d(m, sides, 1).amax(dim=(1, 2)) for m in maps.split(1)]))

    @torch.no_grad()
    def _one(self, image: Tensor) -> Tensor:
        assert self.rebuilder_ is not None
        maps = self._standardised(self.features(image))
        small = distance(maps, self.rebuilder_(maps))
        return F.interpolate(small[:, None], image.shape[-2:], mode="bilinear", align_corners=True)[:, 0]


def distance(maps: Tensor, rebuilt: Tensor) -> Tensor:
    """Return |x − x̂| over channels, place by place: (N,C,h,w) twice → (N,h,w)."""
    return torch.linalg.vector_norm(maps - rebuilt, dim=1)


def jittered(maps: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """Return maps (N,C,h,w) with normal noise of the width scale · |x|/C at each place."""
    width = scale * torch.linalg.vector_norm(maps, dim=1, keepdim=True) / maps.shape[1]
    return maps + width * torch.randn(maps.shape, generator=generator).to(maps)


@checked
def neighbours(size: tuple[int, int], window: int | tuple[int, int]) -> Tensor:
    """Tell which places of a map a place must not attend to: (h·w,h·w) bool, row-major, True in the window around it.

    Raises ValueError for an even window and for one that leaves a place nothing to attend to.
    """
    (h, w), (a, b) = size, (window, window) if isinstance(window, int) else window
    if min(a, b) < 1 or not (a % 2 and b % 2) or (a // 2 >= h // 2 and b // 2 >= w // 2):
        raise ValueError(
            f"the window is {a} × {b} on a map of {h} × {w}: expected odd sides, and places beyond it for the middle one; "
            "take a smaller window or a larger size."
        )
    y, x = torch.arange(h), torch.arange(w)
    near_y, near_x = (y[:, None] - y).abs() <= a // 2, (x[:, None] - x).abs() <= b // 2
    return (near_y[:, None, :, None] & near_x[None, :, None, :]).reshape(h * w, h * w)


class Rebuilder(nn.Module):
    """Maps (N,C,h,w) → maps of the same shape, each place from those that are no neighbours of it."""

    blocked: Tensor

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        window: int = 7,
        hidden: int = 256,
        heads: int = 8,
        layers: int = 4,
        feedforward: int = 1024,
        dropout: float = 0.1,
    ) -> None:
        """Raises ValueError unless hidden is a multiple of heads and of 2, and for windows that `neighbours` refuses."""
        super().__init__()
        if min(hidden, heads, layers, feedforward) < 1 or hidden % heads or hidden % 2:
            raise ValueError(
                f"hidden is {hidden}, heads {heads}, layers {layers}, feedforward {feedforward}: expected 1 or more, and hidden a "
                "multiple of heads and of 2."
            )
        self.enter, self.leave = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.rows, self.columns = (nn.Parameter(torch.rand(side, hidden // 2)) for side in size)
        self.questions = nn.ParameterList(torch.randn(size[0] * size[1], hidden) for _ in range(layers))
        # An encoder's layer attends once; a decoder's asks what was encoded, then what the layer before it has said.
        self.encode, self.ask, self.follow = (
            nn.ModuleList(Attention(hidden, heads, dropout) for _ in range(layers)) for _ in range(3)
        )
        self.think, self.answer = (
            nn.ModuleList(FeedForward(hidden, feedforward, dropout) for _ in range(layers)) for _ in range(2)
        )
        self.norm = nn.LayerNorm(hidden)
        self.register_buffer("blocked", neighbours(size, window))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps, rebuilt."""
        h, w = maps.shape[-2:]
        place = torch.cat([self.columns.expand(h, -1, -1), self.rows[:, None].expand(-1, w, -1)], 2).flatten(
            0, 1
        )
        x = self.enter(maps.flatten(2).mT)
        for attend, think in zip(self.encode, self.think, strict=True):
            x = think(attend(x, x, place, self.blocked))
        memory = x
        for question, ask, follow, answer in zip(
            self.questions, self.ask, self.follow, self.answer, strict=True
        ):
            asked = ask(question.expand_as(memory), memory, place, self.blocked)
            x = answer(follow(asked, x, place, self.blocked))
        return self.leave(self.norm(x)).mT.unflatten(2, (h, w))


class Attention(nn.Module):
    """Attention of x to y, where places are told in what is compared and not in what is passed on; added to x and normalised."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        """Take the width, a multiple of heads."""
        super().__init__()
        self.attend = nn.MultiheadAttention(hidden, heads, dropout, batch_first=True)
        self.drop, self.norm = nn.Dropout(dropout), nn.LayerNorm(hidden)

    def forward(self, x: Tensor, y: Tensor, place: Tensor, blocked: Tensor) -> Tensor:
        """Take x and y (N,places,hidden); return what x has become."""
        found, _ = self.attend(x + place, y + place, y, attn_mask=blocked, need_weights=False)
        return self.norm(x + self.drop(found))


class FeedForward(nn.Module):
    """Two linear layers, added to what came and normalised."""

    def __init__(self, hidden: int, inside: int, dropout: float) -> None:
        """Take the widths outside and inside."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(hidden, inside),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(inside, hidden),
            nn.Dropout(dropout),
        )
        self.norm = nn.LayerNorm(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (N,places,hidden)."""
        return self.norm(x + self.layers(x))
