"""FOCT: a small memory of a few normal pictures, recalibrated by each query that comes, and conditional transport to score it.

Few-shot Industrial Anomaly Detection with Foreground-aware Online Conditional Transport (ACM MM 2024), Sec. 4. Where the text leaves a
choice open or its public code (c682eb2) makes another, there is an argument; defaults are the text's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import checked
from otad.features import check_images, feature_maps
from otad.methods import Scores
from otad.methods.maps import smooth
from otad.methods.memory.episodic import compressed, kept_size, top_queries
from otad.methods.memory.patchcore import patch_features
from otad.transport import (
    ConditionalPlan,
    Navigator,
    PairNetwork,
    conditional_transport,
    learn,
    nearest_plan,
    pairwise,
)

AUTHORS_CODE = {
    "memory": "after", "picks": "entries", "compression": "authors", "measure": "squared", "lr": 2e-4, "decoupled": True, "relearn": True
}  # fmt: skip


@dataclass(frozen=True)
class Episode:
    """What a stream has left behind: recent picks (L_t,C) as they are used, and for the authors' compression all picks ever."""

    recent: Tensor
    history: Tensor
    navigator: Navigator | None


@checked
@dataclass
class FOCT:
    """The method of the paper. CT is `online=False`, OCT a fit without foreground, FOCT a fit with it; "vanilla" is `FastRecon`.

    backbone      : images (N,3,H,W) → list of feature maps. The paper: WideResNet50-2, strides 8, 16. patch_size as PatchCore's.
    alpha, beta   : shares of foreground and background features that the semantic memory keeps (Sec. 4.1); without a foreground, alpha.
    k_foreground, k_background : K of Eq. 6 for queries matched with either; without a foreground their sum.
    capacity, lam : L and λ of Sec. 4.2.2; capacity None: the memory grows without bound.
    compression   : "paper" compresses to λL once L is reached; "authors" keeps all picks and compresses them anew at each query.
    memory        : what Eq. 8 looks at: "semantic" as printed, or with the episodic memory "before" or "after" the query's own picks.
    picks         : Eq. 6: "queries" of the largest probability, or, as in the code, the query that each of the "entries" prefers.
    navigator     : builds d_φ from the number of channels, e.g. `PairNetwork`, `lambda _: Scaled(0.5)`; None: all go to the nearest entry.
    steps, lr, decoupled, measure, pairs, rho : of `otad.transport.learn`. warm: go on from the last query's weights.
    support_steps : of learning on the support before the first query. relearn: a second navigator for Eq. 8, as in the code.
    projection, sigma, seed : of the coreset, the map's smoothing in image pixels, and everything drawn.

    semantic_ : (n,C), foreground_ : (n,) bool or None, size_ : of the pictures, start_ : what a stream begins with, episode_ : what
    `stream` has left.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    patch_size: int = 3
    alpha: float = 0.1
    beta: float = 0.075
    k_foreground: int = 10
    k_background: int = 40
    capacity: int | None = 100
    lam: float = 0.25
    compression: Literal["paper", "authors"] = "paper"
    memory: Literal["semantic", "before", "after"] = "semantic"
    picks: Literal["queries", "entries"] = "queries"
    online: bool = True
    navigator: Callable[[int], Navigator] | None = PairNetwork
    steps: int = 100
    lr: float = 1e-4
    decoupled: bool = False
    measure: Literal["euclidean", "squared"] = "euclidean"
    pairs: tuple[int, int] | None = None
    rho: float = 0.5
    warm: bool = False
    support_steps: int = 0
    relearn: bool = False
    projection: int | None = 128
    sigma: float | None = 4.0
    seed: int = 0
    semantic_: Tensor | None = field(default=None, init=False, repr=False)
    foreground_: Tensor | None = field(default=None, init=False, repr=False)
    size_: tuple[int, int] | None = field(default=None, init=False, repr=False)
    start_: Episode | None = field(default=None, init=False, repr=False)
    episode_: Episode | None = field(default=None, init=False, repr=False)

    # The semantic memory, Sec. 4.1 ------------------------------------------------------------------------

    def fit(self, images: Tensor, foreground: Tensor | None = None) -> Self:
        """Build the semantic memory from k normal images (k,3,H,W) in [0,1], and forget every stream.

        foreground : (k,H,W) bool masks; None leaves foreground and background together.
        Raises ValueError for bad or no images, shares outside (0,1], masks that do not fit, and an empty foreground or background.
        If anything raises, the detector is as it was.
        """
        self._check_settings()
        check_images(images)
        with torch.no_grad():
            maps = torch.cat([self.features(image) for image in images.split(1)])
        points = maps.movedim(1, -1).flatten(0, 2)
        if foreground is None:
            chosen, kinds = self._thinned(points, self.alpha), None
        else:
            inside = small_masks(foreground, images, maps.shape[-2:]).flatten()
            parts = [self._thinned(points[inside], self.alpha), self._thinned(points[~inside], self.beta)]
            chosen, kinds = (
                torch.cat(parts),
                torch.arange(sum(map(len, parts)), device=points.device) < len(parts[0]),
            )
        # What every stream begins with has seen the support's patches as queries.
        taught = self._learnt(self._new(points.shape[1]), chosen, points, self.support_steps)
        self.semantic_, self.foreground_ = chosen, kinds
        self.size_ = (images.shape[-2], images.shape[-1])
        self.start_ = self.episode_ = Episode(points[:0], points[:0], taught)
        return self

    def features(self, images: Tensor) -> Tensor:
        """Return the patch features of images (N,3,H,W): (N,C,h,w)."""
        return patch_features(feature_maps(self.backbone, images), self.patch_size)

    def _thinned(self, points: Tensor, share: float) -> Tensor:
        return compressed(points, max(1, round(share * len(points))), self.seed, self.projection)

    # A stream of queries, Sec. 4.2 and 4.3 ------------------------------------------------------------------

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1] in their order, starting from the fitted memory; the detector stays as it was.

        Maps are expected costs, in units of the features, or squares of them. Raises ValueError before `fit`, for bad images and for
        another size than the shots'.
        """
        self._check_queries(images)
        assert self.start_ is not None
        return self._walk(images, self.start_)[0]

    def stream(self, images: Tensor) -> Scores:
        """Score images as `score` does, but go on from what the last call has left, and leave the memory for the next.

        If anything raises, the memory of before is kept.
        """
        self._check_queries(images)
        assert self.episode_ is not None
        scores, self.episode_ = self._walk(images, self.episode_)
        return scores

    def _walk(self, images: Tensor, episode: Episode) -> tuple[Scores, Episode]:
        maps, tops = [], []
        for image in images.split(1):
            with torch.no_grad():
                features = self.features(image)[0]
            queries, episode = self._query(features.flatten(1).T, episode)
            large = F.interpolate(queries.view(1, 1, *features.shape[1:]), image.shape[-2:], mode="bilinear")[
                0
            ]
            maps.append(large if self.sigma is None else smooth(large, self.sigma))
            tops.append(queries.max())
        return Scores(torch.cat(maps), torch.stack(tops)), episode

    def _query(self, points: Tensor, episode: Episode) -> tuple[Tensor, Episode]:
        """Return the scores (m,) of one query's patches, Eq. 8, and the memory after it."""
        assert self.semantic_ is not None
        navigator = self._learnt(episode.navigator, self.semantic_, points, self.steps)
        plan = self.plan(self.semantic_, points, navigator)
        old = episode if self.online else Episode(points[:0], points[:0], episode.navigator)
        new = self._calibrated(old, points[self._picked(plan)], navigator if self.warm else episode.navigator)
        if self.memory == "semantic":
            return plan.queries, new
        memory = torch.cat([self.semantic_, old.recent if self.memory == "before" else new.recent])
        if self.relearn:
            navigator = self._learnt(episode.navigator, memory, points, self.steps)
        return self.plan(memory, points, navigator).queries, new

    def plan(self, memory: Tensor, queries: Tensor, navigator: Navigator | None) -> ConditionalPlan:
        """Return the plans of Eq. 5 for this memory (n,C), queries (m,C) and navigator; None sends all to the nearest."""
        with torch.no_grad():
            cost = pairwise(memory, queries, self.measure)
            if navigator is None:
                return nearest_plan(cost, self.rho)
            return conditional_transport(cost, navigator(memory, queries), self.rho)

    # Navigators ---------------------------------------------------------------------------------------------

    def _new(self, dimension: int) -> Navigator | None:
        """Return a fresh navigator for features of this many channels."""
        return None if self.navigator is None else self.navigator(dimension)

    def _learnt(
        self, navigator: Navigator | None, memory: Tensor, queries: Tensor, steps: int
    ) -> Navigator | None:
        """Return a copy of the navigator after `steps` of Eq. 4; what cannot learn comes back as it is."""
        if not isinstance(navigator, nn.Module):
            return navigator
        found = copy.deepcopy(navigator).to(queries)
        learn(
            found,
            memory,
            queries,
            self.rho,
            steps,
            self.lr,
            self.decoupled,
            self.measure,
            self.pairs,
            self.seed,
        )
        return found

    # The episodic memory, Sec. 4.2 --------------------------------------------------------------------------

    def _picked(self, plan: ConditionalPlan) -> Tensor:
        """Return the indices of the query's patches that join the memory, Eq. 6, each once."""
        if self.foreground_ is None:
            return top_queries(plan.forward, self.k_foreground + self.k_background, None, self.picks)
        kinds = ((self.foreground_, self.k_foreground), (~self.foreground_, self.k_background))
        return torch.cat([top_queries(plan.forward, k, entries, self.picks) for entries, k in kinds]).unique()

    def _calibrated(self, old: Episode, picked: Tensor, navigator: Navigator | None) -> Episode:
        """Return the episodic memory with these picks (K,C), compressed as the settings say."""
        everything = self.compression == "authors" and self.capacity is not None
        grown = torch.cat([old.history if everything else old.recent, picked])
        size = kept_size(len(grown), self.capacity, self.lam, self.compression)
        recent = compressed(grown, size, self.seed, self.projection)
        return Episode(recent, grown if everything else old.history, navigator)

    # Checks -------------------------------------------------------------------------------------------------

    def _check_settings(self) -> None:
        shares = {"alpha": self.alpha, "beta": self.beta, "lam": self.lam}
        for name, value in shares.items():
            if not 0 < value <= 1:
                raise ValueError(f"{name} is {value}: expected a share in (0,1].")
        if min(self.k_foreground, self.k_background) < 0 or (self.capacity is not None and self.capacity < 1):
            raise ValueError(
                f"k_foreground is {self.k_foreground}, k_background {self.k_background}, capacity {self.capacity}: expected picks "
                "of 0 or more and a capacity of 1 or more, or None."
            )

    def _check_queries(self, images: Tensor) -> None:
        if self.semantic_ is None:
            raise ValueError("FOCT has no memory yet: call fit with normal images first.")
        check_images(images)
        if tuple(images.shape[-2:]) != self.size_:
            raise ValueError(
                f"images are {tuple(images.shape[-2:])}, the shots were {self.size_}: resize them."
            )


@checked
def small_masks(masks: Tensor, images: Tensor, size: Sequence[int]) -> Tensor:
    """Bring masks (k,H,W) bool to the size of the feature maps: True where half of a cell or more is covered (Sec. 4.1).

    Raises ValueError for masks that do not belong to the images, and where nothing or everything is foreground.
    """
    if masks.dtype != torch.bool or masks.shape != (len(images), *images.shape[-2:]):
        raise ValueError(
            f"foreground is {masks.dtype} {tuple(masks.shape)}: expected bool {(len(images), *images.shape[-2:])}, a mask an image."
        )
    small = F.interpolate(masks[:, None].to(images.dtype), tuple(size), mode="area")[:, 0] >= 0.5
    if not (bool(small.any()) and bool((~small).any())):
        what = "empty" if not bool(small.any()) else "everything"
        raise ValueError(
            f"the foreground is {what} at {tuple(size)}: leave it out, or give masks of the object."
        )
    return small
