"""The benchmark's methods keep CUDA's rules about devices, from the first picture to a file and back."""

import pytest
import torch
import torch.nn.functional as F

from otad.methods import (
    DFR,
    KDAD,
    STPM,
    CSFlow,
    Glance,
    ReverseDistillation,
    UniAD,
    load,
    save,
)

from ..pretended_gpu import pretended_gpu
from .distillation.networks import pictures, tiny


def pooled(images):
    return [F.avg_pool2d(images, 4)]


MADE = {
    "CSFlow": (pooled, lambda net: CSFlow(net, hidden=4, blocks=1, epochs=1)),
    "DFR": (pooled, lambda net: DFR(net, epochs=1, sigma=1.0)),
    "Glance": (tiny, lambda net: Glance(net, size=4, hidden=4, epochs=1)),
    "KDAD": (tiny, lambda net: KDAD(net, hidden=4, epochs=1)),
    "STPM": (tiny, lambda net: STPM(net, epochs=1, sigma=1.0)),
    "ReverseDistillation": (tiny, lambda net: ReverseDistillation(net, epochs=1)),
    "UniAD": (
        tiny,
        lambda net: UniAD(net, (4, 6), 3, hidden=8, heads=2, layers=1, feedforward=8, epochs=1),
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_all_is_where_the_pictures_are(name, tmp_path):
    backbone, make = MADE[name]
    with pretended_gpu():
        images = pictures(4, size=(32, 48)).to("cuda")
        net = backbone if backbone is pooled else backbone().to("cuda")
        method = make(net).fit(images)
        scores = method.score(images[:2])
        assert scores.maps.is_cuda
        assert scores.image_scores.is_cuda
        save(method, tmp_path / "one")
        again = load(tmp_path / "one", net, "cuda").score(images[:2])
        assert torch.equal(again.maps, scores.maps)
