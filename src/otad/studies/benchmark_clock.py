"""The six methods of the benchmark's Table 3, at their papers' own sizes, on one picture: how long each takes. Page 26.

Time does not depend on what a network has learnt, so weights, memories and pictures are random: nothing is fetched, nothing is trained. A
cell is one pass over the table; the methods take turns at being first. Processor seconds of one thread; on a GPU, at paper scale, wall time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.features.pretrained import Backbone, efficientnet_lite0, wide_resnet50_2
from otad.features.zoo import alexnet, efficientnet_b5
from otad.methods import SPADE, CFlow, CSFlow, DifferNet, FastFlow, PatchCore
from otad.methods.flows.differnet import turned
from otad.scale import device, pick
from otad.studies import Cell, Row, Study, clocks
from otad.studies.fca_reference_clocks import clock

FIRST_SEED = 260
ENOUGH = 2.0  # seconds: a call as long as that is not repeated
BATCH = 16  # views of a picture that go through the network together

# What each row of the printed table can have been: the first one decides, the others stand beside it. The table is about maps, which cost
# DifferNet a gradient at every view.
CHOICES = {
    "spade": ("SPADE, K = 50", "SPADE, K = 5"),
    "patchcore": ("PatchCore, 10 %", "PatchCore, 1 %", "PatchCore, 25 %"),
    "cflow": ("CFlow, matrices", "CFlow, indices"),
    "csflow": ("CS-Flow, first release", "CS-Flow, today"),
    "differnet": (
        "DifferNet, 64 views, with map",
        "DifferNet, 1 view, with map",
        "DifferNet, 64 views",
        "DifferNet, 1 view",
    ),
    "fastflow": ("FastFlow, matrices", "FastFlow, indices"),
}
NAMES = {m: choices[0].partition(",")[0] for m, choices in CHOICES.items()}
PRINTED = {method: choices[0] for method, choices in CHOICES.items()}
LIVE = (
    *(name for name in PRINTED.values() if "64" not in name),
    "DifferNet, 1 view",
)  # what a page times again
# A configuration, and what builds it; that returns what scores one picture.
Work = tuple[str, Callable[[], Callable[[], object]]]


def setting(scale: str) -> dict[str, Any]:
    """Return the sizes of a scale: the papers' own, but for smoke, whose configurations keep their names and lose their sizes."""
    return {
        "side": pick(scale, smoke=64, laptop=224),
        "turned": pick(scale, smoke=64, laptop=448),
        "large": pick(scale, smoke=128, laptop=768),
        "pictures": pick(scale, smoke=8, laptop=209),  # as many as the class bottle has for training
        "neighbours": pick(scale, smoke=(4, 2), laptop=(50, 5)),
        "shares": pick(scale, smoke=(0.2, 0.1, 0.5), laptop=(0.1, 0.01, 0.25)),
        "views": pick(scale, smoke=2, laptop=64),
        "fastflow": pick(scale, smoke={"steps": 2}, laptop={}),
        "cflow": pick(scale, smoke={"blocks": 2, "positions": 8}, laptop={}),
        "csflow": pick(scale, smoke={"blocks": 2, "hidden": 8}, laptop={}),
        "differnet": pick(scale, smoke={"blocks": 2, "hidden": 16, "sizes": (1.0, 0.5)}, laptop={}),
    }


def n_passes(scale: str) -> int:
    """Return how many passes are judged."""
    return pick(scale, smoke=2, laptop=6)


def cells(scale: str) -> list[Cell]:
    """Return a cell a pass."""
    return [{"seed": seed} for seed in range(FIRST_SEED, FIRST_SEED + n_passes(scale))]


def where(scale: str) -> torch.device:
    """Return the GPU at paper scale, if there is one, and else the CPU: its times are compared with stored ones."""
    return device() if scale == "paper" else torch.device("cpu")


_small = lru_cache(maxsize=5)(efficientnet_lite0)


