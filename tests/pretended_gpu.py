"""A pretended GPU: CUDA's rules about devices, enforced on a machine that has none.

Every number is computed on the CPU. Whether a tensor counts as "on the GPU" is a label on its *storage*, which has
the device in torch too, and whose Python object torch keeps as long as the storage: views, parameters, `detach`,
`.data`, saved tensors and modules that move agree by themselves, and only new storages need a label. A
`TorchFunctionMode` sees each call of torch before it happens, refuses what CUDA would, and labels what comes out.
Gradients are made behind its back, so they are labelled where Python meets them.

What it cannot judge: kernels, memory, speed, and operations that CUDA lacks or rounds differently. A Python function of torch is
one call to it, whatever happens inside. The GPU's global generator is the CPU's; a `torch.Generator("cuda")` draws other
numbers than the CPU's, as a real one does. Threads other than the one that entered see a plain CPU.

    with pretended_gpu():
        torch.ones(3, device="cuda") + torch.ones(3)  # RuntimeError

As a program it is the kernel of a page (`kernel_spec`), with the plain engine for the Triton kernel, whose
interpreter takes minutes where the page takes seconds; tests/kernels/test_rank_gpu.py runs it under these rules.
"""

import contextlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _device

GPU = torch.device("cuda", 0)
NAME = "a pretended GPU"
KERNEL = "pretended_gpu"  # the name of the Jupyter kernel
COMMAND = [sys.executable, __file__, "-f", "{connection_file}"]  # that starts it


@contextlib.contextmanager
def pretended_gpu() -> Iterator[None]:
    """Pretend that this machine has a GPU, as far as this thread can tell."""
    with contextlib.ExitStack() as stack:
        for name, stub in STUBS.items():
            stack.enter_context(patch.object(torch.cuda, name, stub))
        stack.enter_context(patch.object(torch.accelerator, "current_stream", _stub(STREAM)))
        stack.enter_context(patch.object(torch, "Generator", Generator))
        stack.enter_context(patch.object(torch._C._nn, "_parse_to", _parse_to))
        stack.enter_context(patch.object(torch.autograd.Function, "apply", classmethod(_forward)))
        stack.enter_context(patch.object(torch.autograd.function.BackwardCFunction, "apply", _backward))
        stack.enter_context(Rules())
        yield


class Rules(TorchFunctionMode):
    """Send each call of torch to its rule; `follow` is the rule of most."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        rule = RULES.get(func, follow)  # half of all calls ask for a shape: they are let through first
        if not kwargs:
            return func(*args) if rule is plain or _shapes_only(args) else rule(func, args, {})
        if rule is plain or _shapes_only(args) or _shapes_only(kwargs.values()):
            return func(*args, **kwargs)
        return rule(func, args, kwargs)


# Labels ------------------------------------------------------------------------------------------


def on_gpu(tensor: Tensor) -> bool:
    """Tell where a tensor is; a storage nobody has labelled is the CPU's."""
    return getattr(tensor.untyped_storage(), "on_gpu", False)


def label(result: Any) -> Any:
    """Put all tensors of a result on the GPU, and return it."""
    if isinstance(result, Tensor):
        result.untyped_storage().on_gpu = True
    elif isinstance(result, SEQUENCES):
        for one in result:
            label(one)
    return result


def is_gpu(device: Any) -> bool:
    """Tell whether "cuda", "cuda:0", 0 or a torch.device mean the GPU; there is one only."""
    device = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    if device.type == "cuda" and device.index:
        raise RuntimeError(f"CUDA error: invalid device ordinal ({device})")
    return device.type == "cuda"


def place(result: Tensor, source: Tensor | None, gpu: bool) -> Tensor:
    """Put on a device what was made of `source` (None: of memory that is not torch's), copied if it has to move."""
    if source is not None and result.untyped_storage() is source.untyped_storage():
        if on_gpu(source) == gpu:
            return result
        result = result.clone()
    elif source is None and gpu:
        result = result.clone()
    return label(result) if gpu else result


# Rules -------------------------------------------------------------------------------------------


def follow(func: Callable, args: tuple, kwargs: dict) -> Any:
    """Tensors must be together; the result is where they are, or where `device` says."""
    gpu = _together(func, args, kwargs)
    if kwargs:
        if kwargs.get("device") is not None:
            gpu, kwargs = is_gpu(kwargs["device"]), kwargs | {"device": "cpu"}
        _check_generator(kwargs.get("generator"), gpu)
    result = func(*args, **kwargs)
    return label(result) if gpu else result


