"""The benchmark's scheme in parts that can be exchanged: what page 20 puts together.

Representation: an extractor says features, an estimator sums up the normal ones, a distance says how far a new one is. Reconstruction: a
generator gives the picture back, and the difference tells. Nothing here is stored: every number is computed when the page is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from otad.data import Dataset
from otad.features import handcrafted
from otad.methods import PaDiM
from otad.methods.density.gaussian import gaussian, improbability
from otad.methods.nearest import nearest
from otad.metrics import image_auroc, pixel_auroc
from otad.scale import device
from otad.studies import Row
from otad.studies.sight import pca_rgb

Extractor = Callable[[Tensor], Sequence[Tensor]]
ESTIMATES = ("one centre", "one Gaussian", "a Gaussian a place", "all vectors")


@dataclass
class LinearGenerator:
    """The simplest generator: a picture is its mean and `numbers` principal components, and comes back from those.

    numbers : of the code. mean_ : (3HW,), basis_ : (3HW,numbers), orthonormal, shape_ : of a picture.
    """

    numbers: int = 10

    def fit(self, images: Tensor) -> LinearGenerator:
        """Learn from normal images (N,3,H,W); ValueError unless there are more of them than numbers."""
        if not 1 <= self.numbers < len(images):
            raise ValueError(
                f"{len(images)} images for a code of {self.numbers} numbers: expected more images than numbers."
            )
        flat = images.flatten(1)
        self.shape_, self.mean_ = images.shape[1:], flat.mean(0)
        self.basis_ = torch.linalg.svd(flat - self.mean_, full_matrices=False).Vh[: self.numbers].T
        return self

    def encode(self, images: Tensor) -> Tensor:
        """Return the codes of images (N,3,H,W): (N,numbers)."""
        return (images.flatten(1) - self.mean_) @ self.basis_

    def decode(self, codes: Tensor) -> Tensor:
        """Return the pictures of codes (N,numbers): (N,3,H,W); some values may lie outside [0,1]."""
        return (self.mean_ + codes @ self.basis_.T).unflatten(1, self.shape_)


def difference(images: Tensor, rebuilt: Tensor) -> Tensor:
    """Return the mean over colours of the squared difference, place by place: (N,3,H,W) twice → (N,H,W)."""
    return (images - rebuilt).square().mean(1)


def same_colours(*maps: Tensor) -> list[Tensor]:
    """Return maps (C,h,w), all of one size, as colours (h,w,3): the main directions of all together, so that equal vectors look equal."""
    seen = pca_rgb(torch.cat(maps, dim=2))
    return list(seen.split(maps[0].shape[2], dim=1))


def extractors(net: Extractor) -> dict[str, Extractor]:
    """Return what may stand in the first place of the scheme, each with one map, at stride 8; net has strides 8 and 16."""
    return {
        "colours": lambda x: [F.avg_pool2d(handcrafted.colours(x), 8)],
        "filters": lambda x: [F.avg_pool2d(handcrafted.steerable_pyramid(x), 8)],
        "network, stride 8": lambda x: net(x)[:1],
        "network, stride 16": lambda x: [F.interpolate(net(x)[1], scale_factor=2.0, mode="nearest")],
    }


@torch.no_grad()
def estimates(extractor: Extractor, train: Tensor, test: Tensor) -> dict[str, Tensor]:
    """Return a map (M,h,w) of test images (M,3,H,W) for each of ESTIMATES, learnt from train (N,3,H,W): how far each place is.

    The distances are those that belong to them: Euclid's from the centre, Mahalanobis' from a Gaussian, Euclid's to the nearest vector.
    """
    learnt, asked = (torch.cat([extractor(few)[0] for few in x.split(16)]) for x in (train, test))
    normal, (m, _, h, w) = learnt.movedim(1, -1).flatten(0, 2), asked.shape
    queries = asked.movedim(1, -1).flatten(0, 2)
    local = PaDiM(extractor, dimension=None, epsilon=float(0.1 * normal.var(0).mean()), sigma=None).fit(train)
    flat = {
        "one centre": torch.linalg.vector_norm(queries - normal.mean(0), dim=1),
        "one Gaussian": (2 * improbability(queries, *gaussian(normal))).clamp_min(0).sqrt(),
        "a Gaussian a place": local.distances(test).flatten(),
        "all vectors": nearest(queries, normal)[0][:, 0],
    }
    return {name: flat[name].view(m, h, w) for name in ESTIMATES}


def grid(net: Extractor, data: Dataset, seed: int) -> Iterator[Row]:
    """Yield a row a pair of extractor and estimator: image and pixel AUROC in percent of one class and seed. net as in `extractors`."""
    size = (data.test.shape[-2], data.test.shape[-1])
    train, test = data.train.to(device()), data.test.to(device())
    for extractor, see in extractors(net).items():
        for estimator, small in estimates(see, train, test).items():
            maps = F.interpolate(small[:, None], size, mode="bilinear", align_corners=False)[:, 0].cpu()
            yield {
                "class": data.name,
                "seed": seed,
                "extractor": extractor,
                "estimator": estimator,
                "image": 100 * float(image_auroc(maps.amax((1, 2)), data.labels)),
                "pixel": 100 * float(pixel_auroc(maps, cast(Tensor, data.masks))),
            }


def board(
    methods: str, schools: Mapping[str, str], homes: Mapping[str, str], named: Mapping[str, str]
) -> pd.DataFrame:
    """Return what stands in the places of the scheme: a row a line of `methods`, cells set apart by "|", the school after the name.

    schools: key of a method, its second cell, to its school. homes: name of a method here to its module, the last column; named: those
    whose name is another one here.
    """
    columns = ["method", "school", "extractor or generator", "estimate", "distance or difference"]
    lines = [[cell.strip() for cell in line.split("|")] for line in methods.strip().splitlines()]
    found = pd.DataFrame(lines, columns=columns)
    found["school"] = found["school"].map(dict(schools))
    modules = [homes.get(named.get(name, name), "–") for name in found["method"]]
    return found.assign(here=[module.removeprefix("otad.methods.") for module in modules])
