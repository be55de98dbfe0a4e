"""`make book`: one build at a time, Snakemake underneath, progress on top; and the step from staged tree to HTML."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from otad import scale as scales
from otad.publish import pages, root

START, DONE = "page started:", "page done:"


class BuildError(RuntimeError):
    """The book could not be built; the message says where and why."""


@contextmanager
def only_build() -> Iterator[int]:
    """Hold the build lock, which the kernel drops when its holder dies: no stale lock can stop the next run."""
    path = root() / "_build" / ".lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another build is running here; waiting for it to end.", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def book(scale: str, cores: int) -> None:
    """Execute the pages that changed and build the book; raise BuildError with what failed."""
    scales.check(scale)
    start = time.monotonic()
    command = [
        *(sys.executable, "-m", "snakemake", "--cores", str(cores), "--config", f"scale={scale}"),
        # The lock is ours; a touched file counts as changed; what a killed run left is made again.
        *("--nolock", "--max-checksum-file-size", "0", "--rerun-incomplete", "--keep-going", "--nocolor"),
    ]
    with only_build() as lock:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[lock],
            env=environment,
        )
        assert process.stdout is not None
        with (root() / "_build" / "build.log").open("w") as log:
            for line in report(process.stdout, log, start):
                print(line, flush=True)
        if process.wait() != 0:
            raise BuildError(
                "the book was not built; the last good one is untouched. Everything said: _build/build.log"
            )
    print(f"_build/html/index.html is ready ({time.monotonic() - start:.0f} s)")


def report(lines: Iterable[str], log: IO[str], start: float) -> Iterator[str]:
    """Turn Snakemake's output into progress: pages done of pages to do, what runs, elapsed time; pass errors on."""
    total, done, running, error = 0, 0, [], False
    for line in lines:
        log.write(line)
        count = re.match(r"execute\s+(\d+)\s*$", line)
        if count:
            total = int(count[1])
            yield f"{total} of {len(pages())} pages to execute"
        elif line.startswith(START):
            running.append(line.removeprefix(START).strip())
        elif line.startswith(DONE):
            name, cost = line.removeprefix(DONE).split(maxsplit=1)
            running.remove(name)
            done += 1
            yield f"[{done}/{total} pages, {time.monotonic() - start:4.0f} s] done: {name} ({cost.strip()})"
        elif line.startswith("otad: "):
            error = True
        elif not line.strip() or re.match(r"\[|Error in rule|RuleException|Removing|Trying", line):
            error = False
        if error:
            yield line.rstrip("\n")
        elif line.startswith((START, "html:")):
            now = f"running: {', '.join(running)}" if running else line.strip()
            yield f"[{done}/{total} pages, {time.monotonic() - start:4.0f} s] {now}"


def html(scale: str) -> None:
    """Build the staged tree into _build/html; warnings are errors; the old book stays until the new one is whole."""
    from otad.publish.stage import (
        stage,
    )  # here: an unchanged book is up to date without pandas, nbformat and scipy

    print("html: staging and building", flush=True)
    source, beside = stage(scale), root() / "_build" / "new"
    shutil.rmtree(beside, ignore_errors=True)
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    command = [
        str(jupyter_book),
        "build",
        str(source),
        "--path-output",
        str(beside),
        "--all",
        "-n",
        "-W",
        "--keep-going",
        "-q",
    ]
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode != 0:
        said = (finished.stdout + finished.stderr).splitlines()
        telling = [line for line in said if re.search("WARNING|ERROR|Error|Exception", line)] or said[-30:]
        raise BuildError("jupyter-book refused the book:\n" + "\n".join(telling))
    replace(beside / "_build" / "html", root() / "_build" / "html")
    shutil.rmtree(beside)


def replace(new: Path, old: Path) -> None:
    """Put the folder `new` where `old` stands."""
    aside = old.with_name(old.name + ".old")
    shutil.rmtree(aside, ignore_errors=True)
    if old.exists():
        old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)
