"""One cell of a study at paper scale, in a process of its own: `python -m tests.rehearsal.cell STUDY CELL`. Prints what it cost as JSON."""

import json
import sys
import time
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from otad import methods
from otad.features import pretrained, zoo
from otad.features.foreground import SegmentAnything
from otad.studies import few_shot, load, runner

REPEATED = ("epochs", "max_iter", "steps", "tried")  # what a study does again and again, always alike
# The same of a method: FastFlow's steps are its size, CutPaste's are batches.
OF_METHODS = dict.fromkeys(methods.METHODS, ("epochs", "max_iter")) | {
    "CutPaste": ("epochs", "steps"),
}


def main(name: str, cell: str, repetitions: str) -> None:
    """Compute a cell as `make results` would, and print its seconds, memory and number of rows."""
    torch.set_num_threads(1)
    study = load(name)
    learnt_nothing()
    if int(repetitions):
        cut(study.compute.__module__, int(repetitions))
    found = runner.compute(study, "paper", json.loads(cell))
    runner.text_of(found)
    if not found["rows"]:
        raise ValueError("the cell has no rows")
    cost = {key: found[key] for key in ("seconds", "peak_memory_mb")}
    if torch.cuda.is_available():
        cost["card_mb"] = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps(cost | {"rows": len(found["rows"]), "cpu": time.process_time()}))


def learnt_nothing() -> None:
    """Let torchvision's networks keep the random weights they start with, batch norms levelled, and say so where weights are named; SAM too."""
    build = pretrained._built

    def untrained(name: str, enum: str, weights: Any) -> tuple[Any, str]:
        net, said = build(name, enum, None)
        level(net)
        return net, said

    for room in (pretrained, zoo):
        room._built = untrained
    few_shot.segment_anything = blind_sam


def blind_sam(device: torch.device | str | None = None) -> SegmentAnything:
    """Return SAM at its true size with random weights. Asked for only where its library is installed."""
    from transformers import SamConfig, SamModel

    torch.manual_seed(0)
    return SegmentAnything(SamModel(SamConfig())).to(device)


@torch.no_grad()
def level(net: nn.Module) -> None:
    """Give batch norms the statistics of smooth noise, as training would those of pictures: else maps of random weights grow until flows overflow."""
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net.train()((F.interpolate(torch.rand(8, 3, 24, 24), 192, mode="bilinear") - 0.45) / 0.225)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    net.eval()


def cut(module: str, most: int) -> None:
    """Let a study and its methods repeat at most so often; sizes of pictures, batches, prototypes and memories stay as they are."""
    for name, repeated in OF_METHODS.items():
        shorten(getattr(methods, name), repeated, most)
    study: Any = import_module(module)
    if hasattr(study, "setting"):
        whole = study.setting
        study.setting = lambda *given, **named: fewer(whole(*given, **named), most)


def shorten(method: Any, repeated: tuple[str, ...], most: int) -> None:
    """Let a class's detectors repeat at most so often when they learn."""
    if not hasattr(method, "fit"):
        return
    whole = method.fit

    def fit(self: Any, *given: Any, **named: Any) -> Any:
        for key in repeated:
            if getattr(self, key, None) is not None:
                setattr(self, key, min(getattr(self, key), most))
        return whole(self, *given, **named)

    method.fit = fit


def fewer(sizes: dict[str, Any], most: int) -> dict[str, Any]:
    """Return the sizes of a scale with every number of repetitions at most `most`, in dicts within it too."""

    def less(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return fewer(value, most)
        if key not in REPEATED:
            return value
        return tuple(min(v, most) for v in value) if isinstance(value, tuple) else min(value, most)

    return {key: less(key, value) for key, value in sizes.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
