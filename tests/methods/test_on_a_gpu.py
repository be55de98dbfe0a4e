"""Methods that train a network keep CUDA's rules about devices, enforced without a GPU."""

import pytest
import torch

from otad import methods

from ..pretended_gpu import pretended_gpu
from .density.test_panda import network
from .distillation.test_vitad import transformer


def made(name, device):
    """Each method at a size of a second, its network on a device."""
    net = network().to(device)
    return {
        "PANDA": lambda: methods.PANDA(net, epochs=1, batch_size=3),
        "FYD": lambda: methods.FYD(net, epochs=1, batch_size=3),
        "CutPaste": lambda: methods.CutPaste(
            net, hidden=8, patch_size=32, stride=16, epochs=1, steps=2, batch_size=3
        ),
        "NSA": lambda: methods.NSA(net, width=4, epochs=1, batch_size=3),
        "DRAEM": lambda: methods.DRAEM(
            torch.rand(2, 3, 20, 20), width=2, judge_width=2, epochs=1, batch_size=3
        ),
        "ViTAD": lambda: methods.ViTAD(
            transformer().to(device), width=8, heads=2, depth=2, stages=2, epochs=1, batch_size=3
        ),
        "PatchSVDD": lambda: methods.PatchSVDD(
            32, (16, 16), dimension=4, width=2, epochs=1, crops=2, batch_size=4
        ),
    }[name]()


@pytest.mark.parametrize("name", ["PANDA", "FYD", "CutPaste", "NSA", "DRAEM", "PatchSVDD", "ViTAD"])
def test_a_method_learns_and_scores_where_its_pictures_are(name):
    pictures = torch.rand(4, 3, 64, 72, generator=torch.Generator().manual_seed(0))
    with pretended_gpu():
        there = pictures.to("cuda")
        scores = made(name, "cuda").fit(there).score(there[:2])
        assert scores.maps.is_cuda
        assert scores.image_scores.is_cuda
        assert scores.maps.shape == (2, 64, 72)
