"""What pages 30 to 32 look at before anything adapts: three detectors on one pass of the network, batches of ten
pictures, and what a plan gives to anomalous patches."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from otad.data.drawn.corruptions import KINDS, corrupt
from otad.data.packaged import solar
from otad.features.pretrained import Backbone
from otad.methods.memory.patchcore import greedy_coreset, patch_features
from otad.methods.memory.ttad import assign, gaussian
from otad.methods.nearest import nearest
from otad.scale import device, pick
from otad.studies.arenas import categories, on_disk
from otad.studies.shifted import PLANTED
from otad.transport import hard_plan

METHODS = ("PatchCore", "PatchCore, stride 16", "single Gaussian")
RIDGE = 1e-3  # of the Gaussian's covariance, in units of the mean variance


def conditions(images: Tensor, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Yield pictures clean, and under each corruption at severity 5."""
    yield "clean", images
    for kind in KINDS:
        yield kind, corrupt(images, kind, 5, seed=seed)


@torch.no_grad()
def features(net: Backbone, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Return patch features (N·h·w, C) of both strides and of stride 16 only, and the shape (N, h, w) of the larger map."""
    maps = [net(few.to(device())) for few in images.split(16)]
    stages = [torch.cat(of_stride) for of_stride in zip(*maps, strict=True)]
    both, deep = patch_features(stages), patch_features(stages[1:])
    flat = [f.movedim(1, -1).flatten(0, 2) for f in (both, deep)]
    return flat[0], flat[1], (len(images), *both.shape[-2:])


@dataclass
class Detectors:
    """METHODS, fitted to clean pictures; a call gives the patch distances (N, patches) of each.

    n_entries: of a memory. alone: PatchCore only. clean: the patches (n, C) of the training pictures.
    """

    net: Backbone
    n_entries: int
    seed: int
    alone: bool = False
    memories: dict[str, Tensor] = field(default_factory=dict)

    def fit(self, train: Tensor) -> "Detectors":
        """Learn memories, mean and covariance of clean pictures (N,3,H,W)."""
        self.clean, deep, _ = features(self.net, train)
        kept = greedy_coreset(self.clean, self.n_entries, self.seed, 128)
        self.memories = {METHODS[0]: self.clean[kept]}
        if not self.alone:
            kept = greedy_coreset(deep, min(self.n_entries, len(deep)), self.seed, 128)
            self.memories[METHODS[1]] = deep[kept]
            self.mean, covariance = gaussian(self.clean)
            ridge = RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)
            self.root = torch.linalg.cholesky(covariance + ridge)
        return self

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Return name to patch distances (N, patches), on the CPU."""
        both, deep, shape = features(self.net, images)
        of = {METHODS[0]: both, METHODS[1]: deep}
        found = {name: nearest(of[name], memory)[0][:, 0] for name, memory in self.memories.items()}
        if not self.alone:
            gap = (both - self.mean).T
            found[METHODS[2]] = torch.linalg.solve_triangular(self.root, gap, upper=False).norm(dim=0)
        return {name: d.view(shape[0], -1).cpu() for name, d in found.items()}


def batch(scale: str, seed: int, salt: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return clean training pictures, ten test pictures, two of them good, and their masks: solar cells with planted defects.

    At paper scale a seed is a class of MVTec AD, and ten of its test pictures. salt: draws other defects on the same cells.
    """
    side, n_train = pick(scale, smoke=64, laptop=128, paper=224), pick(scale, smoke=8, laptop=100)
    if scale != "paper":
        kinds = ["good"] * 2 + (list(PLANTED) * 3)[:8]
        data = solar.planted("mono", side, n_train, kinds, seed, salt=salt)
        few = torch.arange(len(data.test))
    else:
        names = categories("mvtec_ad")
        data = on_disk("mvtec_ad", names[seed % len(names)], side)
        order = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(seed))
        bad = data.labels[order]
        few = torch.cat([order[~bad][:2], order[bad][:8]])
    assert data.masks is not None  # as both have
    return data.train.to(device()), data.test[few].to(device()), data.masks[few]


def anomalous(masks: Tensor) -> Tensor:
    """Return which patches (n,) of the map of stride 8 are anomalous: at least a quarter of their pixels are marked."""
    return F.avg_pool2d(masks[:, None].float(), 8).flatten() >= 0.25


# Plans --------------------------------------------------------------------------------------------


def share(plan: Tensor, bad: Tensor) -> float:
    """Return the share of a plan (n,m) that lies on the rows of `bad` (n,)."""
    return float(plan[bad].sum() / plan.sum())


def plan_shares(points: Tensor, memory: Tensor, bad: Tensor, epsilon: float) -> dict[str, float]:
    """Return what anomalous patches hold of the plan of Eq. 5 and of the links that Eq. 6 makes of it.

    points (n,C), memory (m,C), bad (n,) bool. extra: of the links beyond a row's own; fewest: links of an anomalous patch; top: the median
    over patches of the strongest link, as a share of what a patch sends out.
    """
    soft = assign(points, memory, "continuous", epsilon)
    hard = hard_plan(soft)
    top, extra = soft.amax(1) * len(points), hard.sum(1) - 1
    return {
        "prevalence": float(bad.double().mean()),
        "continuous": share(soft, bad),
        "discrete": share(hard, bad),
        "extra": float(extra[bad].sum() / extra.sum().clamp(min=1)),
        "fewest": int(hard[bad].sum(1).min()),
        "top normal": float(top[~bad].median()),
        "top anomalous": float(top[bad].median()),
    }
