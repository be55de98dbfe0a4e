"""Small things that the tests of students and teachers share."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from otad.features.pretrained import Backbone

GOLDEN = Path(__file__).parents[2] / "golden"


def golden(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {k: torch.from_numpy(np.asarray(file[k])) for k in file}


def levels(values, who, n):
    return [values[f"{who}{k}"] for k in range(n)]


def tiny(strides=(2, 4, 8)):
    """Three stages with weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        stages = {}
        for stride, c_in, c_out in ((2, 3, 5), (4, 5, 6), (8, 6, 7)):
            conv = nn.Conv2d(c_in, c_out, 3, 2, 1, bias=False)
            stages[stride] = nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.LeakyReLU(0.1))
        return Backbone("tiny", "random", stages, strides, (0.5,) * 3, (0.25,) * 3)


def pictures(n, seed=0, size=(24, 40)):
    """Waves of any phase, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    phase = 2 * torch.pi * torch.rand(n, 1, 1, 1, generator=generator)
    waves = 0.5 + 0.2 * torch.sin(torch.arange(size[1]) * 0.3 + phase)
    return waves + 0.1 * torch.rand(n, 3, *size, generator=generator)


def odd(seed=1, size=(24, 40)):
    """Two pictures, the second with a square of wild colours at rows 8 to 15, columns 16 to 23."""
    both = pictures(2, seed, size)
    both[1, :, 8:16, 16:24] = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(5))
    return both


def found(maps):
    """Whether the largest value of the second map is in the square or beside it."""
    y, x = divmod(int(maps[1].argmax()), maps.shape[2])
    return 5 <= y < 19 and 13 <= x < 27


def weights(net):
    return torch.cat([p.detach().flatten().double() for p in net.state_dict().values()])