def wide(scale: str, *strides: int) -> Backbone:
    """Return WideResNet50-2 with random weights, up to the last stride that is asked for; smoke has the packaged small network."""
    return _small(strides) if scale == "smoke" else wide_resnet50_2(strides, where(scale), weights=None)


def deep(build: Callable[..., Backbone], scale: str) -> Backbone:
    """Return a network of stride 32 with random weights; smoke has the packaged small one."""
    return wide(scale, 32) if scale == "smoke" else build((32,), where(scale), weights=None)


def noise(scale: str, *shape: int) -> Tensor:
    """Return uniform random numbers, the same at every call."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)).to(where(scale))


# Methods that have seen maps and learnt nothing ---------------------------------------------------------


class ThreeMaps(SPADE):
    """SPADE with the gallery of its paper: strides 4, 8 and 16; stride 32 says which pictures are neighbours, and no more."""

    def _scales(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return super()._scales(maps[:-1])


class Matrix(nn.Module):
    """A coupling whose channels change places by a product with a matrix, which it keeps with its inverse, as FrEIA does.

    The coupling's own indices stay as they are, so that one more permutation is done, and it is done by a matrix.
    """

    matrix: Tensor

    def __init__(self, coupling: nn.Module, channels: int, seed: int = 0) -> None:
        """Draw the permutation of so many channels."""
        super().__init__()
        self.coupling = coupling
        order = torch.randperm(channels, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("matrix", torch.eye(channels)[order])
        self.register_buffer("inverse_matrix", torch.eye(channels)[order].T.contiguous())

    def forward(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log determinant (N,), which a permutation does not change."""
        z, log_det = self.coupling(x, *condition)
        if z.ndim == 2:
            return F.linear(z, self.matrix), log_det
        return F.conv2d(z, self.matrix[:, :, None, None]), log_det


def with_matrices(flows: nn.ModuleList, channels: Sequence[int]) -> nn.ModuleList:
    """Return flows, one a map, whose permutations are matrices."""
    for flow, c in zip(flows, channels, strict=True):
        couplings = flow.couplings
        assert isinstance(couplings, nn.ModuleList)
        flow.couplings = nn.ModuleList(Matrix(coupling, c, k) for k, coupling in enumerate(couplings))
    return flows


def beside(like: Tensor) -> AbstractContextManager[object]:
    """Return a context in which networks are made without numbers, if the maps have none either."""
    return torch.device("meta") if like.is_meta else nullcontext()


def fastflow(net: Any, maps: Sequence[Tensor], matrices: bool, **own: Any) -> FastFlow:
    """Return FastFlow, standardised by maps (1,C,h,w), untrained."""
    method = FastFlow(net, **own)
    method.mean_ = [m.mean((0, 2, 3), keepdim=True) for m in maps]
    method.std_ = [m.std((0, 2, 3), correction=0, keepdim=True) + 1e-6 for m in maps]
    with beside(maps[0]):
        flows = method.build_flows()
        method.flows_ = with_matrices(flows, [m.shape[1] for m in maps]) if matrices else flows
    method.flows_.to(maps[0].device)
    return method


def cflow(net: Any, maps: Sequence[Tensor], matrices: bool, **own: Any) -> CFlow:
    """Return CFLOW for maps (1,C,h,w), untrained."""
    method = CFlow(net, **own)
    method.channels_, method.top_ = [m.shape[1] for m in maps], [0.0] * len(maps)
    with beside(maps[0]):
        flows = method.build_flows()
        method.flows_ = with_matrices(flows, method.channels_) if matrices else flows
    method.flows_.to(maps[0].device)
    return method


