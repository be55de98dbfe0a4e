"""What computed a page: sums round differently on every processor, and training amplifies that, so results name theirs."""

import contextlib
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path

# Variables that take instruction sets or code paths away; a processor can be emulated with them.
LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "MKL_CBWR")

PACKAGES = ("otad", "numpy", "torch", "torchvision", "pot", "scikit-learn", "umap-learn", "matplotlib")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def commit() -> str:
    """Return the commit of the repository that this process works in; "unknown" outside one.

    It ends in "-dirty" if tracked files differ, those under results/ apart: what a run writes is not what it runs.
    """
    name = _git("rev-parse", "--short=12", "HEAD")
    if name.returncode:
        return "unknown"
    differs = _git("diff", "--quiet", "HEAD", "--", ":/", ":(exclude,top)results").returncode
    return name.stdout.strip() + ("-dirty" if differs else "")


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], capture_output=True, text=True)


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Return the least wall time of `repeats` calls; a GPU finishes what it was given first."""
    import torch

    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return min(spent)


def forget_peak() -> None:
    """Let `own_peak_mb` begin anew; where the system has no way to, as outside Linux, nothing happens."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def own_peak_mb() -> float:
    """Return the most memory that this process has used since it began, or, on Linux, since `forget_peak`."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.is_file() else None
    return round(int(found[1]) / 2**10, 1) if found else _megabytes(resource.RUSAGE_SELF)


def peak_memory_mb() -> float:
    """Return the most memory that this process, or one that it has started and seen end, has used so far."""
    return max(map(_megabytes, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def _megabytes(who: int) -> float:
    peak = resource.getrusage(who).ru_maxrss
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10, 1)


def torch_peak(work: Callable[[], object]) -> int:
    """Return the most bytes that torch held at once on the CPU during `work`, beyond those before."""
    from torch.profiler import ProfilerActivity, profile

    with _quiet(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        work()
    events = trace.profiler.kineto_results.events()
    steps = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(accumulate((size for _, size in steps), initial=0))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send the tracer's messages, written below Python, nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def machine() -> str:
    """Return the processor's model, the instruction set and BLAS in use here, a used GPU, and limits that were set."""
    cores = os.cpu_count()
    parts = [f"{model()} ({platform.machine()}, {cores} core{'' if cores == 1 else 's'})"]
    parts += _torch()
    blas = _blas()
    if blas:
        parts.append("BLAS " + " and ".join(blas))
    parts += [f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ]
    return ", ".join(parts)


def model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name as the kernel has it, or what Python knows of it."""
    if cpuinfo.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return re.sub(r"\s+", " ", found[1]).strip()
    return platform.processor() or "unknown processor"


def _torch() -> list[str]:
    """The instruction set that torch has chosen and the GPU that it has used; nothing if the page did without torch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return []
    parts = [f"torch with {torch.backends.cpu.get_cpu_capability()}"]
    if torch.cuda.is_initialized():
        parts.append(f"GPU {torch.cuda.get_device_name()}")
    return parts


def _blas() -> list[str]:
    """The BLAS libraries that are loaded, with the code path that OpenBLAS has chosen; torch's MKL is linked into it."""
    from threadpoolctl import threadpool_info

    loaded = [library for library in threadpool_info() if library["user_api"] == "blas"]
    names = {
        f"{b['internal_api'].replace('openblas', 'OpenBLAS')} {b['version']} ({b.get('architecture', 'any')})"
        for b in loaded
    }
    torch = sys.modules.get("torch")
    mkl = re.search(r"Math Kernel Library Version (\S+?)-", torch.__config__.show()) if torch else None
    return sorted(names) + ([f"MKL {mkl[1]}"] if mkl else [])
