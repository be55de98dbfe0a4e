"""ViTAD: reverse distillation with plain transformers; the student gives back what the teacher saw, deepest first.

Zhang et al., Exploring Plain ViT Reconstruction for Multi-class Unsupervised Anomaly Detection (arXiv 2312.07495, 2023). A frozen vision
transformer reads a picture; its last tokens pass a linear layer and a decoder of as wide blocks, whose outputs, in reverse, should be the
teacher's earlier ones: Σ over stages of 1 − cos, at each place, is a picture's map. The loss is less clear: the public code has the
cosine of *flattened* maps, the abstract of the second version says a mean squared error. There are all three; the default is what is
scored. In the public code the decoder learns one vector a place; here places are told apart by sines and cosines, so that pictures of any
size pass. Teachers with weights come with the library timm (`otad.features.transformer`); no package on a registry holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import check_numbers, check_room, checked
from otad.features import check_images, feature_maps
from otad.methods import Scores
from otad.methods.distillation.reverse_distillation import gap
from otad.methods.flows.cflow import positional_encoding
from otad.methods.maps import smooth
from otad.methods.training import descend


@checked
@dataclass
class ViTAD:
    """The method of the paper; it trains one model for all classes: pass the pictures of all of them.

    backbone : the teacher, images (N,3,H,W) → maps (N,C,h,w) of tokens, the last of which the student starts from. It is never changed.
               The paper: DINO's ViT-S/16, blocks 3, 6, 9 and 12.
    loss     : "cosine" at each place, "flattened" as in the public code, or "squared".
    width, heads, depth, stages : of the decoder: channels C (a multiple of 4), attention heads, blocks, and how many maps it gives back.
    epochs, lr, weight_decay, batch_size : of AdamW, whose rate falls to a tenth after 80 % of the epochs. sigma : of the map's smoothing, in image pixels; None = none.

    student_ : what was trained; losses_ : the mean of every epoch, the last one counts.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    loss: Literal["cosine", "flattened", "squared"] = "cosine"
    width: int = 384
    heads: int = 6
    depth: int = 9
    stages: int = 3
    epochs: int = 100
    lr: float = 1e-4
    weight_decay: float = 1e-4
    batch_size: int = 8
    sigma: float | None = 4.0
    seed: int = 0
    student_: Decoder | None = field(default=None, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1]; the teacher's maps are computed once and kept, 4 N Σ C h w bytes.

        Raises ValueError for bad or no images, settings out of range and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "heads", "depth", "stages", "epochs", "batch_size")
        check_numbers(self, "(0,inf)", "lr")
        if self.width < 4 or self.width % 4 or self.width % self.heads or self.depth % self.stages:
            raise ValueError(
                f"width is {self.width}, heads {self.heads}, depth {self.depth}, stages {self.stages}: expected a width that is a multiple "
                "of 4 and of heads, and a depth that is one of stages."
            )
        if self.loss not in ("cosine", "flattened", "squared"):
            raise ValueError(f"loss is {self.loss!r}: expected cosine, flattened or squared.")
        check_images(images)
        check_room(f"width = {self.width}", 12 * self.depth, self.width, self.width)
        parts = [self._seen(few) for few in images.split(1)]
        maps = [torch.cat(stage) for stage in zip(*parts, strict=True)]
        student = self.build_student().to(images).train()
        optimiser = torch.optim.AdamW(student.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        plan = torch.optim.lr_scheduler.StepLR(optimiser, max(1, int(0.8 * self.epochs)))
        generator, self.losses_ = torch.Generator().manual_seed(self.seed), []
        for epoch in range(1, self.epochs + 1):
            batches = torch.randperm(len(images), generator=generator).split(self.batch_size)
            losses = (distance([m[b] for m in maps[:-1]], student(maps[-1][b]), self.loss) for b in batches)
            self.losses_.append(descend(optimiser, losses, epoch))
            plan.step()
        self.student_ = student.eval().requires_grad_(False)
        return self

    def build_student(self) -> Decoder:
        """Build the decoder, untrained."""
        return Decoder(self.width, self.heads, self.depth, self.stages, self.seed)

    @torch.no_grad()
    def _seen(self, images: Tensor) -> list[Tensor]:
        """Return the teacher's maps, as many and as wide as was said."""
        maps = feature_maps(self.backbone, images)
        if len(maps) != self.stages + 1 or {m.shape[1:] for m in maps} != {(self.width, *maps[0].shape[2:])}:
            raise ValueError(
                f"the teacher's maps have shapes {[tuple(m.shape) for m in maps]}: expected {self.stages + 1} of one size with width = {self.width} channels."
            )
        return maps

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1]: maps are 1 − cosine of teacher and student, summed over stages, in [0, 2 · stages].

        Raises ValueError before `fit` and for bad images.
        """
        if self.student_ is None:
            raise ValueError("ViTAD has no student yet: call fit with normal images first.")
        check_images(images)
        maps = torch.cat([self._one(image) for image in images.split(1)])
        return Scores.of_maps(maps if self.sigma is None else smooth(maps, self.sigma))

    @torch.no_grad()
    def _one(self, image: Tensor) -> Tensor:
        assert self.student_ is not None
        *maps, last = self._seen(image)
        pairs = zip(maps, self.student_(last), strict=True)
        far = torch.stack([1 - F.cosine_similarity(a, b) for a, b in pairs]).sum(dim=0)
        return F.interpolate(far[:, None], image.shape[-2:], mode="bilinear")[:, 0]


def distance(first: Sequence[Tensor], second: Sequence[Tensor], loss: str = "cosine") -> Tensor:
    """Return how far maps (N,C,h,w) are apart in pairs, summed over pairs, 0-d; loss as of `ViTAD`."""
    if loss == "cosine":
        return gap(first, second)
    if loss == "flattened":
        return gap([m.flatten(1) for m in first], [m.flatten(1) for m in second])
    return torch.stack([F.mse_loss(b, a) for a, b in zip(first, second, strict=True)]).sum()


class Decoder(nn.Module):
    """Tokens as a map (N,C,h,w) → maps of the same shape after every depth / stages blocks, the last block's first."""

    def __init__(self, width: int, heads: int, depth: int, stages: int, seed: int) -> None:
        """Draw all weights from `seed`."""
        super().__init__()
        self.every = depth // stages
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.fuse = nn.Linear(width, width)
            self.blocks = nn.ModuleList(block(width, heads) for _ in range(depth))

    def forward(self, last: Tensor) -> list[Tensor]:
        """Return one map a stage: the first should be the teacher's earliest."""
        n, c, h, w = last.shape
        places = positional_encoding(c, h, w).to(last).flatten(1).T
        x = self.fuse(last.flatten(2).mT) + places
        found: list[Tensor] = []
        for number, layer in enumerate(self.blocks, 1):
            x = layer(x)
            if number % self.every == 0:
                found.insert(0, x.mT.reshape(n, c, h, w))
        return found


def block(width: int, heads: int) -> nn.TransformerEncoderLayer:
    """Return a block of a vision transformer: attention and two layers four times as wide, each normalised before and added after."""
    return nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
