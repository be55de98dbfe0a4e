"""The six methods of the benchmark's Table 3 counted: parameters that training moves, numbers that are kept, operations a picture. Page 26.

All of it follows from shapes, so it is counted on tensors without numbers: networks of 1 GB are built in no memory and no time, and every
machine finds the same.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from inspect import unwrap
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from otad.features.pretrained import Backbone, wide_resnet50_2
from otad.features.zoo import alexnet, efficientnet_b5
from otad.methods import CFlow, DifferNet
from otad.methods.flows.cflow import densities
from otad.methods.memory.patchcore import patch_features
from otad.methods.nearest import nearest
from otad.studies import benchmark_clock as clocked

SETTING = clocked.setting("laptop")  # the papers' own sizes
ONE_DISTANCE, ALL = "SPADE, K = 50, one distance", "PatchCore, all"  # counted, not timed: 3.4 GB and 2


class Count(NamedTuple):
    """A configuration: trained parameters, numbers kept beside the frozen network, operations of both, and calls.

    Operations count a multiplication and an addition as two, in matrix products and convolutions only. Calls are torch's operations
    that compute: each starts at least one kernel on a GPU.
    """

    configuration: str
    trained: int
    kept: int
    network: int
    own: int
    calls: int


class Operations(TorchDispatchMode):
    """Add up operations by torch's own formulas, as its FlopCounterMode does, and calls: what computes something, not views or new memory."""

    def __init__(self) -> None:
        """Begin at none."""
        super().__init__()
        self.flops = self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do it, and count it."""
        kwargs = kwargs or {}
        done = func(*args, **kwargs)
        formula = flop_registry.get(func.overloadpacket)
        self.flops += formula(*args, **kwargs, out_val=done) if formula else 0
        self.calls += not (func.is_view or "empty" in func.name() or "detach" in func.name())
        return done


def operations(work: Callable[..., object], *args: Any) -> tuple[int, int]:
    """Return the operations and the calls of some work."""
    with Operations() as counted:
        work(*args)
    return counted.flops, counted.calls


def trained(module: nn.Module) -> int:
    """Return how many parameters training moves."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def stored(module: nn.Module, *more: Tensor) -> int:
    """Return how many numbers a module and some tensors hold: parameters and the matrices of permutations; indices do not count."""
    buffers = (b for b in module.buffers() if b.is_floating_point())
    return sum(t.numel() for t in (*module.parameters(), *buffers, *more))


# The frozen networks ------------------------------------------------------------------------------


@lru_cache(maxsize=3)
def network(build: Callable[..., Backbone]) -> Backbone:
    """Return a network of shapes, cut at strides 4, 8, 16 and 32."""
    return build((4, 8, 16, 32), weights=None).to("meta")


def look(net: Backbone, images: Tensor, *strides: int) -> list[Tensor]:
    """Return the network's maps of images (N,3,H,W) that have a shape only: `Backbone.forward` looks at their values first."""
    x, maps = images, []
    for stride, layers in net.stages.items():
        if int(stride) <= max(strides):
            x = layers(x)
            maps += [x] * (int(stride) in strides)
    return maps


def picture(side: int, views: int = 1) -> Tensor:
    """Return pictures (views,3,side,side) of no pixels."""
    return torch.empty(views, 3, side, side, device="meta")


def seen(build: Callable[..., Backbone], side: int, *strides: int) -> tuple[list[Tensor], int, int]:
    """Return the maps of a picture, and the network's operations and calls up to the last of them."""
    found, net = list[Tensor](), network(build)  # built before anything is counted
    flops, calls = operations(lambda: found.extend(look(net, picture(side), *strides)))
    return found, flops, calls


# The six methods ----------------------------------------------------------------------------------


