"""What page 25 opens: two channels at one place, a network that is tuned epoch by epoch, and pictures whose pose varies."""

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from otad.data.drawn import scenes
from otad.features.pretrained import Backbone
from otad.methods.density.panda import compactness, elasticity
from otad.methods.nearest import nearest
from otad.methods.training import descend
from otad.metrics import image_auroc

# Two features of one place --------------------------------------------------------------------------------


def busiest(masks: Tensor, size: tuple[int, int]) -> tuple[int, int]:
    """Return the place of a map (h,w) that lies in most of the masks (N,H,W), the first of several."""
    covered = torch.nn.functional.adaptive_avg_pool2d(masks[:, None].float(), size)[:, 0] > 0.5
    best = int(covered.float().mean(dim=0).flatten().argmax())
    return divmod(best, size[1])


def most_alike(points: Tensor) -> tuple[int, int]:
    """Return the two channels of points (n,C) that are correlated most, of either sign; channels that are constant never."""
    centred = points - points.mean(dim=0)
    unit = centred / centred.norm(dim=0).clamp_min(1e-12)
    strength = (unit.T @ unit).abs().fill_diagonal_(0)
    return divmod(int(strength.argmax()), len(strength))


def distances(points: Tensor, normal: Tensor, ridge: float = 0.0) -> dict[str, Tensor]:
    """Return how far points (n,C) are from the normal ones (m,C): Euclid's and Mahalanobis' distance to their mean, and to the nearest."""
    mean, away = normal.mean(dim=0), normal - normal.mean(dim=0)
    covariance = away.T @ away / (len(normal) - 1) + ridge * torch.eye(normal.shape[1]).to(normal)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), (points - mean).T, upper=False)
    nearby = nearest(points, normal)[0][:, 0]
    return {"Euclid": (points - mean).norm(dim=1), "Mahalanobis": white.norm(dim=0), "nearest": nearby}


# Neighbours of a picture ----------------------------------------------------------------------------------


def by_neighbours(train: Tensor, test: Tensor, labels: Tensor, ks: tuple[int, ...]) -> dict[int, float]:
    """Return the image AUROC (%) of the mean squared distance of pooled features (M,C) to the k nearest of (N,C), for each k."""
    far = nearest(test, train, min(max(ks), len(train)))[0].square()
    return {k: 100 * image_auroc(far[:, :k].mean(dim=1), labels) for k in ks if k <= len(train)}


def tuned(
    net: Backbone,
    before: Tensor,
    epochs: int,
    lr: float,
    clip: float | None = None,
    hold: float = 0.0,
    seed: int = 0,
    batch_size: int = 16,
) -> Iterator[tuple[float, nn.Module]]:
    """Tune the last stage of a network as PANDA does, and yield it with its loss before the first and after each epoch.

    before : (N,C,h,w), what the stage before the last makes of the training pictures: that part is not tuned, and looks once.
    clip : largest norm of a gradient. hold : how strongly each weight is held where it was, PANDA's elastic term with all weights alike
    (the paper weighs them by what ImageNet's classifier needs).
    """
    stage = copy.deepcopy(list(net.stages.values())[-1])
    weights = dict(stage.named_parameters())
    start = {name: weight.detach().clone() for name, weight in weights.items()}
    alike = {name: torch.ones_like(weight) for name, weight in start.items()}
    with torch.no_grad():
        features = stage(before).mean(dim=(2, 3))
        centre = features.mean(dim=0)
    yield float(compactness(features, centre)), stage
    for weight in weights.values():
        weight.requires_grad_()
    optimiser = torch.optim.SGD(stage.parameters(), lr, momentum=0.9, weight_decay=5e-5)
    generator = torch.Generator().manual_seed(seed)

    def losses() -> Iterator[Tensor]:
        for b in torch.randperm(len(before), generator=generator).split(batch_size):
            loss = compactness(stage(before[b]).mean(dim=(2, 3)), centre)
            yield loss + hold / 2 * elasticity(weights, start, alike) if hold else loss

    for epoch in range(1, epochs + 1):
        yield descend(optimiser, losses(), epoch, clip), stage


@torch.no_grad()
def judged(stage: nn.Module, train: Tensor, test: Tensor, labels: Tensor, k: int = 2) -> dict[str, float]:
    """Return of a tuned stage the image AUROC (%) by k neighbours, and the mean squared distance of good and bad pictures to them."""
    known, asked = (stage(maps).mean(dim=(2, 3)) for maps in (train, test))
    far = nearest(asked, known, min(k, len(known)))[0].square().sum(dim=1)
    means = {"good": float(far[~labels].mean()), "bad": float(far[labels].mean())}
    return {"AUROC": 100 * image_auroc(far, labels)} | means


# Where pose varies ----------------------------------------------------------------------------------------


def wandering(
    name: str, side: int, counts: Mapping[str, int], wander: float, seed: int
) -> scenes.AnnotatedDataset:
    """Draw a scene whose object is put down `wander` times as inexactly as usual; only structural defects, which no pose explains."""
    kinds = scenes.STRUCTURAL[name]
    return scenes.load(
        name, side, counts["train"], counts["good"], counts["each"], defects=kinds, seed=seed, wander=wander
    )
