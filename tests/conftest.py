import contextlib
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

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


# Pages --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _forking():
    if sys.platform != "linux":
        yield None
        return
    with server() as address:
        yield address


@contextlib.contextmanager
def _executing(address):
    """Begin to execute every page at smoke scale on a pretended GPU, and those of TWICE plainly too; yields folders by kernel, and futures.

    Pages take longest, so they run beside all tests, two at a time and with a low priority: they take what the tests leave of two cores.
    A page that nobody has begun when its test comes is executed by that test. `make book` executes all plainly.
    """
    from .pretended_gpu import COMMAND  # here, because it takes torch

    commands = {"gpu": COMMAND, "plain": PLAIN}
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        folders = {name: Path(place) / name for name in commands}
        share = Path(place) / "share"
        kernels = {name: kernel_spec(share, name, command, address) for name, command in commands.items()}
        patch.setenv("JUPYTER_PATH", str(share))
        with ProcessPoolExecutor(2, get_context("spawn"), initializer=os.nice, initargs=(10,)) as pool:
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


EARLY = pytest.StashKey()


def pytest_sessionstart(session):
    """Where all is tested, pages begin while the tests are still being collected."""
    config = session.config
    some = config.option.collectonly or config.option.keyword or getattr(config.option, "lf", False)
    if (
        config.args_source is config.ArgsSource.TESTPATHS
        and config.option.markexpr == "not book"
        and not some
    ):
        stack = contextlib.ExitStack()
        config.add_cleanup(stack.close)
        address = stack.enter_context(_forking())
        config.stash[EARLY] = address, stack.enter_context(_executing(address))


@pytest.fixture(scope="session")
def forking(pytestconfig):
    """A server that forks kernels, where that is possible; elsewhere nothing, and kernels start plainly."""
    if EARLY in pytestconfig.stash:
        yield pytestconfig.stash[EARLY][0]
    else:
        with _forking() as address:
            yield address


@pytest.fixture(scope="session")
def page_runs(pytestconfig, request):
    """What executes pages, for test_notebooks.py: see `_executing`."""
    if EARLY in pytestconfig.stash:
        yield pytestconfig.stash[EARLY][1]
    else:
        with _executing(request.getfixturevalue("forking")) as runs:
            yield runs


@pytest.fixture
def plain_kernel(forking, tmp_path, monkeypatch):
    """The name of the kernel of `make book`, forked where that is possible."""
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    return kernel_spec(tmp_path / "share", "plain", PLAIN, forking)
