import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from otad.publish import pages
from otad.publish.execute import execute

from .forked import PLAIN, kernel_spec, server

# Two pages run beside the tests all the time: threads of a test would wait for each other, spinning. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser):
    parser.addoption("--scale", default="laptop", help="scale of the built book that `-m book` checks")


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


@pytest.fixture(scope="session", autouse=True)
def page_runs(request, tmp_path_factory):
    """Two executions of every page at smoke scale, plain and on a pretended GPU, for test_notebooks.py.

    They take longest, so they start before the first test and run beside the others, two at a time.
    """
    if not any(item.path.name == "test_notebooks.py" for item in request.session.items):
        yield None
        return
    from .pretended_gpu import COMMAND  # here, because it takes torch

    share, address = tmp_path_factory.mktemp("share"), request.getfixturevalue("forking")
    kernels = {
        tmp_path_factory.mktemp(name): kernel_spec(share, name, command, address)
        for name, command in {"plain": PLAIN, "gpu": COMMAND}.items()
    }
    with pytest.MonkeyPatch.context() as patch, ProcessPoolExecutor(2, get_context("spawn")) as pool:
        patch.setenv("JUPYTER_PATH", str(share))
        yield (
            list(kernels),
            {
                (folder, page): pool.submit(execute, page, "smoke", folder / f"{page}.ipynb", kernel=kernel)
                for page in pages()
                for folder, kernel in kernels.items()
            },
        )
        pool.shutdown(cancel_futures=True)
