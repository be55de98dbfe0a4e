"""Execute one page with papermill and keep a clean, reproducible notebook with what it cost."""

import copy
import json
import logging
import os
import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import papermill
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from papermill.exceptions import PapermillExecutionError

from otad import scale as scales
from otad.machine import versions
from otad.publish.notebooks import checked_parameters, read, renumber, to_bytes
from otad.publish.processes import computing, settle

# A kernel is given ports that were free a moment before; with two pages starting at once, another may have taken one.
NEVER_STARTED, STARTS, START_TIMEOUT = "Kernel died before replying", 3, 300

# Asked of the kernel that has computed, after the page's last cell.
MACHINE = "from otad.machine import machine, peak_memory_mb\nprint(peak_memory_mb(), machine(), end='')"


class PageError(RuntimeError):
    """A page raised; the message names page, cell and error."""


def execute(
    page: str, scale: str, output: Path, threads: int = 1, kernel: str = "python3", **parameters: Any
) -> dict:
    """Run a page at a scale and write `output` (and its cost beside it, as .json) in one step.

    Raises PageError with page, cell number and message, and leaves an earlier output untouched.
    Returns the cost: seconds, peak memory of the kernel in MB, scale, threads, versions, date, and the machine in words.
    """
    scales.check(scale)
    notebook = read(page)
    parameters = checked_parameters(notebook, {"scale": scale, **parameters})
    os.environ.update(computing(threads))
    settle()
    start = time.perf_counter()
    notebook.cells.append(new_code_cell(MACHINE))
    executed = run(notebook, page, parameters, kernel)
    asked = executed.cells.pop().outputs
    peak, _, machine = "".join(o.text for o in asked if o.get("name") == "stdout").partition(" ")
    cost = {
        "page": page,
        "scale": scale,
        "seconds": round(time.perf_counter() - start, 2),
        "peak_memory_mb": float(peak),
        "threads": threads,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "versions": versions(),
    }
    write(output, to_bytes(clean(executed)))
    write(output.with_suffix(".json"), json.dumps(cost, indent=1).encode())
    return cost


def run(notebook: NotebookNode, page: str, parameters: dict[str, Any], kernel: str) -> NotebookNode:
    """Execute in an empty directory: a page may rely on nothing but the installed package."""
    logging.getLogger("papermill").setLevel(logging.ERROR)
    die = f"import otad.publish.processes as p; p.die_with({os.getpid()}); del p"  # the kernel, with this process
    with tempfile.TemporaryDirectory() as empty:
        for starts in range(1, STARTS + 1):
            try:
                return papermill.execute_notebook(
                    copy.deepcopy(notebook),
                    None,
                    parameters=parameters,
                    kernel_name=kernel,
                    language="python",
                    progress_bar=False,
                    cwd=empty,
                    start_timeout=START_TIMEOUT,
                    extra_arguments=["--IPKernelApp.log_level=40", f"--IPKernelApp.exec_lines={die}"],
                )
            except PapermillExecutionError as error:
                raise PageError(
                    f"notebooks/{page}.py, code cell {error.exec_count} raised {error.ename}: {error.evalue}\n{_where(error)}"
                ) from None
            except RuntimeError as error:
                if NEVER_STARTED not in str(error) or starts == STARTS:
                    raise PageError(f"notebooks/{page}.py: {error}") from error
        raise AssertionError("the loop returns or raises")


def _where(error: PapermillExecutionError) -> str:
    """Return the page's own line behind an error; the cell's source, without empty lines, where the traceback does not say."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    if own := re.findall(
        r"^Cell In\[\d+\], line (\d+)\b[^\n]*\n(?:[^\n-][^\n]*\n)*-+> \1 (.*)", plain, re.MULTILINE
    ):
        number, line = own[-1]  # the innermost: a function of the page, perhaps
        return f"    line {number} of its cell: {line.strip()}"
    return "\n".join(f"    {line}" for line in error.source.splitlines() if line.strip())


def clean(notebook: NotebookNode) -> NotebookNode:
    """Remove what differs from run to run, so that two executions give the same bytes (timings apart)."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        if cell.cell_type == "code":
            cell.outputs = _merge_streams(cell.outputs)
    return renumber(notebook)


def _merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if (
            last is not None
            and output.output_type == "stream" == last.output_type
            and output.name == last.name
        ):
            last.text += output.text
        else:
            merged.append(output)
    return merged


def without_timings(notebook: NotebookNode) -> NotebookNode:
    """Empty the outputs of cells tagged `timing`: what is left must be the same in every run."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and "timing" in cell.metadata.get("tags", []):
            cell.outputs = []
    return notebook


def write(path: Path, content: bytes) -> None:
    """Write a file in one step: a killed run leaves the old file or the new, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*"):  # by a run that was killed
        left.unlink(missing_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