def csflow(net: Any, maps: Sequence[Tensor], last_kernel: int, **own: Any) -> CSFlow:
    """Return CS-Flow, standardised by one map (1,C,h,w) a scale, untrained."""
    method = CSFlow(net, last_kernel=last_kernel, **own)
    method.mean_ = torch.stack([m.mean((0, 2, 3)) for m in maps])
    method.std_ = torch.stack([m.std((0, 2, 3), correction=0) + 1e-6 for m in maps])
    with beside(maps[0]):
        method.flow_ = method.build_flow()
    method.flow_.to(maps[0].device)
    return method


def differnet(net: Any, features: Tensor, views: int, **own: Any) -> DifferNet:
    """Return DifferNet, standardised by features (1,D) of one picture, untrained."""
    method = DifferNet(net, test_views=views, **own)
    method.mean_, method.std_ = features.mean(0), torch.ones_like(features[0])
    with beside(features):
        method.flow_ = method.build_flow()
    method.flow_.to(features.device)
    return method


def angles(views: int, image: Tensor) -> tuple[Tensor, ...]:
    """Return the angles of so many views of a picture, in batches."""
    return (torch.arange(views, device=image.device) * (2 * torch.pi / views)).split(BATCH)


@torch.no_grad()
def without_map(method: DifferNet, image: Tensor, views: int) -> Tensor:
    """Return DifferNet's score of one picture (1,3,H,W), 0-d: views together and no gradient, all that detection needs."""
    assert method.flow_ is not None
    parts = [turned(image.expand(len(a), -1, -1, -1), a) for a in angles(views, image)]
    z, _ = method.flow_((torch.cat([method.features(p) for p in parts]) - method.mean_) / method.std_)
    return z.square().mean()


def with_map(method: DifferNet, image: Tensor, views: int) -> Tensor:
    """Return DifferNet's map of one picture (1,3,H,W), (H,W), before it is smoothed: as `score` has it, but views together."""
    assert method.flow_ is not None
    total = torch.zeros_like(image[0])
    for a in angles(views, image):
        asked = image.expand(len(a), -1, -1, -1).clone().requires_grad_()
        z, _ = method.flow_((method.features(turned(asked, a)) - method.mean_) / method.std_)
        (gradients,) = torch.autograd.grad(z.square().mean(1).sum(), asked)
        total += gradients.abs().sum(0)
    return (total / views).mean(0)


# The pass -----------------------------------------------------------------------------------------


def spades(scale: str) -> Iterator[Work]:
    """Yield SPADE with both numbers of neighbours, one memory for both."""
    size, net = setting(scale), wide(scale, 4, 8, 16, 32)
    picture = noise(scale, 1, 3, size["side"], size["side"])
    *maps, deep = net(picture)
    kept = [noise(scale, size["pictures"], *m.shape[1:]) for m in maps]
    whole = noise(scale, size["pictures"], deep.shape[1])

    def build(k: int) -> Callable[[], object]:
        method = ThreeMaps(net, k=k, pyramid=False)
        method.whole_, method.maps_ = whole, kept
        return partial(method.score, picture)

    for name, k in zip(CHOICES["spade"], size["neighbours"], strict=True):
        yield name, partial(build, k)


def patchcores(scale: str) -> Iterator[Work]:
    """Yield PatchCore with each coreset."""
    size, net = setting(scale), wide(scale, 8, 16)
    picture = noise(scale, 1, 3, size["side"], size["side"])
    fine = net(picture)[0]

    def build(share: float) -> Callable[[], object]:
        method = PatchCore(net)
        method.memory_ = noise(scale, entries(fine, share, size["pictures"]), sum(net.channels))
        return partial(method.score, picture)

    for name, share in zip(CHOICES["patchcore"], size["shares"], strict=True):
        yield name, partial(build, share)


def entries(m: Tensor, share: float, pictures: int) -> int:
    """Return how many entries PatchCore's memory has: a share of all places of a map (1,C,h,w) of so many pictures."""
    return max(2, round(share * pictures * m[0, 0].numel()))


