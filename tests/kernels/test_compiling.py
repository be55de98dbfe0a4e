"""The package works where nothing can be written: in a read-only image, on a cluster's node without a home."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import otad

# One kernel, run on three values against two references.
USE = """
import warnings
import numpy as np
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    from otad.kernels import lanes
assert lanes.__file__.startswith({root!r}), lanes.__file__
below = np.zeros((2, lanes.GROUP), np.int32)
references = np.array([[1.0, 2.0, 3.0, 1.0, 1.0, 1.0], [0.0, 0.0, 9.0, 0.0, 0.0, 0.0]])  # the second half does not count
lanes._count_below(np.full(lanes.GROUP, 2.5), references, below)
assert (below == 2).all(), below
print(len(told), *[one.message for one in told])
"""


@pytest.fixture
def use(tmp_path):
    """Run a copy of the package in a process of its own; nothing can be written but where the test says.

    A file in the place of `__pycache__` and a home under /proc stop root as well, whom no permission stops.
    """
    package = tmp_path / "site" / "otad"
    (package / "kernels").mkdir(parents=True)
    source = Path(otad.__file__).parent
    shutil.copy(source / "__init__.py", package)
    for path in (source / "kernels").glob("*.py"):
        shutil.copy(path, package / "kernels")
    (package / "kernels" / "__pycache__").write_text("")

    def run(**settings: str) -> str:
        nowhere = {"HOME": "/proc/nowhere", "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "XDG_", "PYTHON"))}
        command = [sys.executable, "-c", USE.format(root=str(package.parent))]
        done = subprocess.run(command, env=kept | nowhere | settings, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_nowhere_to_write_is_told_once_and_works(use):
    told = use()
    assert told.startswith("1 "), told
    assert "set NUMBA_CACHE_DIR to a writable folder" in told


def test_the_users_folder_is_used_where_the_package_is_read_only(use, tmp_path):
    assert use(HOME=str(tmp_path / "home")).split() == ["0"]
    assert list((tmp_path / "home").rglob("lanes._count_below*.nbi"))


def test_numba_cache_dir_is_honoured(use, tmp_path):
    assert use(NUMBA_CACHE_DIR=str(tmp_path / "mine")).split() == ["0"]
    assert list((tmp_path / "mine").rglob("lanes._count_below*.nbi"))
