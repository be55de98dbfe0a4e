"""PatchCore: a memory of normal patch features, thinned greedily, and the distance to its nearest entry.

Roth et al., Towards Total Recall in Industrial Anomaly Detection (CVPR 2022), Sec. 3. One normal image makes
it the 1-shot method, `fit(images[:1])`; all of them the full one. Its parts are functions, because others
build on them: test-time training moves the features of a memory, texture methods search an image in itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.checks import checked, shown
from otad.features import check_images, check_maps, feature_maps
from otad.methods import Scores
from otad.methods.maps import smooth
from otad.methods.nearest import nearest


@checked
@dataclass
class PatchCore:
    """The method of the paper, with its ablations as arguments.

    backbone      : images (N,3,H,W) → list of feature maps (N,C,h,w). The paper: WideResNet50-2, strides 8, 16.
    patch_size    : p, odd: neighbourhood over which features are averaged, in pixels of their own map.
    coreset_ratio : share of the training patches that the memory keeps; the paper prints 0.25, 0.1 and 0.01.
    projection    : d*, dimension of the random projection in which the coreset is sought; None = none.
    reweight      : Eq. 7 for image scores; False = the plain maximum, as the authors' code has it.
    b             : entries around the nearest one that Eq. 7 looks at; the paper gives no number.
    sigma         : width of the Gaussian that smooths the resized map, in image pixels; None = no smoothing.
    seed          : of the projection and of the first entry of the coreset.

    memory_ : (M,C) tensor once fitted, float, in the unit of the features.

    >>> PatchCore(lambda x: [x]).fit(torch.rand(2, 3, 8, 9)).memory_.shape
    torch.Size([14, 3])
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    patch_size: int = 3
    coreset_ratio: float = 0.1
    projection: int | None = 128
    reweight: bool = True
    b: int = 9
    sigma: float | None = 4.0
    seed: int = 0
    memory_: Tensor | None = field(default=None, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn the memory from normal images (N,3,H,W) in [0,1].

        Sec. 3.1 and 3.2. Holds the features of all N h w patches, 4 C bytes each, and their projections, 4 d*
        bytes each; time O(M N h w d*). Raises ValueError for bad or no images and a ratio outside (0,1].
        """
        if not 0 < self.coreset_ratio <= 1:
            raise ValueError(
                f"coreset_ratio is {self.coreset_ratio}: expected a share in (0,1], such as 0.1."
            )
        check_images(images)
        with torch.no_grad():
            points = self._points(images)
        n = max(1, round(self.coreset_ratio * len(points)))
        chosen = greedy_coreset(points, n, self.seed, self.projection) if n < len(points) else slice(None)
        self.memory_ = points[chosen]
        return self

    def _points(self, images: Tensor) -> Tensor:
        """List the features of all patches (N h w, C), each written to its place, so that none is there twice."""
        points = torch.empty(0)
        for index, image in enumerate(images.split(1)):
            found = self.features(image).movedim(1, -1).flatten(0, 2)
            if not index:
                points = found.new_empty(len(images) * len(found), found.shape[1])
            points[index * len(found) : (index + 1) * len(found)] = found
        return points

    def features(self, images: Tensor) -> Tensor:
        """Return the patch features of images (N,3,H,W): (N,C,h,w)."""
        return patch_features(feature_maps(self.backbone, images), self.patch_size)

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1]: maps are distances to the memory, in units of the features.

        Sec. 3.3. The image score is taken from the patches, before resizing and smoothing. Raises ValueError
        before `fit`, for bad images, and for a reweighting by fewer than two entries.
        """
        if self.memory_ is None:
            raise ValueError("PatchCore has no memory yet: call fit with normal images first.")
        if self.reweight and min(self.b, len(self.memory_)) < 2:
            raise ValueError(
                f"b is {self.b} and the memory has {len(self.memory_)} entries: Eq. 7 compares at least two; "
                "raise b or coreset_ratio, or set reweight=False."
            )
        check_images(images)
        with torch.no_grad():  # one image at a time: features can be far larger than images
            maps, scores = zip(*(self._one(image) for image in images.split(1)), strict=True)
        return Scores(torch.cat(maps), torch.stack(scores))

    def _one(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score one image (1,3,H,W): its map (1,H,W) and its score."""
        assert self.memory_ is not None
        features = self.features(image)[0]
        points = features.flatten(1).T
        distances, entries = (found[:, 0] for found in nearest(points, self.memory_))
        worst = int(distances.argmax())
        score = distances[worst]
        if self.reweight:
            score = score * eq7_weight(points[worst], self.memory_, int(entries[worst]), self.b)
        large = F.interpolate(distances.view(1, 1, *features.shape[1:]), image.shape[-2:], mode="bilinear")[0]
        return large if self.sigma is None else smooth(large, self.sigma), score


@checked
def patch_features(maps: Sequence[Tensor], patch_size: int = 3) -> Tensor:
    """Average each map over patch_size × patch_size pixels, resize all to the largest, and concatenate.

    Sec. 3.1. At the border the mean is over the pixels that exist. maps : (N,C,h,w) each.

    Returns (N, ΣC, h, w) of the largest map. Raises ValueError for no maps and an even patch_size.
    """
    if not maps or patch_size < 1 or patch_size % 2 == 0:
        raise ValueError(
            f"patch_size is {patch_size} and there are {len(maps)} feature maps: expected an odd size and at "
            "least one map; give the backbone a stage."
        )
    check_maps(maps, len(maps[0]) if maps[0].ndim else 0)
    means = [F.avg_pool2d(m, patch_size, 1, patch_size // 2, count_include_pad=False) for m in maps]
    size = max((m.shape[-2:] for m in means), key=lambda hw: hw[0] * hw[1])
    return torch.cat([_resize(m, size) for m in means], dim=1)


@checked
def greedy_coreset(points: Tensor, n: int, seed: int = 0, projection: int | None = None) -> Tensor:
    """Choose n of N points so that every point has a chosen one near: always take the farthest next.

    Algorithm 1: greedy k-centre, whose radius is at most twice the best. It starts from a random point; the
    optional random projection to `projection` dimensions (Johnson-Lindenstrauss) makes it cheaper.

    points : (N,C) tensor. Time O(n N C), memory 4 N (C + 3) bytes, with C = projection where that is smaller.

    Returns (n,) indices in the order of choice, none twice. Raises ValueError for n outside 1 … N.
    """
    if points.ndim != 2 or not points.is_floating_point() or not 1 <= n <= len(points):
        raise ValueError(f"n is {n}, points are {shown(points)}: expected floats (N,C) and 1 ≤ n ≤ N.")
    if projection is not None and projection < 1:
        raise ValueError(f"projection is {projection}: expected 1 dimension or more, or None for none.")
    generator = torch.Generator().manual_seed(seed)
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    if projection is not None and projection < points.shape[1]:
        directions = torch.randn(points.shape[1], projection, generator=generator) / projection**0.5
        points = points @ directions.to(points)
    points = points - points.mean(dim=0)  # smaller numbers cancel less in |x|² + |y|² − 2 x·y
    norms = points.square().sum(dim=1)
    gap = torch.full_like(norms, torch.inf)  # squared distance to the nearest chosen point
    while len(chosen) < n:
        last = chosen[-1]
        gap = torch.minimum(gap, norms + norms[last] - 2 * (points @ points[last]))
        gap[last] = -torch.inf  # neither rounding nor duplicates may bring it back
        chosen.append(int(gap.argmax()))
    return torch.tensor(chosen, device=points.device)


@checked
def eq7_weight(query: Tensor, memory: Tensor, entry: int, b: int = 9) -> Tensor:
    """Return the factor of Eq. 7, in [1 − 1/b, 1): 1 − exp d(q, m*) / Σ_{m ∈ N_b(m*)} exp d(q, m).

    N_b(m*) are the b entries nearest to m*, m* among them. A rare m* has remote neighbours, so the share of
    m* in the sum is small and the factor large.

    query : (C,) tensor. memory : (M,C) tensor. entry : index of m*, the entry nearest to the query.
    Raises ValueError as `nearest`, for an entry that is not there and b < 2.
    """
    if query.ndim != 1 or memory.ndim != 2 or not 0 <= entry < len(memory) or b < 2:
        raise ValueError(
            f"entry is {entry}, b is {b}, query has shape {tuple(query.shape)}, memory {tuple(memory.shape)}: expected "
            "0 ≤ entry < M, b ≥ 2, (C,) and (M,C)."
        )
    nearest(query[None], memory)  # refuses what does not fit
    around = nearest(memory[entry : entry + 1], memory, min(b, len(memory)))[1][0]
    around = torch.cat([around.new_tensor([entry]), around[around != entry]])[: len(around)]
    distances = torch.linalg.vector_norm(memory[around] - query, dim=1)
    return 1 - torch.softmax(distances, dim=0)[0]


def _resize(maps: Tensor, size: torch.Size) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