def plain(func: Callable, args: tuple, kwargs: dict) -> Any:
    """Shapes, numbers, views: the label has nothing to do with it, or comes with the storage."""
    return func(*args, **kwargs)


def alone(func: Callable, args: tuple, kwargs: dict) -> Any:
    """The first tensor decides; a second may be anywhere, as for `copy_` and `expand_as`."""
    result = func(*args, **kwargs)
    return label(result) if on_gpu(args[0]) else result


def create(func: Callable, args: tuple, kwargs: dict) -> Any:
    """Factories: nothing but `device`, or `with torch.device(...)`, decides."""
    device = kwargs.get("device") or _device.CURRENT_DEVICE or "cpu"
    gpu = is_gpu(device)
    _check_generator(kwargs.get("generator"), gpu)
    if not gpu:
        return func(*args, **kwargs)
    return label(func(*args, **kwargs | {"device": "cpu"}))


def convert(func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """`torch.tensor` and its kin: `device` decides, else where the data are; a list of GPU numbers makes a CPU tensor."""
    data = args[0] if args else next(kwargs[k] for k in ("data", "obj") if k in kwargs)
    source = data if isinstance(data, Tensor) else None
    here = GPU if source is not None and on_gpu(source) else _device.CURRENT_DEVICE
    device = kwargs.get("device")
    gpu = is_gpu((here or "cpu") if device is None else device)
    return place(func(*args, **kwargs | {"device": "cpu"}), source, gpu)


def move(func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """`to`, `cpu`, `cuda`, `type_as`: copies between the devices."""
    tensor, *rest = args
    gpu = on_gpu(tensor)
    if func in (Tensor.cpu, Tensor.cuda):
        gpu, rest, kwargs = func is Tensor.cuda, ["cpu"], {}
    elif kwargs.get("device") is not None:
        gpu, kwargs = is_gpu(kwargs["device"]), kwargs | {"device": "cpu"}
    elif rest and isinstance(rest[0], Tensor):
        gpu, rest[0] = on_gpu(rest[0]), rest[0].dtype
    elif rest and isinstance(rest[0], str | int | torch.device):
        gpu, rest[0] = is_gpu(rest[0]), "cpu"
    return place(tensor.to(*rest, **kwargs), tensor, gpu)


def index(func: Callable, args: tuple, kwargs: dict) -> Any:
    """Indices of a GPU tensor may be on the CPU, those of a CPU tensor may not be on the GPU."""
    tensor, places, *value = args
    gpu = on_gpu(tensor)
    used = [p for p in (places if isinstance(places, tuple) else (places,)) if _gathers(p)]
    if not gpu and _where(used) & ON_GPU:
        raise RuntimeError(
            "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
        )
    if used and value and isinstance(value[0], Tensor) and value[0].ndim:  # else copy_ writes, from anywhere
        _together(func, (tensor, value[0]), {})
    result = func(*args, **kwargs)
    return label(result) if gpu else result


def refuse(func: Callable, args: tuple, kwargs: dict) -> Any:
    """NumPy cannot look into a GPU."""
    if on_gpu(args[0]) and not kwargs.get("force"):
        raise TypeError(
            f"can't convert {GPU} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
        )
    return func(*args, **kwargs)


def gradients(func: Callable, args: tuple, kwargs: dict) -> tuple:
    """`torch.autograd.grad`: each gradient is where its input is."""
    result = func(*args, **kwargs)
    inputs = args[1] if len(args) > 1 else kwargs["inputs"]
    for x, gradient in zip([inputs] if isinstance(inputs, Tensor) else inputs, result, strict=True):
        if on_gpu(x):
            label(gradient)
    return result


def hook(func: Callable, args: tuple, kwargs: dict) -> Any:
    """Hooks get labelled gradients and are watched as well: autograd runs with the mode off."""
    tensor, given = args
    gpu = on_gpu(tensor)

    def watched(gradient: Tensor) -> Any:
        with Rules():
            return given(label(gradient) if gpu else gradient)

    return func(tensor, watched, **kwargs)


def _shapes_only(values: Iterable[Any]) -> bool:
    """Tell whether a tensor that has a shape and no numbers is among values, or its device, "meta": it is on neither."""
    for value in values:  # no generator: this is asked at every call
        if isinstance(value, Tensor):
            if value.is_meta:
                return True
        elif isinstance(value, NAMES_OF_DEVICES) and str(value) == "meta":
            return True
    return False


def _gathers(place: Any) -> bool:
    """Tell index tensors, lists and arrays from slices, None and numbers, which are read."""
    if isinstance(place, Tensor):
        return bool(place.ndim) or place.dtype == torch.bool
    return hasattr(place, "__len__")


def _where(values: Iterable[Any]) -> int:
    """Tell where the tensors among values and in lists of them are: nowhere (0), ON_CPU, ON_GPU or both, added up."""
    seen = 0
    for value in values:
        if isinstance(value, Tensor):
            seen |= ON_GPU if on_gpu(value) else ON_CPU
        elif isinstance(value, SEQUENCES):
            seen |= _where(value)
    return seen


def _together(func: Callable, args: tuple, kwargs: dict) -> bool:
    """Tell whether tensors are on the GPU; RuntimeError if only some are, apart from numbers that are read."""
    seen = _where(args) | (_where(kwargs.values()) if kwargs else 0)
    if seen == ON_CPU | ON_GPU:
        written = [kwargs.get("out"), *(args[:1] if _in_place(func.__name__) else ())]
        if _left_behind([*args, *kwargs.values()]) or _where(written) & ON_CPU:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{GPU} and cpu! (in {func.__name__})"
            )
    return seen >= ON_GPU


def _left_behind(values: Iterable[Any]) -> bool:
    """Tell whether a CPU tensor is more than a number."""
    return any(
        (isinstance(value, Tensor) and value.ndim and not on_gpu(value))
        or (isinstance(value, SEQUENCES) and _left_behind(value))
        for value in values
    )


def _in_place(name: str) -> bool:
    """Tell whether a function writes to its first argument: `add_`, `__iadd__`."""
    return (name[-1] == "_" and name[-2] != "_") or (name[:3] == "__i" and name[3:-2] in IN_PLACE)


def _check_generator(generator: Any, gpu: bool) -> None:
    wanted = "cuda" if gpu else "cpu"
    if generator is not None and generator.device.type != wanted:
        raise RuntimeError(
            f"Expected a '{wanted}' device type for generator but found '{generator.device.type}'"
        )


ON_CPU, ON_GPU = 1, 2
SEQUENCES = (list, tuple)
NAMES_OF_DEVICES = (str, torch.device)
IN_PLACE = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift")
NO_TENSOR = """
    size dim ndimension stride numel nelement element_size storage_offset data_ptr untyped_storage storage is_contiguous
    is_floating_point is_complex is_signed item tolist __len__ __bool__ __float__ __int__ __index__ __format__ __repr__ __hash__
"""
SECOND_ANYWHERE = "copy_ fill_ expand_as view_as reshape_as resize_as_"


def _rules() -> dict[Callable, Callable]:
    """The rule of every function that does not `follow`."""
    rules: dict[Callable, Callable] = {}
    for name in dir(Tensor):  # attributes: shape, dtype, T, data …
        if hasattr(attribute := getattr(Tensor, name), "__set__"):
            rules[attribute.__get__] = plain
    rules[Tensor.data.__set__] = plain
    rules[Tensor.device.__get__] = lambda func, args, _: GPU if on_gpu(args[0]) else func(*args)
    rules[Tensor.is_cuda.__get__] = lambda func, args, _: on_gpu(args[0])
    rules[Tensor.is_cpu.__get__] = lambda func, args, _: not on_gpu(args[0])
    rules[Tensor.get_device] = lambda func, args, _: 0 if on_gpu(args[0]) else -1
    rules[Tensor.grad.__get__] = alone
    rules |= dict.fromkeys([getattr(Tensor, name) for name in NO_TENSOR.split()], plain)
    rules |= dict.fromkeys(
        [torch._C._set_grad_enabled, torch._has_compatible_shallow_copy_type, torch.result_type], plain
    )
    rules |= dict.fromkeys([getattr(Tensor, name) for name in SECOND_ANYWHERE.split()], alone)
    rules |= dict.fromkeys(_device._device_constructors(), create)
    rules |= dict.fromkeys([torch.tensor, torch.as_tensor, torch.asarray], convert)
    rules |= dict.fromkeys([Tensor.to, Tensor.cpu, Tensor.cuda, Tensor.type_as], move)
    rules |= dict.fromkeys([Tensor.__getitem__, Tensor.__setitem__], index)
    rules |= dict.fromkeys([Tensor.index_put, Tensor.index_put_, torch.index_put, torch.index_put_], index)
    rules |= dict.fromkeys([Tensor.numpy, Tensor.__array__, Tensor.__dlpack__], refuse)
    return rules | {torch.autograd.grad: gradients, Tensor.register_hook: hook}


RULES = _rules()


# What stands in for the driver -------------------------------------------------------------------


class Generator(torch.Generator):
    """A generator on either device; the same seed draws other numbers on the GPU."""

    def __new__(cls, device: Any = "cpu") -> "Generator":
        return super().__new__(cls)  # on the CPU, where all numbers are drawn

    def __init__(self, device: Any = "cpu") -> None:
        self.on_gpu = is_gpu(device)

    @property
    def device(self) -> torch.device:
        return GPU if self.on_gpu else torch.device("cpu")

    def manual_seed(self, seed: int) -> "Generator":
        return super().manual_seed(seed ^ 0x6E7669646961 if self.on_gpu else seed)


def _stub(value: Any) -> Callable:
    """A function that returns a value; one each, as torch looks its functions up by identity."""
    return lambda *args, **kwargs: value


STUBS = {
    "is_available": _stub(True),
    "device_count": _stub(1),
    "get_device_name": _stub(NAME),
    **{name: _stub(0) for name in ("current_device", "memory_allocated", "max_memory_allocated")},
    **{name: _stub(None) for name in ("synchronize", "empty_cache", "reset_peak_memory_stats")},
    **{name: _stub(None) for name in ("manual_seed", "manual_seed_all", "get_rng_state", "set_rng_state")},
}
STREAM = SimpleNamespace(is_capturing=_stub(False))  # Adam asks


_PARSE_TO = torch._C._nn._parse_to


def _parse_to(*args: Any, **kwargs: Any) -> tuple:
    """What `Module.to` asks for; with a tensor it means that one's device, as Python sees it."""
    if args and isinstance(args[0], Tensor):
        args = (args[0].device, args[0].dtype, *args[1:])
    return _PARSE_TO(*args, **kwargs)


# Autograd runs a custom function's backward with the mode off, on gradients that it has made itself.
_APPLY = inspect.getattr_static(torch.autograd.Function, "apply")
_APPLY_BACKWARD = torch.autograd.function.BackwardCFunction.apply


def _forward(cls: type, *args: Any, **kwargs: Any) -> Any:
    """`Function.apply`, which remembers for `_backward` whether it was on the GPU."""
    result = _APPLY.__get__(None, cls)(*args, **kwargs)
    for output in result if isinstance(result, tuple) else (result,):
        if isinstance(output, Tensor) and output.grad_fn is not None:
            output.grad_fn.metadata["on_gpu"] = output.is_cuda
    return result


def _backward(node: Any, *given: Any) -> Any:
    """`BackwardCFunction.apply`, watched and with labelled gradients."""
    if node.metadata.get("on_gpu"):
        label(given)
    with Rules():
        return _APPLY_BACKWARD(node, *given)


# The kernel of a page ----------------------------------------------------------------------------


def kernel_spec(folder: Path) -> str:
    """Write the Jupyter kernel that runs pages on a pretended GPU, for JUPYTER_PATH=folder; returns its name."""
    place = folder / "kernels" / KERNEL
    place.mkdir(parents=True)
    spec = {"argv": COMMAND, "display_name": NAME, "language": "python"}
    (place / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    return KERNEL


def _plain_engine() -> ModuleType:
    """A stand-in for `otad.kernels.rank_gpu` that computes the same without Triton."""

    def matched_map(features: Tensor, references: Tensor, weights: Tensor, ties: Any = "mean") -> Tensor:
        from otad.methods.matching import ranks as matching  # here, because not every page needs it

        each = [matching.matched_map(features, weights, r, ties=ties, engine="plain") for r in references]
        return torch.stack(each).sum(dim=0)

    module = ModuleType("otad.kernels.rank_gpu")
    module.matched_map = matched_map
    return module


if __name__ == "__main__":
    from ipykernel.kernelapp import launch_new_instance

    del sys.path[0]  # this folder, which no page may import from
    sys.modules["otad.kernels.rank_gpu"] = _plain_engine()
    with pretended_gpu():
        launch_new_instance()
