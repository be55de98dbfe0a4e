"""TTAD: a memory of clean patches, and a network that is moved until shifted pictures fit it again.

*Test-Time Training for Out-of-Distribution Industrial Anomaly Detection via Robust Distribution Alignment*,
Sec. 3. A PatchCore memory is built from clean normal pictures (Eq. 1) and scores by the largest distance of a
patch to it (Eq. 2). When the pictures to be judged are shifted, the batch-norm parameters of the network follow
them by gradient descent: pull each patch of the target towards the memory entries that an entropic transport
plan (Eqs. 4, 5), made hard (Eq. 6), assigns to it. The rivals of Table 4 differ in one argument.

The version that was read lacks the body of Algorithm 1, and the paper leaves open: ε, the number of Sinkhorn
iterations, N_M, the layers, whether batch norm normalises by stored or by batch statistics, and how the sum of
Eq. 6 is scaled. What was chosen stands with each argument.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from otad.checks import checked
from otad.features import check_images
from otad.features.pretrained import Backbone
from otad.methods import Scores
from otad.methods.memory.patchcore import PatchCore, greedy_coreset, patch_features
from otad.methods.nearest import squared_distances
from otad.transport import hard_plan, sinkhorn

PLANS = ("hungarian", "continuous", "discrete")
ALIGNMENTS = ("none", "moments", "kl", *PLANS)
AUGMENTATIONS = ("none", "copy", "flips")
UPDATES = ("none", "bn_affine", "bn_statistics", "all")
RIDGE = 1e-3  # added to both covariances of the KL divergence, in units of the source's mean variance


@checked
@dataclass
class TTAD:
    """The method of the paper, with its ablations as arguments. Adapting makes a new detector.

    backbone     : a network cut in stages, `otad.features.pretrained.Backbone`. It is never changed.
    alignment    : "none", "moments" (TTT++), "kl" (TTAC, Eq. 3), or by transport: "hungarian" (one-to-one),
                   "continuous" (the plan of Eq. 5), "discrete" (Eq. 6, the paper's choice).
    augmentation : what a batch of the target holds: "none" = the pictures; "copy" = them 1 + views times;
                   "flips" = them and, of each, `views` of its seven turned or mirrored versions.
    update       : "none"; "bn_affine" = scale and shift of batch norm, the paper's; "bn_statistics" = its mean
                   and variance, taken anew from the target in one pass, without a loss; "all" parameters.
    n_memory     : N_M of Eq. 1; not stated in the paper.
    epsilon      : ε of Eq. 5, in units of the batch's mean cost; not stated. max_iter : of Sinkhorn's loop.
    reduction    : "mean" divides the loss of a plan by the plan's sum; "sum" is Eq. 6 as printed, thousands of
                   times larger, which the printed learning rate does not survive.
    frozen       : stages of this stride or less keep their parameters and are computed once a view, which makes
                   a step cheaper; 0 adapts all, as the paper does.
    patch_size, sigma : as in `PatchCore`. seed : of the memory's start, of batches and views.

    memory_ (M,C), mean_ (C,) and covariance_ (C,C) of all training patches, once fitted; losses_: one float a
    step, on the detector that `adapt` returns.
    """

    backbone: Backbone
    alignment: str = "discrete"
    augmentation: str = "flips"
    update: str = "bn_affine"
    n_memory: int = 2000
    epsilon: float = 0.05
    max_iter: int = 50
    batch_size: int = 10  # Sec. 4.1, as the next four
    views: int = 2
    epochs: int = 10
    lr: float = 0.003
    momentum: float = 0.9
    reduction: str = "mean"
    frozen: int = 0
    patch_size: int = 3
    sigma: float | None = 4.0
    seed: int = 0
    memory_: Tensor | None = field(default=None, repr=False)
    mean_: Tensor | None = field(default=None, repr=False)
    covariance_: Tensor | None = field(default=None, repr=False)
    losses_: list[float] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        """Refuse words and counts that mean nothing."""
        words = {
            "alignment": ALIGNMENTS,
            "augmentation": AUGMENTATIONS,
            "update": UPDATES,
            "reduction": ("mean", "sum"),
        }
        for name, known in words.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}: expected one of {', '.join(map(repr, known))}."
                )
        least = {"n_memory": 1, "batch_size": 1, "views": 1, "epochs": 1, "max_iter": 1, "frozen": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} is {getattr(self, name)}: expected {bound} or more.")
        if not (self.epsilon > 0 and 0 < self.lr < 3e38 and 0 <= self.momentum < 1):
            raise ValueError(
                f"epsilon is {self.epsilon}, lr {self.lr}, momentum {self.momentum}: expected epsilon, lr > 0 and "
                "a momentum in [0,1)."
            )

    def fit(self, images: Tensor) -> Self:
        """Learn memory (Eq. 1) and moments from clean normal images (N,3,H,W) in [0,1].

        Raises ValueError for bad or no images, and for a memory larger than their number of patches.
        """
        check_images(images)
        points = self.patches(images)
        if self.n_memory > len(points):
            raise ValueError(
                f"n_memory is {self.n_memory}, the {len(images)} images have {len(points)} patches: give more images "
                "or a smaller memory."
            )
        chosen = greedy_coreset(points, self.n_memory, self.seed, projection=128)
        self.memory_, self.mean_, self.covariance_ = points[chosen], *gaussian(points)
        return self

    def patches(self, images: Tensor) -> Tensor:
        """Return the patch features (N·h·w, C) of images (N,3,H,W), image by image in raster order."""
        with torch.no_grad():
            maps = [patch_features(self.backbone(few), self.patch_size) for few in images.split(16)]
        return torch.cat([m.movedim(1, -1).flatten(0, 2) for m in maps])

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) by Eq. 2, with the network as it is: unadapted, unless `adapt` returned it.

        Raises ValueError before `fit` and for bad images.
        """
        detector = PatchCore(self.backbone, self.patch_size, reweight=False, sigma=self.sigma)
        detector.memory_ = self._fitted()
        return detector.score(images)

    def adapt(self, images: Tensor) -> TTAD:
        """Follow shifted images (N,3,H,W), unlabelled, good and bad together; a new detector.

        This one keeps the network of the source: its scores stay what they were, whatever happens. The result
        is the same for a seed, on one machine. Raises FloatingPointError when loss or parameters stop being
        finite, ValueError before `fit` and for bad images.
        """
        *_, last = self.adapting(images)
        return last

    def adapting(self, images: Tensor) -> Iterator[TTAD]:
        """Yield the detector after each epoch of `adapt`: curves, and last beside best."""
        self._fitted()
        check_images(images)
        net = copy.deepcopy(self.backbone)
        if self.update == "bn_statistics":
            _renew_statistics(net, images, self)
        if self.update in ("none", "bn_statistics") or self.alignment == "none":
            yield replace(self, backbone=net)
            return
        net.to(memory_format=torch.channels_last)  # the same numbers up to rounding, a third faster on a CPU
        target = _Target(net, images, self)
        losses: list[float] = []
        parameters = _trainable(net, self.update, self.frozen)
        optimiser = torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum)
        for epoch in range(self.epochs):
            for points in target.batches():
                norm = points.square().sum()  # what overflows here has no distances either
                loss = self._loss(points) if bool(norm.isfinite()) else norm
                self._check(loss, epoch, len(losses))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(float(loss.detach()))
            for p in parameters:
                self._check(p, epoch, len(losses))
            frozen = copy.deepcopy(net).requires_grad_(False)
            yield replace(self, backbone=frozen, losses_=list(losses))

    def _loss(self, points: Tensor) -> Tensor:
        """The distribution alignment loss L_DA of one batch of target patches."""
        memory, mean, covariance = self._fitted(), self.mean_, self.covariance_
        assert mean is not None  # as the memory is there
        assert covariance is not None
        if self.alignment == "moments":
            return moment_gap(points, mean, covariance)
        if self.alignment == "kl":
            try:
                return gaussian_kl(points, mean, covariance)
            except torch.linalg.LinAlgError:  # features that ran away: as little a number as an overflow
                return points.sum() * torch.nan
        plan = assign(points.detach(), memory, self.alignment, self.epsilon, self.max_iter)
        loss = transport_loss(points, memory, plan)
        return loss / plan.sum() if self.reduction == "mean" else loss

    def _check(self, values: Tensor, epoch: int, step: int) -> None:
        if not bool(values.isfinite().all()):
            raise FloatingPointError(
                f"adaptation failed in epoch {epoch + 1}, after {step} steps: the loss or a parameter is not finite. "
                f"Lower lr (now {self.lr}) or momentum, or use reduction='mean'. The detector that was asked to "
                "adapt is unchanged: its score() gives the unadapted scores."
            )

    def _fitted(self) -> Tensor:
        if self.memory_ is None:
            raise ValueError("TTAD has no memory yet: call fit with clean normal images first.")
        return self.memory_


