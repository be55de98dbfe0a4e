"""Forked kernels: as a started one in all that counts, and gone with whoever asked for them."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import nbformat
import psutil
import pytest

from otad.publish.execute import run
from otad.publish.processes import computing, surroundings

from . import forked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")
TELL = """
import json, os, sys
loaded = sorted({"numpy", "torch"} & set(sys.modules))
import numpy as np
told = {"parent": os.getppid(), "folder": os.getcwd(), "arguments": sys.argv, "path": sys.path, "name": __name__}
told |= {"loaded": loaded, "threads": os.environ["OMP_NUM_THREADS"], "free": os.environ.get("OTAD_X")}
told |= {"drawn": np.random.rand(), "hash": hash("a"), "backend": os.environ.get("MPLBACKEND"), "nice": os.nice(0)}
print(json.dumps(told | {"input": sys.stdin.read()}))
print("complains", file=sys.stderr)
sys.exit(3)
"""
WAIT = """
import os, time
try:
    print(os.getpid(), flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.fixture(scope="module")
def light():
    """A server that has imported little."""
    with forked.server(preloaded="numpy") as address:
        yield address


def _start(address, script, text, *arguments, before=(), **environment):
    script.write_text(text)
    client = [*before, sys.executable, "-IS", forked.__file__, "fork", address]
    return subprocess.Popen(
        [*client, sys.executable, str(script), *arguments],
        cwd=script.parent,
        env={**os.environ, **computing(1), **surroundings(), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _tell(address, folder, **more):
    process = _start(address, folder / "tell.py", TELL, "--option", **more)
    said, complained = process.communicate("asked", timeout=120)
    assert (process.returncode, complained) == (3, "complains\n")
    return {"client": process.pid, **json.loads(said)}


def test_a_forked_program_is_as_a_started_one_but_for_what_is_imported_already(light, tmp_path):
    told, plain = _tell(light, tmp_path, OTAD_X="x"), _tell("/nowhere", tmp_path, OTAD_X="x")
    assert told.pop("loaded") == ["numpy"]
    assert plain.pop("loaded") == []  # no server: it became the program
    assert told.pop("parent") != told.pop("client")
    assert plain.pop("parent") == os.getpid()
    assert told.pop("drawn") != plain.pop("drawn")
    plain.pop("client")
    assert told == plain
    assert told["input"] == "asked"
    assert told["free"] == "x"


def test_a_forked_program_is_as_nice_as_its_client(light, tmp_path):
    told = _tell(light, tmp_path, before=("nice", "-n", "5"))
    assert told["loaded"] == ["numpy"]
    assert told["nice"] == min(os.nice(0) + 5, 19)


def _imported(kernel):
    """What a cell says of itself, in a kernel that is started as those of the pages are."""
    os.environ.update(computing(1) | surroundings())
    cell = nbformat.v4.new_code_cell("import sys\nprint('umap' in sys.modules)")
    return run(nbformat.v4.new_notebook(cells=[cell]), "a page", {}, kernel).cells[-1].outputs[0].text


def test_kernels_of_the_pages_are_forked(plain_kernel):
    """Those are asked for by processes that pytest spawns: their environment is not quite its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(_imported, plain_kernel).result() == "True\n"


def test_what_nobody_seeds_differs_between_two_forks(light, tmp_path):
    assert _tell(light, tmp_path)["drawn"] != _tell(light, tmp_path)["drawn"]


@pytest.mark.parametrize(
    "other", [{"OMP_NUM_THREADS": "2"}, {"ATEN_CPU_CAPABILITY": "of another"}, {"PYTHONHASHSEED": "1"}]
)
def test_another_environment_starts_plainly(light, tmp_path, other):
    told = _tell(light, tmp_path, **other)
    assert told["loaded"] == []
    assert told["threads"] == other.get("OMP_NUM_THREADS", "1")


def _gone(number):
    deadline = time.monotonic() + 60
    while psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_kernel_dies_with_its_client(light, tmp_path):
    client = _start(light, tmp_path / "wait.py", WAIT)
    kernel = int(client.stdout.readline())
    assert kernel != client.pid
    client.kill()
    _gone(kernel)
    client.communicate()
    assert _tell(light, tmp_path)["loaded"] == ["numpy"]  # the server goes on


def test_an_interrupt_reaches_the_kernel(light, tmp_path):
    client = _start(light, tmp_path / "wait.py", WAIT)
    client.stdout.readline()
    client.send_signal(signal.SIGINT)
    assert client.communicate(timeout=60)[0] == "interrupted\n"
    assert client.returncode == 0


def test_a_client_hears_of_a_killed_kernel(light, tmp_path):
    client = _start(light, tmp_path / "wait.py", WAIT)
    os.kill(int(client.stdout.readline()), signal.SIGKILL)
    client.communicate(timeout=60)
    assert client.returncode == 247  # −9


def test_kernels_die_with_the_server_and_later_ones_start_plainly(tmp_path):
    with forked.server(preloaded="numpy") as address:
        client = _start(address, tmp_path / "wait.py", WAIT)
        kernel = int(client.stdout.readline())
    _gone(kernel)
    client.communicate(timeout=60)
    assert client.returncode == 1
    assert _tell(address, tmp_path)["loaded"] == []