def cflows(scale: str) -> Iterator[Work]:
    """Yield CFLOW, its permutations as matrices and as indices."""
    size, net = setting(scale), wide(scale, 8, 16, 32)
    picture = noise(scale, 1, 3, size["side"], size["side"])
    maps, own = net(picture), size["cflow"]
    for name, matrices in zip(CHOICES["cflow"], (True, False), strict=True):
        yield name, lambda m=matrices: partial(cflow(net, maps, m, **own).score, picture)  # type: ignore[misc]


def fastflows(scale: str) -> Iterator[Work]:
    """Yield FastFlow, its permutations as matrices and as indices."""
    size, net = setting(scale), wide(scale, 4, 8, 16)
    picture = noise(scale, 1, 3, size["side"], size["side"])
    maps, own = net(picture), size["fastflow"]
    for name, matrices in zip(CHOICES["fastflow"], (True, False), strict=True):
        yield name, lambda m=matrices: partial(fastflow(net, maps, m, **own).score, picture)  # type: ignore[misc]


def csflows(scale: str) -> Iterator[Work]:
    """Yield CS-Flow's first release and today's."""
    size, own, net = setting(scale), setting(scale)["csflow"], deep(efficientnet_b5, scale)
    picture = noise(scale, 1, 3, size["large"], size["large"])
    sides = [size["large"] // 32 // 2**k for k in range(3)]
    maps = [noise(scale, 1, net.channels[0], side, side) for side in sides]
    for name, last in zip(CHOICES["csflow"], (1, 5), strict=True):
        yield name, lambda k=last: partial(csflow(net, maps, k, **own).score, picture)  # type: ignore[misc]


def differnets(scale: str) -> Iterator[Work]:
    """Yield DifferNet with all views and with one, with the map and without."""
    size, net = setting(scale), deep(alexnet, scale)
    picture = noise(scale, 1, 3, size["turned"], size["turned"])
    features = DifferNet(net, **size["differnet"]).features(picture)
    method = differnet(net, features, 1, **size["differnet"])
    asked = ((with_map, size["views"]), (with_map, 1), (without_map, size["views"]), (without_map, 1))
    works = [partial(work, method, picture, views) for work, views in asked]
    for name, work in zip(CHOICES["differnet"], works, strict=True):
        yield name, lambda w=work: w  # type: ignore[misc]


METHODS = (fastflows, cflows, patchcores, csflows, differnets, spades)


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """Return the seconds of one call; a short one is repeated so often and its least time counts, for the first one also fetches memory."""
    first = clocks.seconds(work, 0.0, clock=clock)
    return first if first > ENOUGH else min(first, clocks.seconds(work, 0.0, repeats, clock))


def passed(scale: str, first: int = 0, only: Sequence[str] = (), repeats: int = 1) -> dict[str, float]:
    """Return the seconds of each configuration, or of some, in one pass, which begins with method number `first`.

    What is not there any more gives its memory back before the next one is built. repeats : as `seconds` has them.
    """
    threads, start, found = torch.get_num_threads(), first % len(METHODS), {}
    torch.set_num_threads(1)
    try:
        for works in METHODS[start:] + METHODS[:start]:
            for name, build in works(scale):
                if not only or name in only:
                    found[name] = seconds(build(), repeats)
                del build
    finally:
        torch.set_num_threads(threads)
    return found


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a configuration, in the order in which the pass came to them."""
    repeats = 30 if where(scale).type == "cuda" else 1  # there what disturbs a call is as long as the call
    for name, spent in passed(scale, cell["seed"] - FIRST_SEED, repeats=repeats).items():
        yield {"configuration": name, "ms": 1000 * spent}


# What the claims ask --------------------------------------------------------------------------------

# What is put in place of a deciding choice, to see what a claim hangs on.
INDICES = {"permutations by indices": {"cflow": "CFlow, indices", "fastflow": "FastFlow, indices"}}
SMALLER = {"coreset of 1 %": {"patchcore": "PatchCore, 1 %"}}
LARGER = {"coreset of 25 %": {"patchcore": "PatchCore, 25 %"}}
FEWER = {"SPADE with K = 5": {"spade": "SPADE, K = 5"}}
BOTH = {"SPADE with K = 5, coreset of 1 %": {"spade": "SPADE, K = 5", "patchcore": "PatchCore, 1 %"}}
INSTEAD: dict[str, dict[str, dict[str, str]]] = {
    "benchmark-06": INDICES | SMALLER | LARGER,
    "benchmark-09": INDICES | SMALLER | LARGER | FEWER,
    "benchmark-10": SMALLER | LARGER | FEWER | BOTH,
    "benchmark-11": {},
}


def ratios(cost: Mapping[str, Any], claim: str, **instead: str) -> dict[str, Any]:
    """Return of each inequality of a claim a ratio that lies above 1 if it holds.

    cost: configuration → time, one number a pass or any other cost, such as operations. instead: a method's other configuration.
    """
    c = {method: cost[name] for method, name in (PRINTED | instead).items()}
    if claim == "benchmark-06":
        return {f"{NAMES[m]} over FastFlow": c[m] / c["fastflow"] for m in c if m != "fastflow"}
    if claim == "benchmark-09":
        pairs = ((m, f) for m in ("spade", "patchcore") for f in ("cflow", "fastflow"))
        return {f"{NAMES[m]} over {NAMES[f]}": c[m] / c[f] for m, f in pairs}
    if claim == "benchmark-10":
        return {"SPADE over 3 times PatchCore": c["spade"] / c["patchcore"] / 3}
    if claim == "benchmark-11":
        return {"64 views over 10 times one": c["differnet"] / cost["DifferNet, 1 view, with map"] / 10}
    raise ValueError(f"claim is {claim!r}: expected one of {', '.join(INSTEAD)}.")


def turns(
    clocked: Mapping[str, pd.DataFrame],
    operations: pd.Series,
    printed: Mapping[str, float],
    judge: Callable[..., Any],
) -> pd.DataFrame:
    """Return each claim under each choice: its word and the ratio nearest to failing by every clock, by operations, and in print.

    clocked: name of a clock → milliseconds, a row a pass, a column a configuration. judge: as `otad.ledger.judge`.
    """
    rows = []
    for claim, instead in INSTEAD.items():
        for choice, other in {"as decided": {}, **instead}.items():
            row: dict[str, Any] = {"claim": claim, "choice": choice}
            for name, times in clocked.items():
                asked = ratios(times, claim, **other)
                said = judge({k: np.log(v) for k, v in asked.items()})
                worst = np.exp(said.inequalities[said.worst].mean)
                row |= {name: said.word, f"{name}'s ratio": worst, f"{name}'s nearest": said.worst}
            row["by operations"] = min(ratios(operations, claim, **other).values())
            if not other and claim != "benchmark-11":
                row["printed"] = min(ratios(printed, claim).values())
            rows.append(row)
    return pd.DataFrame(rows)


def compared(times: pd.DataFrame) -> dict[str, float]:
    """Return mean ratios of times, of what the page speaks of besides its claims."""
    pairs = {
        "few": ("SPADE, K = 5", PRINTED["patchcore"]),
        "views": ("DifferNet, 64 views", "DifferNet, 1 view"),
        "maps": CHOICES["differnet"][:2],
        "flows": (PRINTED["cflow"], PRINTED["fastflow"]),
        "entries": ("PatchCore, 25 %", "PatchCore, 1 %"),
        "k": CHOICES["spade"],
        "map": ("DifferNet, 1 view, with map", "DifferNet, 1 view"),
        "cflow": CHOICES["cflow"][::-1],
        "fastflow": CHOICES["fastflow"][::-1],
    }
    return {name: float((times[a] / times[b]).mean()) for name, (a, b) in pairs.items()}


STUDY = Study("benchmark_clock", cells, compute, seconds=80.0)
