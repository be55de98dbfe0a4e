"""What page 23 looks at: five students level by level, one of them epoch by epoch, and what a loss weighs."""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.methods.distillation.glance import Glance, inconsistency
from otad.methods.distillation.kdad import KDAD
from otad.methods.distillation.reverse_distillation import ReverseDistillation, flattened_gap, gap
from otad.methods.distillation.stpm import STPM, distances
from otad.methods.distillation.teacher import teach
from otad.methods.distillation.uniad import UniAD, distance
from otad.methods.training import descend
from otad.metrics import image_auroc


@torch.no_grad()
def levels(method: STPM | ReverseDistillation | KDAD | Glance | UniAD, images: Tensor) -> dict[str, Tensor]:
    """Return what a fitted method compares, before anything is resized or smoothed: name → (N,h,w).

    Three of them compare at each stride; Glance has two opinions of one map, UniAD one. ValueError before `fit`.
    """
    if isinstance(method, Glance):
        return _two_opinions(method, images)
    if isinstance(method, UniAD):
        if method.rebuilder_ is None:
            raise ValueError("UniAD has learnt no transformer yet: call fit with normal images first.")
        maps = method._standardised(method.features(images))
        return {"|x − x̂|": distance(maps, method.rebuilder_(maps))}
    taught = teach(method.backbone, images)
    learnt, how = _learnt(method, taught, images)
    pairs = zip(method.backbone.strides, taught, learnt, strict=True)
    return {f"stride {stride}": how(t, s) for stride, t, s in pairs}


def _learnt(
    method: STPM | ReverseDistillation | KDAD, taught: list[Tensor], images: Tensor
) -> tuple[Sequence[Tensor], Callable[[Tensor, Tensor], Tensor]]:
    """Return the student's maps, and how it is compared place by place."""
    found = method.cloner_ if isinstance(method, KDAD) else method.student_
    if found is None:
        raise ValueError(f"{type(method).__name__} has no student yet: call fit with normal images first.")
    if isinstance(method, STPM):
        return found(images), distances
    if isinstance(method, ReverseDistillation):
        return found(taught)[1], lambda t, s: 1 - F.cosine_similarity(t, s)
    return found(method._normalised(images)), lambda t, s: (t - s).square().mean(dim=1)


def _two_opinions(method: Glance, images: Tensor) -> dict[str, Tensor]:
    if method.networks_ is None:
        raise ValueError("Glance has learnt no networks yet: call fit with normal images first.")
    maps = method._standardised(method.features(images))
    local, around = method.networks_.local(maps), method.networks_.around(maps)
    return {
        "local − global": inconsistency(local, around),
        "distorted?": method.networks_.told(local, around).sigmoid(),
    }


def by_epoch(method: ReverseDistillation, images: Tensor) -> Iterator[tuple[float, nn.Module]]:
    """Train as `ReverseDistillation.fit` does, to the last digit, and yield loss and student after each epoch."""
    taught = teach(method.backbone, images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(method.seed)
        student = method.build_student().to(images)
    optimiser = torch.optim.Adam(student.parameters(), method.lr, betas=(0.5, 0.999))
    generator = torch.Generator().manual_seed(method.seed)
    loss_of = gap if method.loss == "places" else flattened_gap

    def losses() -> Iterator[Tensor]:
        for batch in torch.randperm(len(images), generator=generator).split(method.batch_size):
            maps = [m[batch] for m in taught]
            yield loss_of(maps, student(maps)[1])

    for epoch in range(1, method.epochs + 1):
        student.train()
        loss = descend(optimiser, losses(), epoch)
        yield loss, student.eval()


@torch.no_grad()
def judged(student: nn.Module, taught: list[Tensor], masks: Tensor, labels: Tensor) -> dict[str, float]:
    """Return of a student the image AUROC (%) of 1 − cos added up, and its mean over good pictures and over defects.

    taught : the teacher's maps of the test pictures; masks (N,H,W). Maps are compared at the size of the largest.
    """
    size = taught[0].shape[-2], taught[0].shape[-1]
    each = [
        F.interpolate((1 - F.cosine_similarity(t, s))[:, None], size, mode="bilinear", align_corners=False)
        for t, s in zip(taught, student(taught)[1], strict=True)
    ]
    maps = torch.cat(each, dim=1).sum(dim=1).cpu()
    inside = F.adaptive_avg_pool2d(masks[:, None].to(maps), size)[:, 0] > 0.5
    return {
        "AUROC": 100 * image_auroc(maps.amax(dim=(1, 2)), labels),
        "good pictures": float(maps[~labels].mean()),
        "defects": float(maps[inside].mean()),
    }


def loudest(maps: Tensor, share: float = 0.1) -> float:
    """Return what part of the sum of |t|² over places of maps (N,C,h,w) the loudest share of places holds, mean over pictures.

    That is their weight in the cosine of a flattened map, where student and teacher are equally loud.
    """
    square = maps.square().sum(dim=1).flatten(1)
    top = square.topk(max(1, round(share * square.shape[1])), dim=1).values
    return float((top.sum(dim=1) / square.sum(dim=1)).mean())