def spades() -> Iterator[Count]:
    """Yield SPADE with both numbers of neighbours, and with one distance in the concatenation of all maps."""
    (*maps, deep), flops, calls = seen(wide_resnet50_2, SETTING["side"], 4, 8, 16, 32)
    n, (many, few) = SETTING["pictures"], SETTING["neighbours"]
    held = n * (deep.shape[1] + sum(m[0].numel() for m in maps))
    each = [(m.shape[1], m[0, 0].numel()) for m in maps]
    together = [(sum(c for c, _ in each), max(places for _, places in each))]
    names = (*clocked.CHOICES["spade"], ONE_DISTANCE)
    for name, k, sizes in zip(names, (many, few, many), (each, each, together), strict=True):
        own, more = operations(_searches, sizes, k)
        whole, first = operations(_search, 1, n, deep.shape[1], k)
        yield Count(name, 0, held, flops, own + whole, calls + more + first)


def patchcores() -> Iterator[Count]:
    """Yield PatchCore with each coreset; its Eq. 7, one query in 784, is left out."""
    maps, flops, calls = seen(wide_resnet50_2, SETTING["side"], 8, 16)
    channels, places = sum(m.shape[1] for m in maps), maps[0][0, 0].numel()
    _, joining = operations(unwrap(patch_features), maps)
    for name, share in zip((*clocked.CHOICES["patchcore"], ALL), (*SETTING["shares"], 1.0), strict=True):
        n = clocked.entries(maps[0], share, SETTING["pictures"])
        own, more = operations(_search, places, n, channels)
        yield Count(name, 0, n * channels, flops, own, calls + joining + more)


def _search(n: int, m: int, channels: int, k: int = 1) -> None:
    """Look for the k nearest of m points for each of n; the search itself, without its look at values, which shapes do not have."""
    queries, memory = (torch.empty(size, channels, device="meta") for size in (n, m))
    unwrap(nearest)(queries, memory, k)


def _searches(sizes: Sequence[tuple[int, int]], k: int) -> None:
    """Compare all places of each map, (channels, places), with all places of k neighbours."""
    for channels, places in sizes:
        _search(places, k * places, channels)


def cflows() -> Iterator[Count]:
    """Yield CFLOW, its permutations as matrices and as indices."""
    maps, flops, calls = seen(wide_resnet50_2, SETTING["side"], 8, 16, 32)
    for name, matrices in zip(clocked.CHOICES["cflow"], (True, False), strict=True):
        flows = clocked.cflow(_nobody, maps, matrices).flows_
        assert flows is not None
        own, more = operations(_each, partial(densities, positions=CFlow.positions), flows, maps)
        yield Count(name, trained(flows), stored(flows), flops, own, calls + more)


def fastflows() -> Iterator[Count]:
    """Yield FastFlow, its permutations as matrices and as indices."""
    maps, flops, calls = seen(wide_resnet50_2, SETTING["side"], 4, 8, 16)
    for name, matrices in zip(clocked.CHOICES["fastflow"], (True, False), strict=True):
        method = clocked.fastflow(_nobody, maps, matrices)
        assert method.flows_ is not None
        own, more = operations(_each, nn.Module.__call__, method.flows_, maps)
        held = stored(method.flows_, *method.mean_, *method.std_)
        yield Count(name, trained(method.flows_), held, flops, own, calls + more)


def _each(work: Callable[..., object], flows: Iterable[nn.Module], maps: Sequence[Tensor]) -> None:
    """Send each map through its flow."""
    for flow, m in zip(flows, maps, strict=True):
        work(flow, m)


