"""The processes of a build: each dies with its parent, one build runs at a time, and all speak into one log in whole lines.

`python -m otad.publish.processes PARENT MODULE:FUNCTION ARGUMENTS` runs a command line that must not outlive process PARENT.
"""

import ctypes
import fcntl
import os
import pkgutil
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO

from otad.publish import root
from otad.scale import FINISHED

PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def command(function: str, *arguments: str) -> list[str]:
    """Return the command that runs `module:function` in a child of this process, which dies with it."""
    return [sys.executable, "-m", "otad.publish.processes", str(os.getpid()), function, *arguments]


def die_with(parent: int) -> None:
    """End this process when its parent does, by whatever signal; at once if it has ended already.

    Linux sees to it; elsewhere a thread looks twice a second.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        Thread(target=_watch, args=[parent], daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


@contextmanager
def alone(path: Path, what: str) -> Iterator[IO[str]]:
    """Hold a lock, which the kernel drops when its last holder dies; who must wait is told for whom.

    Yields the locked file: a child that inherits its descriptor (`pass_fds`) holds the lock too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = ", ".join(file.read().splitlines())
            say(f"{what} ({holder}); waiting for it to end.")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        print(f"process {os.getpid()}: {shlex.join(sys.orig_argv)}", file=file, flush=True)
        yield file


def say(text: str, stream: IO[str] | None = None) -> None:
    """Write a line in one piece: several processes share the log."""
    stream = stream or sys.stdout
    stream.write(text + "\n")
    stream.flush()


def follow(process: subprocess.Popen, log: Path) -> Iterator[str]:
    """Yield the lines of a log as they are written, until the process has ended and all is read.

    A file and not a pipe: whoever writes into it need not fear that its reader was killed.
    """
    with log.open("rb") as file:
        rest, ended = b"", False
        while not ended:
            ended = process.poll() is not None  # first: what it said before it ended is read yet
            *lines, rest = (rest + file.read()).split(b"\n")
            yield from (line.decode(errors="replace") + "\n" for line in lines)
            if not (lines or ended):
                time.sleep(0.1)
        if rest:
            yield rest.decode(errors="replace") + "\n"


def settle() -> None:
    """Make the surroundings of a kernel the same everywhere: a home may be missing, read-only or full of surprises."""
    os.environ.update(surroundings())


def surroundings() -> dict[str, str]:
    """Return what the environment of a kernel says of its surroundings; its caches are under _build, which is made."""
    cache = root() / "_build" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    names = ("MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")
    quiet = {"PYTHONWARNINGS": "ignore:IProgress not found"}  # of tqdm, which would stand on a page
    cells = {FINISHED: str(root() / "_build" / "cells")}
    return {name: str(cache / name.lower()) for name in names} | quiet | cells


def computing(threads: int) -> dict[str, str]:
    """Return what the environment of a kernel says of how it computes: with so many threads, and with one order of sets."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return dict.fromkeys(names, str(threads)) | {"PYTHONHASHSEED": "0"}


def cached_here() -> dict[str, str]:
    """Return the environment with every cache under _build; only weights once downloaded stay where they are, to outlive it."""
    old = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    weights = os.environ.get("TORCH_HOME") or os.path.join(old, "torch")
    return {**os.environ, "XDG_CACHE_HOME": str(root() / "_build" / "cache"), "TORCH_HOME": weights}


def main() -> None:
    """Run MODULE:FUNCTION with its arguments."""
    parent, function, *arguments = sys.argv[1:]
    die_with(int(parent))
    sys.argv = [function, *arguments]
    sys.exit(pkgutil.resolve_name(function)())


if __name__ == "__main__":
    main()
