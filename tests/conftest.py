import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from otad.publish import pages
from otad.publish.execute import execute


def pytest_addoption(parser):
    parser.addoption("--scale", default="laptop", help="scale of the built book that `-m book` checks")


@pytest.fixture(scope="session")
def scale(request):
    return request.config.getoption("--scale")


@pytest.fixture(scope="session", autouse=True)
def page_runs(request, tmp_path_factory):
    """Two executions of every page at smoke scale, each in its own kernel, for test_notebooks.py.

    They take longest, so they start before the first test and run beside the others, two at a time.
    """
    if not any(item.path.name == "test_notebooks.py" for item in request.session.items):
        yield None
        return
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield (
            folders,
            {
                (folder, page): pool.submit(execute, page, "smoke", folder / f"{page}.ipynb")
                for page in pages()
                for folder in folders
            },
        )
        pool.shutdown(cancel_futures=True)