# Alignment losses ------------------------------------------------------------------------------------------


def assign(points: Tensor, memory: Tensor, kind: str, epsilon: float = 0.05, max_iter: int = 50) -> Tensor:
    """Plan (n,M) between target patches (n,C) and memory entries (M,C) under the cost C_ij = ‖z_i − m_j‖.

    kind : "continuous" = Eq. 5 with uniform marginals, its sum is 1; "discrete" = Eq. 6, ones where an entry is
    the largest of its row or of its column; "hungarian" = ones of the cheapest one-to-one assignment, min(n, M)
    of them, so that with n > M some patches go free. epsilon : in units of the mean cost.

    Raises ValueError for an unknown kind, and as `otad.transport.sinkhorn` does.
    """
    cost = distances(points, memory)
    if kind == "hungarian":
        rows, columns = linear_sum_assignment(cost.cpu().numpy())
        plan = torch.zeros_like(cost)
        plan[torch.from_numpy(rows), torch.from_numpy(columns)] = 1
        return plan
    if kind not in PLANS:
        raise ValueError(f"kind is {kind!r}: expected one of {', '.join(map(repr, PLANS))}.")
    # Only the argmax of rows and columns is used further on: marginals to a thousandth are plenty.
    plan = sinkhorn(cost, epsilon * float(cost.mean()), max_iter=max_iter, tol=1e-3).plan
    return hard_plan(plan) if kind == "discrete" else plan


