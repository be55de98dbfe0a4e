"""Kernels that need not start: a server imports what the pages import, once, and each kernel is forked from it.

Starting Python and importing torch and the rest takes six seconds of a processor, a fork none. The server has one thread and computes
nothing, so a fork copies no half-done work. What is read while Python starts or packages are imported (OMP_NUM_THREADS, PYTHONHASHSEED,
ATEN_CPU_CAPABILITY …) is the server's: a kernel that asks for another environment starts plainly, as does any that finds no server.

As a program it is the server (`forked.py serve FD`) or what Jupyter takes for the kernel (`forked.py fork SOCKET COMMAND…`). That one
waits for the forked kernel and ends as it does; when it is killed, the server kills the kernel; when the server ends, all kernels do.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PRELOADED = """
    IPython ipykernel.kernelapp matplotlib.animation matplotlib.pyplot numba ot pandas PIL.Image scipy.ndimage scipy.optimize
    scipy.spatial scipy.stats skimage.data skimage.morphology sklearn.cluster sklearn.decomposition sklearn.mixture sklearn.neighbors
    torch torch._dynamo torch.profiler torchvision.models umap yaml
"""
PLAIN = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
# As ipykernel sets it before it imports matplotlib; and a parent that ipykernel need not watch, since the server does.
KERNELS = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "JPY_PARENT_PID": "1"}
# Variables that may differ between the server and a kernel: nothing that is kept of Python's start or of an import depends on them.
# (Who imports readline, as pytest does, hands LINES and COLUMNS on to what it spawns, without seeing them itself.)
# (scikit-learn and torch set the last three when they are imported, as the server has.)
FREE = ("JPY_", "JUPYTER_", "PYTEST_", "OTAD_", "PWD", "OLDPWD", "SHLVL", "LINES", "COLUMNS", "_")
FREE += ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR")
REQUEST = 2**18  # bytes, at most


@contextlib.contextmanager
def server(threads: int = 1, preloaded: str = PRELOADED) -> Iterator[str]:
    """Run a server for kernels with so many threads, which ends with this process; yields the path of its socket."""
    from otad.publish.processes import computing, surroundings

    with tempfile.TemporaryDirectory() as folder, _socket() as listener:
        address = os.path.join(folder, "s")  # short, as such paths must be
        listener.bind(address)
        listener.listen(64)  # who asks before all is imported waits
        number = listener.fileno()
        process = subprocess.Popen(
            [sys.executable, __file__, "serve", str(number), str(os.getpid()), *preloaded.split()],
            pass_fds=[number],
            env={**os.environ, **computing(threads), **surroundings()},
        )
        listener.close()  # so that who asks when the server has died does not wait
        try:
            yield address
        finally:
            process.kill()
            process.wait()


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def kernel_spec(share: Path, name: str, command: Sequence[str], address: str | None) -> str:
    """Write the Jupyter kernel of a command, to be forked if there is a server, for JUPYTER_PATH=share; returns its name."""
    place = share / "kernels" / name
    place.mkdir(parents=True)
    fork = [sys.executable, "-IS", __file__, "fork", address] if address else []
    spec = {"argv": [*fork, *command], "display_name": name, "language": "python"}
    (place / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    return name


# The client --------------------------------------------------------------------------------------


def fork(address: str, command: list[str]) -> int:
    """Have the command forked and return its exit status when it has ended; become the command where that cannot be."""
    request = {
        "command": command,
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
    }
    begun = False

    def interrupted(*_: Any) -> None:  # Jupyter interrupts before it ends a kernel
        with contextlib.suppress(OSError):
            connection.send(b"!")

    with _socket() as connection:
        with contextlib.suppress(OSError):
            connection.connect(address)
            # The kernel may be interrupted before the next lines have run.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
            signal.signal(signal.SIGINT, interrupted)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            begun = bool(connection.recv(1))
        if begun:
            with contextlib.suppress(OSError):
                return int(connection.recv(8) or 1)
            return 1  # it has ended, but nobody says how
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    os.execv(command[0], command)


# The server --------------------------------------------------------------------------------------


def serve(listener: socket.socket, preloaded: list[str]) -> list[str]:
    """Fork a kernel for each request, for ever; returns in a kernel alone, with the command that it is to run."""
    environment = dict(os.environ)
    os.environ.update(KERNELS)
    for name in preloaded:
        importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("a package has started a thread while it was imported, and a fork would lose it")
    gc.freeze()  # what is here stays, so no kernel need look at it, which would copy it
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                if command := answer(listener.accept()[0], environment, selector):
                    return command
            elif isinstance(key.fileobj, socket.socket):
                told(key.fileobj, key.data, selector)
            else:
                ended(key.fd, *key.data, selector)


def answer(connection: socket.socket, environment: dict[str, str], selector: Any) -> list[str] | None:
    """Fork a kernel, unless it asks for another environment: then its client reads nothing and starts it. Returns as `serve`."""
    text, files, *_ = socket.recv_fds(connection, REQUEST, 3)
    request = json.loads(text or "{}")
    if fixed(request.get("environment", {})) != fixed(environment):
        connection.close()
    elif process := os.fork():
        connection.send(b"!")
        descriptor = os.pidfd_open(process)
        selector.register(connection, selectors.EVENT_READ, process)
        selector.register(descriptor, selectors.EVENT_READ, (process, connection))
    else:
        become(request, files, selector)
        return request["command"]
    for file in files:
        os.close(file)
    return None


def fixed(environment: dict[str, str]) -> dict[str, str]:
    """Return the part of an environment that a fork cannot change."""
    return {name: value for name, value in environment.items() if not name.startswith(FREE)}


def told(connection: socket.socket, process: int, selector: Any) -> None:
    """A client has been interrupted: so is its kernel. Or it has died: its kernel dies too."""
    if connection.fileno() >= 0:  # else the kernel has ended in the same moment
        dead = not connection.recv(1)
        os.kill(process, signal.SIGKILL if dead else signal.SIGINT)
        if dead:
            selector.unregister(connection)


def ended(descriptor: int, process: int, connection: socket.socket, selector: Any) -> None:
    """A kernel has ended: tell its client how."""
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    for one in (descriptor, connection):
        with contextlib.suppress(KeyError):
            selector.unregister(one)
    with contextlib.suppress(OSError):
        connection.send(str(status % 256).encode())
    connection.close()
    os.close(descriptor)


def become(request: dict[str, Any], files: list[int], selector: Any) -> None:
    """Make this process, just forked, what the client would have started."""
    import numpy as np  # as the server has

    from otad.publish import processes

    processes.die_with(os.getppid())
    processes.die_with = lambda parent: None  # a kernel is told to watch its client, which the server does
    for key in list(selector.get_map().values()):
        os.close(key.fd)
    selector.close()
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.setpriority(os.PRIO_PROCESS, 0, max(request["nice"], os.getpriority(os.PRIO_PROCESS, 0)))
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    np.random.seed()  # noqa: NPY002 — else what is drawn without a seed would be the same in every kernel; the others reseed themselves


def run(command: list[str]) -> None:
    """Run `python -m MODULE ARGUMENTS…` or `python FILE ARGUMENTS…` in this process, as Python would."""
    _, *rest = command
    if rest[0] == "-m":
        sys.path.insert(0, os.getcwd())
        sys.argv = rest[1:]
        runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(rest[0]))
        sys.argv = rest
        runpy.run_path(rest[0], run_name="__main__")


if __name__ == "__main__":
    task, where, *rest = sys.argv[1:]
    if task == "fork":
        sys.exit(fork(where, rest))
    del sys.path[0]  # this folder, which no page may import from
    from otad.publish import processes

    processes.die_with(int(rest[0]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, which is meant for the parent
    run(serve(socket.socket(fileno=int(where)), rest[1:]))
    # Python would now take apart all that the server has imported, object by object, and copy it to do so. What it does before is done.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
