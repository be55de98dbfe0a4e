"""Fitted detectors in files: fit once, score for weeks. Safetensors and JSON, no pickle: a file runs no code.

One file holds all: what was learnt is the tensors, and the header's JSON says which method it is, with which
hyperparameters, and how lists, dicts and numbers go around the tensors. The backbone is not in it; it is
recorded which one it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from otad.methods.density.regad import Gaussians
from otad.methods.memory.foct import Episode
from otad.transport import Embedding, PairNetwork, Scaled

NAVIGATORS = (PairNetwork, Embedding)  # what FOCT learns
RECORDS = (Episode, Scaled)  # kept whole, field by field
KEPT = (Gaussians,)  # by a method, without being one
FORMAT = 3  # of the JSON; files of a later one are refused
SINCE = {"RegAD": 3}  # earlier files of a method hold something else
PLAIN = (bool, int, float, str, type(None))


def save(detector: Any, path: str | Path) -> None:
    """Write a detector of `otad.methods`, with all it learnt, to a file, in one step.

    Raises ValueError for what is no method of `otad.methods` and for an attribute that no file can hold.
    """
    from safetensors.torch import save_file

    name, path = type(detector).__name__, Path(path)
    if _method(name) is not type(detector):
        raise ValueError(f"{name} is no method of otad.methods: expected one of those, such as PatchCore.")
    tensors: dict[str, Tensor] = {}
    names = [field.name for field in dataclasses.fields(detector)]
    given = {key: getattr(detector, key) for key in names if not key.endswith("_")}
    backbone = given.pop(_network(type(detector)), None)
    header = {
        "format": FORMAT,
        "otad": version("otad"),
        "method": name,
        "backbone": None if backbone is None else identity(backbone),
        "given": _encode(given, "given", tensors),
        "learnt": _encode(_learnt(detector), "learnt", tensors),
    }
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, part, metadata={"otad": json.dumps(header)})
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load(
    path: str | Path, backbone: Callable[[Tensor], Any] | None = None, device: str | torch.device = "cpu"
) -> Any:
    """Return the detector of a file of `save`, on a device; scores are the same to the bit on the same processor.

    backbone : the one that the detector was fitted with, on the same device.

    Raises ValueError for a file that is missing, damaged, foreign or of a later version, and for another backbone.
    """
    header, tensors = _read(Path(path), device)
    method = _method(str(header["method"]))
    if method is None:
        raise ValueError(
            f"{path} holds a {header['method']}, made by otad {header['otad']}: this version has no such method."
        )
    if header["format"] < SINCE.get(str(header["method"]), 1):
        raise ValueError(
            f"{path}, made by otad {header['otad']}, holds a {header['method']} of another kind: fit again."
        )
    found = None if backbone is None else identity(backbone)
    if found != header["backbone"]:
        raise ValueError(
            f"{path} was fitted with the backbone {_told(header['backbone'])}; given was {_told(found)}: pass that one."
        )
    try:
        given = _decode(header["given"], tensors, None)
        detector = method(**given, **({} if backbone is None else {_network(method): backbone}))
        for name, node in header["learnt"][
            "dict"
        ]:  # in order: who builds a network may ask for what came before it
            setattr(detector, name, _decode(node, tensors, detector, name))
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{path}, made by otad {header['otad']}, does not fit this version's {header['method']} ({error}): fit again."
        ) from error
    return detector


def identity(backbone: Any) -> dict[str, Any]:
    """Say which backbone it is: its name, its strides, and the SHA-256 of its weights if it is a module."""
    named = backbone if hasattr(backbone, "__qualname__") else type(backbone)
    found: dict[str, Any] = {"kind": f"{named.__module__}.{named.__qualname__}"}
    for key in ("name", "weights"):
        if isinstance(getattr(backbone, key, None), str):
            found[key] = getattr(backbone, key)
    if hasattr(backbone, "strides"):
        found["strides"] = list(backbone.strides)
    if dataclasses.is_dataclass(backbone):
        found["repr"] = repr(backbone)
    if isinstance(backbone, nn.Module):
        digest = hashlib.sha256()
        for key, value in sorted(backbone.state_dict().items()):
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        found["sha256"] = digest.hexdigest()
    return found


def _told(backbone: dict[str, Any] | None) -> str:
    return "none" if backbone is None else ", ".join(f"{key} {value}" for key, value in backbone.items())


def _method(name: str) -> Any:
    """Return the class of a method by its public name, or None."""
    from otad import methods

    return getattr(methods, name) if name in methods.METHODS else None


def _network(method: Any) -> str:
    """Name the field that takes the backbone: `model` where a method has another word for it."""
    return "model" if "model" in {field.name for field in dataclasses.fields(method)} else "backbone"


def _read(path: Path, device: str | torch.device) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the JSON and the tensors of a file."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ValueError(f"{path} is no file: expected one that otad.methods.save has written.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = json.loads((file.metadata() or {}).get("otad", "null"))
            tensors = {name: file.get_tensor(name).clone().to(device) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}): expected a whole file of otad.methods.save."
        ) from error
    if not isinstance(header, dict) or not {"format", "otad", "method", "backbone", "given", "learnt"} <= {
        *header
    }:
        raise ValueError(f"{path} holds tensors, but not of otad.methods.save: expected one of its files.")
    if header["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {header['format']}, of otad {header['otad']}: expected {FORMAT} at most; update otad."
        )
    return header, tensors


def _encode(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Put tensors aside under names such as learnt.prototypes_.0.1 and return JSON that says where they were."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()  # safetensors refuses shared memory
        return {"tensor": name}
    if isinstance(value, NAVIGATORS):  # before other modules: nobody else knows how it was built
        return {"navigator": [type(value).__name__, _sizes(value), _state(value, name, tensors)]}
    if any(value is kind for kind in NAVIGATORS):
        return {"builder": value.__name__}
    if isinstance(value, nn.Module):
        return {"module": _state(value, name, tensors)}
    if type(value) in RECORDS:
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"record": [type(value).__name__, _encode(fields, name, tensors)]}
    if type(value) in KEPT or _method(type(value).__name__) is type(value):  # one that another method keeps
        return {"method": _encode(_learnt(value), name, tensors)}
    if isinstance(value, dict) and all(isinstance(key, PLAIN) for key in value):
        return {"dict": [[k, _encode(v, f"{name}.{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encode(v, f"{name}.{i}", tensors) for i, v in enumerate(value)]}
    raise ValueError(
        f"{name} is a {type(value).__name__}: expected tensors, numbers, words, lists and dicts of these, or a module. (A FOCT is "
        "saved with navigator=PairNetwork, Embedding or None, not with a function of one's own.)"
    )


def _learnt(method: Any) -> dict[str, Any]:
    """Return what a method has learnt: its attributes that end in an underscore."""
    return {k: v for k, v in vars(method).items() if k.endswith("_") and not k.startswith("_")}


def _state(module: nn.Module, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {key: _encode(v, f"{name}.{key}", tensors) for key, v in module.state_dict().items()}


def _with(module: nn.Module, state: dict[str, Any], tensors: dict[str, Tensor]) -> nn.Module:
    module.load_state_dict({k: _decode(v, tensors, None) for k, v in state.items()}, assign=True)
    return module


def _navigator(name: str) -> Any:
    """Return the class of a navigator by its name; KeyError for another name."""
    return {kind.__name__: kind for kind in NAVIGATORS}[name]


def _sizes(navigator: PairNetwork | Embedding) -> dict[str, Any]:
    """Return the arguments that build a navigator of the same shape."""
    if isinstance(navigator, Embedding):
        dimension, width = navigator.weight.shape
        return {"dimension": dimension, "width": width}
    linear = [layer for layer in navigator.layers if isinstance(layer, nn.Linear)]
    slopes = {layer.negative_slope for layer in navigator.layers if isinstance(layer, nn.LeakyReLU)}
    hidden = [layer.out_features for layer in linear[:-1]]
    return {"dimension": linear[0].in_features, "hidden": hidden, "slope": slopes.pop()}


def _decode(node: Any, tensors: dict[str, Tensor], detector: Any, name: str = "") -> Any:
    """Undo `_encode`; the module student_ is built by the detector's `build_student`, which may use what it knows by then."""
    if not isinstance(node, dict):
        return node
    ((kind, inside),) = node.items()
    if kind == "tensor":
        return tensors[inside]
    if kind == "dict":
        return {key: _decode(one, tensors, detector, str(key)) for key, one in inside}
    if kind == "module":
        module = getattr(detector, f"build_{name.rstrip('_')}")()
        return _with(module, inside, tensors).eval().requires_grad_(False)
    if kind == "method":
        method = getattr(detector, f"build_{name.rstrip('_')}")()
        for key, one in inside["dict"]:
            setattr(method, key, _decode(one, tensors, method, key))
        return method
    if kind == "record":
        (record,) = (r for r in RECORDS if r.__name__ == inside[0])
        return record(**_decode(inside[1], tensors, None))
    if kind == "builder":
        return _navigator(inside)
    if kind == "navigator":
        return _with(_navigator(inside[0])(**inside[1]), inside[2], tensors)
    return (list if kind == "list" else tuple)(_decode(one, tensors, detector) for one in inside)