def transport_loss(points: Tensor, memory: Tensor, plan: Tensor) -> Tensor:
    """Σ_ij plan_ij ‖z_i − m_j‖ (Eqs. 4, 6) for points (n,C), memory (M,C), plan (n,M) held fixed.

    The gradient in z_i is Σ_j plan_ij (z_i − m_j) / ‖z_i − m_j‖; it is passed on by a quadratic form with the
    same slope, so that no (n,M) matrix has to be differentiated. At z_i = m_j the slope is taken as 0.
    """
    with torch.no_grad():
        cost = distances(points, memory)
        weights = torch.where(cost > 0, plan / cost.clamp(min=torch.finfo(cost.dtype).tiny), 0.0)
        value = (plan * cost).sum()
        pull = weights.sum(1, keepdim=True) * points - weights @ memory
    linear = (points * pull).sum()
    return value + linear - linear.detach()


def moment_gap(points: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """‖μ_s − μ_t‖² + ‖Σ_s − Σ_t‖²_F between the source and target patches (n,C): TTT++ (Liu et al. 2021)."""
    found, spread = gaussian(points)
    return (found - mean).square().sum() + (spread - covariance).square().sum()


def gaussian_kl(points: Tensor, mean: Tensor, covariance: Tensor, ridge: float = RIDGE) -> Tensor:
    """D_KL(N(μ_s, Σ_s) ‖ N(μ_t, Σ_t)) of Eq. 3, TTAC (Su et al. 2022), with target patches (n,C).

    ½ [tr(Σ_t⁻¹ Σ_s) + (μ_t − μ_s)ᵀ Σ_t⁻¹ (μ_t − μ_s) − C + log det Σ_t − log det Σ_s]. Both covariances get
    `ridge` times the mean variance of the source on their diagonal, so that few patches can be inverted.
    """
    found, spread = gaussian(points)
    lift = ridge * covariance.diagonal().mean() * torch.eye(len(mean), dtype=mean.dtype, device=mean.device)
    source, root = covariance + lift, torch.linalg.cholesky(spread + lift)
    gap = (found - mean)[:, None]
    inside = (
        torch.cholesky_solve(source, root).diagonal().sum() + (gap * torch.cholesky_solve(gap, root)).sum()
    )
    return 0.5 * (inside - len(mean) + 2 * root.diagonal().log().sum() - torch.logdet(source))


def gaussian(points: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (C,) and covariance (C,C), divided by n, of points (n,C)."""
    mean = points.mean(0)
    centred = points - mean
    return mean, centred.T @ centred / len(points)


def distances(points: Tensor, memory: Tensor) -> Tensor:
    """‖z_i − m_j‖ for (n,C) and (M,C): (n,M), 4 n M bytes."""
    centre = memory.mean(0)
    return squared_distances(points - centre, memory - centre).sqrt_()


# Views of the target ---------------------------------------------------------------------------------------


@checked
def turn(images: Tensor, view: int) -> Tensor:
    """Return view 0 … 7 of images (…,H,W): `view % 4` quarter turns, mirrored from 4 on; 0 changes nothing."""
    if images.ndim < 2 or not 0 <= view < 8:
        raise ValueError(
            f"view is {view}, images have shape {tuple(images.shape)}: expected 0 to 7, and (…,H,W)."
        )
    turned = torch.rot90(images, view % 4, (-2, -1))
    return turned.flip(-1) if view >= 4 else turned


def draw_views(n: int, augmentation: str, views: int, square: bool, generator: torch.Generator) -> Tensor:
    """Draw the views of n pictures in a batch of the target: (n, 1 + views), the picture itself first.

    "none" has one column. "flips" draws without replacement from the seven others, or, where pictures are not
    square, from the three that keep their shape. Raises ValueError for more views than there are.
    """
    if augmentation != "flips":
        return torch.zeros(n, 1 if augmentation == "none" else 1 + views, dtype=torch.long)
    others = torch.arange(1, 8) if square else torch.tensor([2, 4, 6])
    if views > len(others):
        raise ValueError(f"views is {views}: these pictures have {len(others)} turned or mirrored versions.")
    order = torch.rand(n, len(others), generator=generator).argsort(dim=1)[:, :views]
    return torch.cat([torch.zeros(n, 1, dtype=torch.long), others[order]], dim=1)


class _Target:
    """The target as batches of patch features; what the frozen stages say is kept."""

    def __init__(self, net: Backbone, images: Tensor, settings: TTAD) -> None:
        self.net, self.images, self.settings = net, images, settings
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.kept: dict[tuple[int, int], list[Tensor]] = {}

    def batches(self) -> Iterator[Tensor]:
        """Yield the patches (n,C) of each batch of one epoch, in an order of its own."""
        s, square = self.settings, self.images.shape[-1] == self.images.shape[-2]
        for batch in torch.randperm(len(self.images), generator=self.generator).split(s.batch_size):
            views = draw_views(len(batch), s.augmentation, s.views, square, self.generator)
            once = views[:, :1] if s.augmentation == "copy" else views  # a copy needs no second look
            pairs = [(int(i), int(v)) for v_of_i, i in zip(once, batch, strict=True) for v in v_of_i]
            points = patch_features(self._maps(pairs), s.patch_size).movedim(1, -1).flatten(0, 2)
            yield points.repeat(views.shape[1] // once.shape[1], 1)

    def _maps(self, pairs: list[tuple[int, int]]) -> list[Tensor]:
        """Feature maps of (image, view) pairs: frozen stages from memory, the others with gradients."""
        frozen = [stride for stride in self.net.stages if int(stride) <= self.settings.frozen]
        new = [pair for pair in pairs if pair not in self.kept] if frozen else pairs
        if new:
            images = torch.stack([turn(self.images[i], v) for i, v in new])
            with torch.no_grad():
                start = _through(self.net, [(images - self.net.mean) / self.net.std], frozen)
        if frozen:
            if new:
                self.kept |= {pair: [m[k] for m in start] for k, pair in enumerate(new)}
            start = [torch.stack(maps) for maps in zip(*(self.kept[pair] for pair in pairs), strict=True)]
        rest = [stride for stride in self.net.stages if stride not in frozen]
        return _through(self.net, start, rest)[:-1] if rest else start[:-1]


def _through(net: Backbone, state: list[Tensor], stages: list[str]) -> list[Tensor]:
    """Send a state, the maps found so far and then the current activation, through some stages."""
    *maps, x = state
    for stride in stages:
        x = net.stages[stride](x)
        if int(stride) in net.strides:
            maps.append(x)
    return [*maps, x]


# What is updated -------------------------------------------------------------------------------------------


def _norms(net: Backbone, frozen: int) -> list[nn.BatchNorm2d]:
    layers = [
        layer for stride, stage in net.stages.items() if int(stride) > frozen for layer in stage.modules()
    ]
    found = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    if not found:
        raise ValueError(
            f"{net.name} has no batch norm in stages beyond stride {frozen}: nothing to update; lower frozen."
        )
    return found


def _trainable(net: Backbone, update: str, frozen: int) -> list[nn.Parameter]:
    """Unfreeze what is updated. Batch norm stays in eval mode, with the statistics of the source."""
    modules = (
        _norms(net, frozen) if update == "bn_affine" else list(net.stages.values())[_first(net, frozen) :]
    )
    parameters = [p for module in modules for p in module.parameters()]
    for p in parameters:
        p.requires_grad_(True)
    return parameters


def _first(net: Backbone, frozen: int) -> int:
    return sum(int(stride) <= frozen for stride in net.stages)


def _renew_statistics(net: Backbone, images: Tensor, settings: TTAD) -> None:
    """Replace mean and variance of batch norm by averages over the batches of one pass over the target."""
    norms = _norms(net, settings.frozen)
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over batches
        norm.train()
    with torch.no_grad():
        for _ in _Target(net, images, replace(settings, frozen=0)).batches():
            pass
    net.eval()
