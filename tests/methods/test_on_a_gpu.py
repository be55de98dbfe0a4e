"""Methods that train a network keep CUDA's rules about devices, enforced without a GPU: from the first picture to a file and back."""

import pytest
import torch
import torch.nn.functional as F

from otad import methods
from otad.methods import load, save

from ..pretended_gpu import pretended_gpu
from .density.test_panda import network
from .distillation.networks import pictures, tiny
from .distillation.test_vitad import transformer


def pooled():
    return lambda images: [F.avg_pool2d(images, 4)]


SMALL, LARGE = (32, 48), (64, 72)
ONE = {"epochs": 1, "batch_size": 3}
# Each at a size of a second: its backbone if it takes one, the size of its pictures, the method.
MADE = {
    "PANDA": (network, LARGE, lambda net: methods.PANDA(net, **ONE)),
    "FYD": (network, LARGE, lambda net: methods.FYD(net, **ONE)),
    "CSFlow": (pooled, SMALL, lambda net: methods.CSFlow(net, hidden=4, blocks=1, epochs=1)),
    "Glance": (tiny, SMALL, lambda net: methods.Glance(net, size=4, hidden=4, epochs=1)),
    "KDAD": (tiny, SMALL, lambda net: methods.KDAD(net, hidden=4, epochs=1)),
    "STPM": (tiny, SMALL, lambda net: methods.STPM(net, epochs=1, sigma=1.0)),
    "ReverseDistillation": (tiny, SMALL, lambda net: methods.ReverseDistillation(net, epochs=1)),
    "UniAD": (
        tiny,
        SMALL,
        lambda net: methods.UniAD(net, (4, 6), 3, hidden=8, heads=2, layers=1, feedforward=8, epochs=1),
    ),
    "ViTAD": (
        transformer,
        LARGE,
        lambda net: methods.ViTAD(net, width=8, heads=2, depth=2, stages=2, **ONE),
    ),
    "DFR": (pooled, SMALL, lambda net: methods.DFR(net, epochs=1, sigma=1.0)),
    "DRAEM": (
        None,
        LARGE,
        lambda net: methods.DRAEM(torch.rand(2, 3, 20, 20), width=2, judge_width=2, **ONE),
    ),
    "CutPaste": (
        network,
        LARGE,
        lambda net: methods.CutPaste(net, hidden=8, patch_size=32, stride=16, steps=2, **ONE),
    ),
    "NSA": (network, LARGE, lambda net: methods.NSA(net, width=4, **ONE)),
    "PatchSVDD": (
        None,
        LARGE,
        lambda net: methods.PatchSVDD(32, (16, 16), dimension=4, width=2, crops=2, **ONE),
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_all_is_where_the_pictures_are(name, tmp_path):
    backbone, size, make = MADE[name]
    with pretended_gpu():
        images = pictures(4, size=size).to("cuda")
        net = backbone and backbone()
        net = net.to("cuda") if isinstance(net, torch.nn.Module) else net
        method = make(net).fit(images)
        scores = method.score(images[:2])
        assert scores.maps.is_cuda
        assert scores.image_scores.is_cuda
        assert scores.maps.shape == (2, *size)
        save(method, tmp_path / "one")
        again = load(tmp_path / "one", net, "cuda").score(images[:2])
        assert torch.equal(again.maps, scores.maps)
