"""Where the machine code of the CPU's kernels is kept: the one place that decides."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function by numba, free of the GIL, and keep its machine code for the next process if possible.

    Numba looks for a place in NUMBA_CACHE_DIR, beside the file, and in the user's cache folder. In containers and
    on clusters none of them may be writable. Then every process compiles for itself, which a warning says once:
    a folder that all users share, such as that for temporary files, is no place to load machine code from.
    """
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
    _tell()
    return njit(nogil=True)(function)


@cache
def _tell() -> None:
    warnings.warn(
        "otad cannot keep its compiled kernels, as neither the package's folder nor the user's cache folder is "
        "writable, so every process compiles them anew; set NUMBA_CACHE_DIR to a writable folder to keep them.",
        stacklevel=3,
    )
