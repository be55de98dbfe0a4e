"""GNL: a student that is taught to overlook the light, and a picture that is told how it ought to look.

*Anomaly Detection under Distribution Shift*, Cao, Zhu and Pang (ICCV 2023), on top of reverse distillation: Deng
and Li, Anomaly Detection via Reverse Distillation from One-Class Embedding (CVPR 2022). A frozen teacher sees the
picture; a bottleneck squeezes its maps and a decoder, the student, tries to give them back, deepest first. Trained
on normal pictures, it fails on what is not normal. GNL adds two things. While training, the bottleneck and the last
map of a picture and of an altered view of it are pulled together (*consistency*). At test time the early
maps of the teacher take over the histogram of a normal training picture: exact feature distribution matching, EFDM
(Zhang et al., CVPR 2022).

The idea at laptop scale: `Student` is small, altered views are drawn once so that the teacher sees each picture only
a few times, and cosines are taken place by place, as the paper of reverse distillation writes them (its code
flattens a whole map into one vector). What is altered is the authors' list for MVTec AD, an AugMix (Hendrycks et
al., ICLR 2020) of `OPERATIONS`; "contrast" and "brightness", which they allow for another data set, can be added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from otad.checks import check_room, checked
from otad.features import check_images
from otad.features.pretrained import Backbone
from otad.methods import Scores
from otad.methods.distillation.reverse_distillation import Student, gap
from otad.methods.distillation.teacher import teach
from otad.methods.maps import smooth

OPERATIONS = ("autocontrast", "equalize", "posterize", "solarize", "color", "sharpness")
SEVERITY = 3.0  # of 10, in AugMix's unit


@checked
@dataclass
class GNL:
    """The method of the paper; consistency=False, match=False is plain reverse distillation.

    backbone    : the teacher, `otad.features.pretrained.Backbone`, of two or more stages. It is never changed.
    consistency : pull the features of altered views to those of the plain picture while training.
    match       : EFDM of all maps but the deepest at test time, each passed on to the next stage.
    alpha       : of EFDM, 0 = the test picture's own values, 1 = those of the training picture.
    weight      : of each of the two consistency losses; the rest, 1 − 2 · weight, is the distillation's.
    operations  : names of what alters a view, of `ALTER`. views : how many of each picture, drawn once.
    width       : channels of the student where its map is finest.
    sigma       : of the Gaussian that smooths the map, in image pixels; None = no smoothing.
    seed        : of the student's weights, views, batches and of the training picture that EFDM takes.

    student_, and references_ (one map (1,C,h,w) a stage) once fitted; losses_: (distillation, consistency), one a step.
    """

    backbone: Backbone
    consistency: bool = True
    match: bool = True
    alpha: float = 0.5
    weight: float = 0.05
    operations: Sequence[str] = OPERATIONS
    views: int = 3
    width: int = 24
    epochs: int = 10
    lr: float = 0.005
    batch_size: int = 16
    sigma: float | None = 4.0
    seed: int = 0
    student_: Student | None = field(default=None, init=False, repr=False)
    references_: list[Tensor] = field(default_factory=list, init=False, repr=False)
    losses_: list[tuple[float, float]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse words and numbers that mean nothing."""
        _check_operations(self.operations)
        for name in ("views", "width", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 1 or more.")
        if not (0 <= self.alpha <= 1 and 0 <= self.weight < 0.5 and 0 < self.lr < 3e38):
            raise ValueError(
                f"alpha is {self.alpha}, weight {self.weight}, lr {self.lr}: expected alpha in [0,1], weight in "
                "[0,0.5) and lr > 0."
            )
        if len(self.backbone.strides) < 2:
            raise ValueError(
                f"{self.backbone.name} gives one map: reverse distillation needs two or more; ask for stages=(4, 8, 16)."
            )

    def fit(self, images: Tensor) -> Self:
        """Train bottleneck and student on clean normal images (N,3,H,W) in [0,1].

        Keeps the teacher's maps of all pictures and views, 4 (1 + views) N Σ C h w bytes. Raises ValueError for
        bad images and FloatingPointError when the loss stops being finite.
        """
        check_images(images)
        check_room(f"views = {self.views} of all images", self.views, *images.shape)
        check_room(
            f"a student of width = {self.width}", 9, (self.width * 2 ** len(self.backbone.strides)) ** 2
        )
        rng = np.random.default_rng(self.seed)
        self.references_ = teach(self.backbone, images[int(rng.integers(len(images)))][None])
        views = [augmix(images, self.operations, rng) for _ in range(self.views if self.consistency else 0)]
        plain, altered = teach(self.backbone, images), [teach(self.backbone, v) for v in views]
        with torch.random.fork_rng(devices=[]):  # layers draw their weights from the global generator
            torch.manual_seed(self.seed)
            student = self.build_student().to(images)
        optimiser = torch.optim.Adam(student.parameters(), self.lr, betas=(0.5, 0.999))
        self.losses_ = []
        for _ in range(self.epochs):
            which = rng.integers(max(len(altered), 1), size=len(images))
            for batch in np.array_split(rng.permutation(len(images)), -(-len(images) // self.batch_size)):
                maps = [m[batch] for m in plain]
                pick = [[altered[which[i]][k][i] for i in batch] for k in range(len(maps)) if altered]
                distilled, pulled = self._losses(student, maps, [torch.stack(m) for m in pick])
                loss = (1 - 2 * self.weight) * distilled + self.weight * pulled
                if not bool(loss.isfinite()):
                    raise FloatingPointError(f"the loss is not finite: lower lr (now {self.lr}).")
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                self.losses_.append((float(distilled.detach()), float(pulled.detach())))
        self.student_ = student.eval().requires_grad_(False)
        return self

    def build_student(self) -> Student:
        """Build the student of this backbone, untrained."""
        return Student(self.backbone.channels, self.backbone.strides, self.width)

    def _losses(self, student: Student, maps: list[Tensor], views: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Distillation of plain maps, and the consistency of their views, which may be missing."""
        if not views:
            _, decoded = student(maps)
            return gap(maps, decoded), torch.zeros(()).to(maps[0])
        # One pass for both: batch norm must not give each its own statistics, which would hide the difference.
        code, decoded = student([torch.cat(both) for both in zip(maps, views, strict=True)])
        n = len(maps[0])
        inner, finest = code.split(n), decoded[0].split(n)
        return gap(maps, [d[:n] for d in decoded]), gap([inner[0], finest[0]], [inner[1], finest[1]])

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W): maps are 1 − cosine of teacher and student, summed over the stages, in [0, 2 · stages].

        Raises ValueError before `fit`, for bad images, and with `match` for another size than the training
        pictures', whose values are handed out one by one.
        """
        if self.student_ is None:
            raise ValueError("GNL has no student yet: call fit with clean normal images first.")
        check_images(images)
        maps = torch.cat([self._map(few, self.student_) for few in images.split(16)])
        return Scores.of_maps(maps if self.sigma is None else smooth(maps, self.sigma))

    @torch.no_grad()
    def _map(self, images: Tensor, student: Student) -> Tensor:
        maps = teach(self.backbone, images, self.references_ if self.match else (), self.alpha)
        _, decoded = student(maps)
        far = [1 - F.cosine_similarity(m, d)[:, None] for m, d in zip(maps, decoded, strict=True)]
        return torch.stack([F.interpolate(f, images.shape[-2:], mode="bilinear")[:, 0] for f in far]).sum(0)


# Altered views ---------------------------------------------------------------------------------------------


@checked
def augmix(images: Tensor, operations: Sequence[str], rng: np.random.Generator, width: int = 3) -> Tensor:
    """Mix each image (N,3,H,W) with `width` chains of one to three random operations; [0,1], the input is kept.

    Weights of the chains are Dirichlet(1), the share of the picture itself is Beta(1,1). No operations: no change.
    """
    check_images(images)
    _check_operations(operations)
    if not 1 <= width <= 100:
        raise ValueError(f"width is {width}: expected 1 to 100 chains.")
    if not operations:
        return images.clone()
    mixed = []
    for image in images:
        mix = torch.zeros_like(image)
        for share in rng.dirichlet([1.0] * width):
            x = image
            for name in rng.choice(list(operations), rng.integers(1, 4)):
                x = ALTER[str(name)](x, float(rng.uniform(0.1, SEVERITY))).clamp(0, 1)
            mix += float(share) * x
        mixed.append(torch.lerp(image, mix, float(rng.beta(1, 1))))
    return torch.stack(mixed).clamp(0, 1)


def _check_operations(operations: Sequence[str]) -> None:
    for name in operations:
        if name not in ALTER:
            raise ValueError(f"unknown operation {name!r}: choose from {', '.join(ALTER)}.")


def _autocontrast(x: Tensor, _: float) -> Tensor:
    low, high = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp(min=1e-6), x)


def _equalize(x: Tensor, _: float) -> Tensor:
    values = x.flatten(1).contiguous()
    ordered = values.sort(1).values
    return (torch.searchsorted(ordered, values, right=True) / values.shape[1]).view_as(x).to(x)


def _posterize(x: Tensor, level: float) -> Tensor:
    steps = 2 ** (4 - int(0.4 * level))
    return (x * 255 / 256 * steps).floor() / steps


def _solarize(x: Tensor, level: float) -> Tensor:
    return torch.where(x < 1 - level / 10, x, 1 - x)


def _towards(flat: Callable[[Tensor], Tensor]) -> Callable[[Tensor, float], Tensor]:
    """Keep 0.1 + 0.18 · level of a picture's difference from a flatter one, as image enhancement does."""
    return lambda x, level: torch.lerp(flat(x), x, 0.1 + 0.18 * level)


ALTER: dict[str, Callable[[Tensor, float], Tensor]] = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "posterize": _posterize,
    "solarize": _solarize,
    "color": _towards(lambda x: x.mean(0, keepdim=True).expand_as(x)),
    "sharpness": _towards(lambda x: F.avg_pool2d(x[None], 3, 1, 1, count_include_pad=False)[0]),
    "contrast": _towards(lambda x: x.mean().expand_as(x)),
    "brightness": _towards(torch.zeros_like),
}
