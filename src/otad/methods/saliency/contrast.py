"""Saliency by global contrast: what stands out by its colour, pixel by pixel or region by region.

Cheng et al., Global Contrast Based Salient Region Detection (CVPR 2011; PAMI 2015): HC and RC, Sec. 3 and 4
of the first version, by which equations are numbered here. FCA takes RC for a zero-shot detector (Table 3);
its authors warn that textures defeat it: they are full of contrast. Colours are compared in CIE Lab (D65),
where a distance of 1 is barely visible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from skimage.color import rgb2lab
from skimage.segmentation import felzenszwalb
from torch import Tensor

from otad.checks import checked
from otad.features import check_images
from otad.features.handcrafted import minmax
from otad.methods import Scores

Array = NDArray[np.float64]


@checked
@dataclass
class HistogramContrast:
    """HC: a colour is salient if it is far from the colours of the other pixels.

    levels    : of each channel, by which RGB is quantised; 12.
    coverage  : share of the pixels whose colours are kept, the most frequent first; the others become the
                nearest kept colour; 0.95.
    normalise : stretch each map to [0,1], as the paper; image scores are taken before, or all would be 1.
    """

    levels: int = 12
    coverage: float = 0.95
    normalise: bool = True

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each from itself alone, on the CPU.

        Maps are in [0,1], or with normalise=False mean distances in Lab. Raises ValueError for bad images,
        levels < 1 and a coverage outside (0,1].
        """
        return _scores(images, self._map, self.normalise)

    def _map(self, image: Array) -> Array:
        labels, colours, shares = palette(image, self.levels, self.coverage)
        return colour_contrast(colours, shares)[labels]


@checked
@dataclass
class RegionContrast:
    """RC: a region is salient if large regions nearby have other colours.

    levels, coverage, normalise : as in `HistogramContrast`.
    sigma_s2 : σ_s², how far regions reach; distances are in sides of the image; 0.4.
    scale, sigma, min_size : of the graph-based segmentation, Felzenszwalb and Huttenlocher (IJCV 2004), in
               scikit-image's terms; the paper names none.
    """

    levels: int = 12
    coverage: float = 0.95
    sigma_s2: float = 0.4
    scale: float = 50.0
    sigma: float = 0.5
    min_size: int = 200
    normalise: bool = True

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each from itself alone, on the CPU.

        Maps are in [0,1], or with normalise=False weighted mean distances in Lab; an image that is one region
        is 0 throughout. Raises ValueError as `HistogramContrast.score`, and for sigma_s2 ≤ 0.
        """
        if not self.sigma_s2 > 0:
            raise ValueError(f"sigma_s2 is {self.sigma_s2}: expected a squared width > 0, such as 0.4.")
        if not (0 < self.scale < np.inf and 0 <= self.sigma < 1000 and self.min_size >= 0):
            raise ValueError(
                f"scale is {self.scale}, sigma {self.sigma}, min_size {self.min_size}: expected a finite scale > 0, a sigma "
                "in [0,1000) pixels and a min_size ≥ 0."
            )
        return _scores(images, self._map, self.normalise)

    def _map(self, image: Array) -> Array:
        labels, colours, _ = palette(image, self.levels, self.coverage)
        regions = felzenszwalb(image, scale=self.scale, sigma=self.sigma, min_size=self.min_size)
        return region_contrast(regions, labels, colours, self.sigma_s2)[regions]


def palette(image: Array, levels: int, coverage: float) -> tuple[NDArray[np.int64], Array, Array]:
    """Quantise an image (H,W,3) to its frequent colours.

    Sec. 3.2: the most frequent quantised colours that cover `coverage` of the pixels are kept, each as the mean
    Lab colour of its pixels; a pixel of another colour is given to the nearest kept one.

    Returns labels (H,W), colours (n,3) in Lab, and shares (n,) of the pixels, which sum to 1.
    """
    if levels < 1 or not 0 < coverage <= 1:
        raise ValueError(
            f"levels is {levels}, coverage {coverage}: expected at least 1 and a share in (0,1], as 12 and 0.95."
        )
    bins = np.minimum((image * levels).astype(int), levels - 1) @ [levels**2, levels, 1]
    _, inverse, counts = np.unique(bins, return_inverse=True, return_counts=True)
    inverse, lab = inverse.ravel(), rgb2lab(image).reshape(-1, 3)
    means = np.stack([np.bincount(inverse, lab[:, c]) for c in range(3)], axis=1) / counts[:, None]
    order = np.argsort(-counts, kind="stable")
    kept = order[: 1 + int(np.searchsorted(np.cumsum(counts[order]), coverage * counts.sum()))]
    nearest = cdist(means, means[kept]).argmin(axis=1)
    labels = nearest[inverse]
    shares = np.bincount(labels, minlength=len(kept)) / len(labels)
    return labels.reshape(image.shape[:2]), means[kept], shares


def colour_contrast(colours: Array, shares: Array) -> Array:
    """Return the saliency (n,) of each of n Lab colours.

    Eq. 3: S(c) = Σ_j f_j D(c, c_j), then the mean over the n/4 nearest colours, weighted linearly by
    nearness (Eq. 4), so that similar colours get similar values.
    """
    distances = cdist(colours, colours)
    contrast = distances @ shares
    m = max(2, len(colours) // 4)
    if len(colours) < m:
        return contrast
    near = np.argsort(distances, axis=1, kind="stable")[:, :m]
    d = np.take_along_axis(distances, near, axis=1)
    total = d.sum(axis=1)  # > 0: colours differ, and m ≥ 2
    return ((total[:, None] - d) * contrast[near]).sum(axis=1) / ((m - 1) * total)


def region_contrast(
    regions: NDArray[np.int64], labels: NDArray[np.int64], colours: Array, sigma_s2: float
) -> Array:
    """Return the saliency (R,) of regions 0 … R−1.

    Eq. 7: S(r) = Σ_{s ≠ r} exp(−D_s(r,s) / σ_s²) w(s) D_r(r,s): D_s is the distance of the centroids, w(s) the
    share of the pixels in s (the paper: their number, which only scales the map), and D_r (Eq. 6) the mean
    distance between a colour of r and a colour of s. The centre prior of the later version is left out:
    defects do not prefer the middle.

    regions, labels : (H,W) numbers of region and colour. colours : (n,3) in Lab.
    """
    flat, n = regions.ravel(), int(regions.max()) + 1
    pixels = np.bincount(flat, minlength=n)
    counts = np.bincount(flat * len(colours) + labels.ravel(), minlength=n * len(colours))
    histograms = counts.reshape(n, -1) / pixels[:, None]
    apart = histograms @ cdist(colours, colours) @ histograms.T
    axes = [
        (i.ravel() + 0.5) / side for i, side in zip(np.indices(regions.shape), regions.shape, strict=True)
    ]
    centres = np.stack([np.bincount(flat, axis) for axis in axes], axis=1) / pixels[:, None]
    weights = np.exp(-cdist(centres, centres) / sigma_s2) * (pixels / pixels.sum())
    np.fill_diagonal(weights, 0)
    return (weights * apart).sum(axis=1)


def _scores(images: Tensor, one: Callable[[Array], Array], normalise: bool) -> Scores:
    """Apply a map of one image (H,W,3) to all, and bring the result back to device and dtype."""
    check_images(images)
    arrays = images.detach().cpu().double().permute(0, 2, 3, 1).contiguous().numpy()
    scores = Scores.of_maps(torch.from_numpy(np.stack([one(image) for image in arrays])).to(images))
    return Scores(minmax(scores.maps[:, None])[:, 0], scores.image_scores) if normalise else scores
