"""One notebook output: its data by MIME type, and the metadata that the book and the tests read back."""

from typing import Any

from IPython import get_ipython
from IPython.display import display


def emit(data: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Display `data` (MIME type to content) with `metadata`; outside a notebook do nothing."""
    if get_ipython() is not None:
        display(data, metadata=metadata, raw=True)
