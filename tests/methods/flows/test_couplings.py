import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from otad.methods.flows.couplings import AllInOne, Flow, Glow, convolutions, linear

GOLDEN = Path(__file__).parents[2] / "golden"


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {k: torch.from_numpy(np.asarray(file[k])) for k in file}


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def filled(block, values, prefix):
    """A coupling with the weights of a golden block."""
    with torch.no_grad():
        for k, layer in enumerate(block.subnet):
            if hasattr(layer, "weight"):
                layer.weight.copy_(values[f"{prefix}_subnet_{k}.weight"])
                layer.bias.copy_(values[f"{prefix}_subnet_{k}.bias"])
        block.global_scale.copy_(values[f"{prefix}_global_scale"])
        block.global_offset.copy_(values[f"{prefix}_global_offset"])
        block.permutation.copy_(values[f"{prefix}_permutation"])
    return block


def fastflow():
    g = load("fastflow")
    sizes = g["kernel_sizes"].tolist()
    blocks = [
        filled(AllInOne(7, convolutions(k), float(g["clamp"])), g, f"step{i}") for i, k in enumerate(sizes)
    ]
    return g, Flow(blocks)


def cflow():
    g = load("cflow")
    blocks = [
        filled(AllInOne(11, linear(), float(g["clamp"]), condition=8), g, f"block{i}") for i in range(3)
    ]
    return g, Flow(blocks)


def differnet():
    g = load("differnet")

    def subnet(width, out):
        sizes = [width, 6, 6, 6, out]
        layers = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    blocks = []
    for i in range(2):
        block = Glow(11, subnet, float(g["clamp"]))
        with torch.no_grad():
            block.permutation.copy_(g[f"block{i}_permutation"])
            for part, net in (("s1", block.of_first), ("s2", block.of_second)):
                for name, k in (("fc1", 0), ("fc2", 2), ("fc2b", 4), ("fc3", 6)):
                    net[k].weight.copy_(g[f"block{i}_{part}_{name}_weight"])
                    net[k].bias.copy_(g[f"block{i}_{part}_{name}_bias"])
        blocks.append(block)
    return g, Flow(blocks)


def test_public_code_gives_the_same_on_maps():
    g, flow = fastflow()
    z, log_det = flow(g["x"])
    torch.testing.assert_close(z, g["z"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(log_det, g["log_det"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(flow.inverse(z), g["x"], rtol=0, atol=1e-5)


def test_public_code_gives_the_same_on_fibres_with_a_condition():
    g, flow = cflow()
    z, log_det = flow(g["x"], g["condition"])
    torch.testing.assert_close(z, g["z"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(log_det, g["log_det"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(flow.inverse(z, g["condition"]), g["x"], rtol=0, atol=1e-5)


def test_public_code_gives_the_same_by_glow():
    g, flow = differnet()
    z, log_det = flow(g["x"])
    torch.testing.assert_close(z, g["z"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(log_det, g["log_det"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(flow.inverse(z), g["x"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 5), (1, 5, 2, 3)])
@pytest.mark.parametrize("kind", [AllInOne, Glow])
def test_the_log_determinant_is_autograd_s(kind, shape):
    subnet = linear() if len(shape) == 2 else convolutions(3)
    flow = Flow([kind(5, subnet, seed=s) for s in range(2)]).double()
    x = rand(*shape).double()
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v.view(shape))[0].flatten(), x.flatten())
    torch.testing.assert_close(flow(x)[1][0], torch.linalg.slogdet(jacobian).logabsdet)


@pytest.mark.parametrize("kind", [AllInOne, Glow])
def test_flows_invert(kind):
    flow = Flow([kind(7, convolutions(3), seed=s) for s in range(8)])
    x = rand(3, 7, 5, 6)
    torch.testing.assert_close(flow.inverse(flow(x)[0]), x, rtol=0, atol=1e-5)


def test_a_block_starts_with_a_scale_of_one():
    block = AllInOne(4, linear())
    nn.init.zeros_(block.subnet[-1].weight)
    nn.init.zeros_(block.subnet[-1].bias)
    x = rand(6, 4)
    z, log_det = block(x)
    torch.testing.assert_close(z, x[:, block.permutation])
    torch.testing.assert_close(log_det, torch.zeros(6), rtol=0, atol=1e-5)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="channels is 1"):
        AllInOne(1, linear())
    with pytest.raises(ValueError, match="clamp 0"):
        Glow(4, linear(), clamp=0.0)
