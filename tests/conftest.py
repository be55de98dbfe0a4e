import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from otad.publish import pages
from otad.publish.execute import execute

from .forked import PLAIN, kernel_spec, server

# Pages that are executed with and without a GPU, which must not show in what they record: one of each paper and two more, since
# each takes as long again.
TWICE = tuple(page for page in pages() if page[:2] in ("01", "04", "13", "22", "33", "41", "51"))
# A page runs beside the tests all the time: threads of a test would wait for each other, spinning. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser):
    parser.addoption("--scale", default="laptop", help="scale of the built book that `-m book` checks")


def pytest_collection_modifyitems(items):
    """Let the tests of the pages come last: pages are executed beside all others until then, and both cores have work to the end."""
    items.sort(key=lambda item: item.path.name == "test_notebooks.py")


@pytest.fixture(scope="session")
def scale(request):
    return request.config.getoption("--scale")


@pytest.fixture(scope="session")
def forking():
    """A server that forks kernels, where that is possible; elsewhere nothing, and kernels start plainly."""
    if sys.platform != "linux":
        yield None
        return
    with server() as address:
        yield address


@pytest.fixture
def plain_kernel(forking, tmp_path, monkeypatch):
    """The name of the kernel of `make book`, forked where that is possible."""
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    return kernel_spec(tmp_path / "share", "plain", PLAIN, forking)


@pytest.fixture(scope="session", autouse=True)
def page_runs(request, tmp_path_factory):
    """Every page at smoke scale on a pretended GPU, and those of TWICE plainly too, for test_notebooks.py: folders by kernel, futures.

    They take longest, so they start before the first test and run beside the others, one at a time: two cores have no more room. A page
    that nobody has begun when its test comes is executed by that test. `make book` executes all plainly.
    """
    if not any(item.path.name == "test_notebooks.py" for item in request.session.items):
        yield None
        return
    from .pretended_gpu import COMMAND  # here, because it takes torch

    share, address = tmp_path_factory.mktemp("share"), request.getfixturevalue("forking")
    commands = {"gpu": COMMAND, "plain": PLAIN}
    folders = {name: tmp_path_factory.mktemp(name) for name in commands}
    kernels = {name: kernel_spec(share, name, command, address) for name, command in commands.items()}
    with pytest.MonkeyPatch.context() as patch, ProcessPoolExecutor(1, get_context("spawn")) as pool:
        patch.setenv("JUPYTER_PATH", str(share))
        yield (
            folders,
            {
                (name, page): pool.submit(
                    execute, page, "smoke", folders[name] / f"{page}.ipynb", kernel=kernel
                )
                for page in reversed(pages())  # who helps begins at the first ones
                for name, kernel in kernels.items()
                if name == "gpu" or page in TWICE
            },
        )
        pool.shutdown(cancel_futures=True)