def csflows() -> Iterator[Count]:
    """Yield CS-Flow's first release and today's."""
    sizes = [seen(efficientnet_b5, SETTING["large"] // 2**k, 32) for k in range(3)]
    maps = [found[0] for found, _, _ in sizes]
    flops, calls = sum(f for _, f, _ in sizes), sum(c for _, _, c in sizes)
    for name, last in zip(clocked.CHOICES["csflow"], (1, 5), strict=True):
        method = clocked.csflow(_nobody, maps, last)
        assert method.flow_ is not None
        assert method.mean_ is not None
        assert method.std_ is not None
        own, more = operations(method.flow_, maps)
        held = stored(method.flow_, method.mean_, method.std_)
        yield Count(name, trained(method.flow_), held, flops, own, calls + more)


def differnets() -> Iterator[Count]:
    """Yield DifferNet with its map, whose gradient goes back through flow and network at every view, and without."""
    net, views = network(alexnet), SETTING["views"]
    features = torch.cat(_pooled(net, 1), dim=1)
    flow = clocked.differnet(_nobody, features, 1).flow_
    assert flow is not None
    moved, held = trained(flow), stored(flow, features, features)
    flow.requires_grad_(False)  # a gradient in the pixels asks for none in the weights
    for name, times, together, gradient in (
        ("DifferNet, 64 views, with map", views // clocked.BATCH, clocked.BATCH, True),
        ("DifferNet, 1 view, with map", 1, 1, True),
        ("DifferNet, 64 views", views // clocked.BATCH, clocked.BATCH, False),
        ("DifferNet, 1 view", 1, 1, False),
    ):
        looked, _ = operations(_view, net, None, together, gradient)
        both, calls = operations(_view, net, flow, together, gradient)
        yield Count(name, moved, held, times * looked, times * (both - looked), times * calls)


def _pooled(net: Backbone, views: int, gradient: bool = False) -> list[Tensor]:
    """Return the pooled features (views,C) of each of DifferNet's three sizes."""
    sides = [round(SETTING["turned"] * share) for share in DifferNet.sizes]
    return [look(net, picture(side, views).requires_grad_(gradient), 32)[0].mean((2, 3)) for side in sides]


def _view(net: Backbone, flow: nn.Module | None, views: int, gradient: bool) -> None:
    """Send views through the network and, if there is one, the flow, and the gradient back to the pixels."""
    features = torch.cat(_pooled(net, views, gradient), dim=1)
    score = features.sum() if flow is None else flow(features)[0].square().mean()
    if gradient:
        score.backward()


def _nobody(images: Tensor) -> list[Tensor]:
    """Stand in for a network where only what comes behind it is asked."""
    return [images]


@lru_cache(maxsize=1)
def counted() -> pd.DataFrame:
    """Return a row a configuration, the columns of `Count`, and `operations` of network and method together."""
    methods = (spades, patchcores, cflows, csflows, differnets, fastflows)
    frame = pd.DataFrame([count for method in methods for count in method()])
    frame["operations"] = frame["network"] + frame["own"]
    return frame.set_index("configuration")


# CFLOW's printed number, by arithmetic ------------------------------------------------------------


def cflow_parameters(
    condition: int = 128,
    biases: bool = True,
    scales: bool = True,
    channels: tuple[int, ...] = (512, 1024, 2048),
) -> int:
    """Return the parameters of CFLOW's eight blocks a map: layers a → 2a → C with a = C/2 + condition, a scale and an offset a channel."""
    total = 0
    for c in channels:
        a = c // 2 + condition
        total += 2 * a * a + 2 * a * c + biases * (2 * a + c) + scales * 2 * c
    return CFlow.blocks * total


VARIANTS: dict[str, Callable[[], int]] = {
    "as in its code: condition of 128, maps of stride 8, 16, 32": cflow_parameters,
    "no scale and offset": partial(cflow_parameters, scales=False),
    "no biases": partial(cflow_parameters, biases=False),
    "neither": partial(cflow_parameters, biases=False, scales=False),
    "condition of 124, the multiple of 4 below": partial(cflow_parameters, 124),
    "condition of 64": partial(cflow_parameters, 64),
    "no condition": partial(cflow_parameters, 0),
    "maps of stride 4, 8, 16": partial(cflow_parameters, channels=(256, 512, 1024)),
    "maps of stride 4, 8, 16, 32": partial(cflow_parameters, channels=(256, 512, 1024, 2048)),
}
