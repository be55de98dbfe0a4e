"""Where the object is: segmenters, images (N,3,H,W) in [0,1] → bool masks (N,H,W), for methods that treat foreground apart.

`ColourMixtures` and `GrabCut` need nothing but the picture and the guess that its frame shows background. A renderer that knows its
object gives exact masks (`otad.data.drawn.scenes.foreground`); `segment_anything` is what the paper uses; any callable of the same
kind will do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_fill_holes, binary_opening, label
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from skimage.color import rgb2lab
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from otad.checks import check_images, checked
from otad.features.pretrained import IMAGENET_MEAN, IMAGENET_STD, check_hash

Segmenter = Callable[[Tensor], Tensor]
Array = NDArray[np.floating]
Mask = NDArray[np.bool_]
SAMPLE = 4000  # pixels that a mixture is fitted to


@checked
@dataclass(frozen=True)
class ColourMixtures:
    """Two Gaussian mixtures of colours, one for the frame of the picture and what is like it, one for the rest.

    components : of each mixture. frame : share of the sides that is taken for background. rounds : how often the two are refitted to
    the pixels that they explain better. seed : of the sample of pixels and of k-means.

    Then openings and closings of `smooth` pixels a hundred pixels of the short side, holes filled, specks under 1 % of the picture
    dropped. Source: Friedman and Russell (UAI 1997) for mixtures as a model of the background.
    """

    components: int = 5
    frame: float = 0.03
    rounds: int = 3
    smooth: float = 1.0
    seed: int = 0

    def __call__(self, images: Tensor) -> Tensor:
        """Segment images (N,3,H,W) in [0,1]: (N,H,W) bool, on the device of the images. ValueError for bad images and settings."""
        return _each(images, self._one, self)

    def _one(self, image: Array) -> Mask:
        ratio = _ratio(image, self)
        return _tidy(ratio > 0, self.smooth)


@checked
@dataclass(frozen=True)
class GrabCut(ColourMixtures):
    """The mixtures' ratio, and a smallest cut that costs where neighbours look alike: a mask with few and good borders.

    gamma : price of a cut between equal neighbours, in units of log odds. The rest as in `ColourMixtures`.

    Source: Rother, Kolmogorov and Blake, GrabCut (SIGGRAPH 2004), with 4 neighbours, from the frame instead of a hand-drawn box.
    """

    gamma: float = 50.0

    def _one(self, image: Array) -> Mask:
        ratio = _ratio(image, self)
        ratio[_frame(ratio.shape, self.frame)] = -1e3
        return _tidy(_cut(rgb2lab(image), ratio, self.gamma), self.smooth)


def _each(images: Tensor, one: Callable[[Array], Mask], settings: ColourMixtures) -> Tensor:
    check_images(images, smallest=16)
    if settings.components < 1 or settings.rounds < 1 or not 0 < settings.frame < 0.5:
        raise ValueError(
            f"components is {settings.components}, rounds {settings.rounds}, frame {settings.frame}: expected 1 or more, and a share "
            "in (0,0.5)."
        )
    masks = [one(image) for image in images.detach().cpu().double().movedim(1, -1).numpy()]
    return torch.from_numpy(np.stack(masks)).to(images.device)


def _frame(shape: tuple[int, ...], share: float) -> Mask:
    """Mark the frame of a picture (H,W), at least a pixel wide."""
    inside = np.zeros(shape, bool)
    y, x = (max(1, round(share * side)) for side in shape)
    inside[y:-y, x:-x] = True
    return ~inside


def _ratio(image: Array, settings: ColourMixtures) -> Array:
    """Return the log ratio of both mixtures (H,W), positive where a pixel of the image (H,W,3) looks like the object."""
    pixels = rgb2lab(image).reshape(-1, 3)
    frame = _frame(image.shape[:2], settings.frame).ravel()
    rng = np.random.default_rng(settings.seed)
    outside = _mixture(pixels[frame], settings, rng).score_samples(pixels)
    # What the frame's colours explain worst is the first guess of the object.
    inside = ~frame & (outside < np.quantile(outside[frame], 0.05))
    ratio = np.where(inside, 1.0, -1.0)
    for _ in range(settings.rounds):
        if not (inside.any() and (~inside).any()):
            break
        fore, back = (_mixture(pixels[part], settings, rng) for part in (inside, ~inside))
        ratio = fore.score_samples(pixels) - back.score_samples(pixels)
        inside = (ratio > 0) & ~frame
    return ratio.reshape(image.shape[:2])


def _mixture(points: Array, settings: ColourMixtures, rng: np.random.Generator) -> GaussianMixture:
    sample = points[rng.choice(len(points), SAMPLE, replace=False)] if len(points) > SAMPLE else points
    n = min(settings.components, len(np.unique(sample, axis=0)))
    model = GaussianMixture(n, reg_covar=1.0, max_iter=30, tol=1e-2, random_state=int(rng.integers(2**31)))
    if len(sample) == 1:  # a mixture wants two points
        sample = np.repeat(sample, 2, axis=0)
    return model.fit(sample)


def _cut(lab: Array, ratio: Array, gamma: float) -> Mask:
    """Return the side of the object of the smallest cut: log odds `ratio` a pixel, gamma · exp(−Δ²/2Δ̄²) a pair of neighbours."""
    height, width = ratio.shape
    nodes = np.arange(height * width).reshape(height, width)
    pairs = [(nodes[:-1].ravel(), nodes[1:].ravel()), (nodes[:, :-1].ravel(), nodes[:, 1:].ravel())]
    a, b = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    flat = lab.reshape(-1, 3)
    steps = ((flat[a] - flat[b]) ** 2).sum(axis=1)
    price = gamma * np.exp(-steps / max(2 * steps.mean(), 1e-12))
    source, sink, odds = height * width, height * width + 1, ratio.ravel()
    inner = np.arange(height * width)
    rows = np.concatenate([a, b, np.full(len(inner), source), inner])
    columns = np.concatenate([b, a, inner, np.full(len(inner), sink)])
    capacity = np.concatenate([price, price, np.clip(odds, 0, None), np.clip(-odds, 0, None)])
    whole = np.minimum(np.round(1000 * capacity), 2**30).astype(np.int32)  # the solver counts in integers
    graph = csr_array((whole, (rows, columns)), shape=(sink + 1, sink + 1))
    left = graph - maximum_flow(graph, source, sink).flow
    left.data = np.where(left.data > 0, left.data, 0)
    left.eliminate_zeros()
    reached = breadth_first_order(left, source, return_predecessors=False)
    mask = np.zeros(sink + 1, bool)
    mask[reached] = True
    return mask[: height * width].reshape(height, width)


def _tidy(mask: Mask, smooth: float) -> Mask:
    """Open, close, fill holes, and drop what is smaller than 1 % of the picture."""
    radius = max(1, round(smooth * min(mask.shape) / 100))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = y * y + x * x <= radius * radius
    padded = np.pad(mask, 2 * radius, mode="edge")
    whole = binary_closing(binary_opening(padded, disc), disc)[
        2 * radius : -2 * radius, 2 * radius : -2 * radius
    ]
    parts, n = label(binary_fill_holes(whole))
    large = np.bincount(parts.ravel(), minlength=n + 1) >= 0.01 * mask.size
    large[0] = False
    return large[parts]


# Segment Anything, for the papers' own data ------------------------------------------------------------------


class SegmentAnything(nn.Module):
    """SAM asked for what a box a little smaller than the picture holds; of its three answers the one it trusts most.

    Takes a `SamModel` of the library transformers; normalises inside. inset : distance of the box from the border, a share of the side.
    Source: Kirillov et al., Segment Anything (ICCV 2023); FOCT, Sec. 4.1, which leaves the prompt open.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, sam: Any, inset: float = 0.03) -> None:
        """Freeze the model. Raises ValueError for an inset outside [0,0.5)."""
        super().__init__()
        if not 0 <= inset < 0.5:
            raise ValueError(f"inset is {inset}: expected a share of the side in [0,0.5).")
        self.sam: Any = sam.eval().requires_grad_(False)
        self.side, self.inset = int(sam.config.vision_config.image_size), inset
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Segment images (N,3,H,W) in [0,1]: (N,H,W) bool. One at a time; the longer side becomes the model's, the rest is padded."""
        check_images(images, smallest=16)
        return torch.cat([self._one(image) for image in images.split(1)])

    @torch.no_grad()
    def _one(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        h, w = (max(1, round(side * self.side / max(height, width))) for side in (height, width))
        small = F.interpolate((image - self.mean) / self.std, (h, w), mode="bilinear", antialias=True)
        edge_x, edge_y = self.inset * w, self.inset * h
        box = small.new_tensor([[[edge_x, edge_y, w - edge_x, h - edge_y]]])
        said = self.sam(
            pixel_values=F.pad(small, (0, self.side - w, 0, self.side - h)),
            input_boxes=box,
            multimask_output=True,
        )
        best = said.pred_masks[0, 0, int(said.iou_scores[0, 0].argmax())]
        whole = F.interpolate(best[None, None], (self.side, self.side), mode="bilinear")[..., :h, :w]
        return F.interpolate(whole, (height, width), mode="bilinear")[:, 0] > 0


def segment_anything(
    name: str = "facebook/sam-vit-base",
    revision: str = "70c1a07f894ebb5b307fd9eaaee97b9dfc16068f",
    device: torch.device | str | None = None,
) -> SegmentAnything:
    """Load SAM through transformers; fetched once, then cached.

    name : a model of the Hugging Face hub, or a folder that `save_pretrained` wrote. revision : the commit that names the weights by
    their SHA-256, which the file must have; another one is other weights, so print it beside a result.

    Raises ValueError without the library transformers, for weights that cannot be loaded, as without a network, and for damaged ones.
    """
    try:
        from huggingface_hub import hf_hub_download
        from transformers import SamModel
    except ImportError as error:
        raise ValueError(
            "SAM is loaded by the library transformers, which is not installed: run pip install transformers, or segment with "
            "GrabCut() or ColourMixtures()."
        ) from error
    try:
        if not Path(name).is_dir():
            file = Path(hf_hub_download(name, "model.safetensors", revision=revision))
            # The hub's cache calls a file of weights by the SHA-256 that the commit names.
            check_hash(file, file.resolve().name)
        sam = SamModel.from_pretrained(name, revision=revision)
    except OSError as error:
        raise ValueError(
            f"the weights {name!r} at revision {revision} cannot be loaded: {error}. Give a name on the hub, with a network, or a "
            "folder with config.json and model.safetensors."
        ) from error
    return SegmentAnything(sam).to(device)
