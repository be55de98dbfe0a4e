"""`make book`: one build at a time, Snakemake underneath, progress on top; and the step from staged tree to HTML."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from otad import scale as scales
from otad.publish import pages, root
from otad.publish.processes import alone, cached_here, command, follow, say, settle

START, DONE = "page started:", "page done:"
# The lock is ours; a touched file counts as changed; what a killed run left is made again.
OPTIONS = ["--nolock", "--max-checksum-file-size", "0", "--rerun-incomplete", "--keep-going", "--nocolor"]
# How much of the log is shown where no message of ours says what went wrong: lines, of them before the error, and their width.
SHOWN, BEFORE, WIDTH = 30, 12, 300


class BuildError(RuntimeError):
    """The book could not be built; the message says where and why."""


def book(scale: str, cores: int) -> None:
    """Execute the pages that changed and build the book; raise BuildError with what failed."""
    scales.check(scale)
    pages()  # a strange name is refused here: with a book built before, Snakemake would call that one up to date
    start, log, explained = time.monotonic(), root() / "_build" / "build.log", False
    arguments = [*local(scale, cores), "--config", f"scale={scale}", *OPTIONS]
    with alone(root() / "_build" / ".lock", "Another build is running here") as lock:
        restore(root() / "_build" / "html")
        outdate(scale)
        with snakemake(arguments, log, lock) as process:
            for line in report(follow(process, log), start):
                explained |= line.startswith("otad: ")
                say(line)
        if process.returncode != 0:
            raise BuildError(_refusal(process.returncode, log, explained))
    print(f"_build/html/index.html is ready ({time.monotonic() - start:.0f} s)")


def local(scale: str, cores: int) -> list[str]:
    """Return Snakemake's options for jobs on this machine; at paper scale they share its GPUs, one each."""
    found = ["--cores", str(cores)]
    if scale == "paper":
        import torch

        found += ["--resources", f"gpu={max(1, torch.cuda.device_count())}"]
    return found


def _refusal(status: int, log: Path, explained: bool) -> str:
    """Say that there is no new book; where no message of ours said why, show the log around its first error, or its end."""
    message = "the book was not built; the last good one is untouched. Everything said: _build/build.log"
    if explained:
        return message
    said = [line[:WIDTH] for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    first = next((i for i, line in enumerate(said) if re.search("Error|Exception", line)), len(said))
    start = max(0, min(first - BEFORE, len(said) - SHOWN))
    return "\n".join([f"{message}, and there (Snakemake's exit status is {status}):", *said[start:][:SHOWN]])


@contextmanager
def snakemake(arguments: list[str], log: Path, lock: IO[str]) -> Iterator[subprocess.Popen]:
    """Start Snakemake, writing into the log; it does not outlive this block, nor this process.

    It holds the lock too, so that the next build waits until it has followed a killed parent.
    """
    log.unlink(missing_ok=True)  # a new file: what is left of a killed build may still write into its own
    with log.open("ab") as output:
        process = subprocess.Popen(
            command("snakemake.cli:main", *arguments),
            stdout=output,
            stderr=output,
            pass_fds=[lock.fileno()],
            env=cached_here(),
        )
    print(f"its Snakemake: process {process.pid}", file=lock, flush=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def report(lines: Iterable[str], start: float) -> Iterator[str]:
    """Turn the log into progress: pages done of pages to do, what runs, elapsed time; pass errors on."""
    total, done, running, error = 0, 0, [], False
    for line in lines:
        count = re.match(r"execute\s+(\d+)\s*$", line)
        begun = re.search(rf"{START} (\w+)$", line)
        ended = re.search(rf"{DONE} (\w+) (.*)$", line)
        if count:
            total = int(count[1])
            yield f"{total} of {len(pages())} pages to execute"
        elif begun:
            running.append(begun[1])
        elif ended:
            running = [page for page in running if page != ended[1]]
            done += 1
            yield f"[{done}/{total} pages, {time.monotonic() - start:4.0f} s] done: {ended[1]} ({ended[2]})"
        elif line.startswith("otad: "):
            error = True
        elif not line.strip() or re.match(r"\[|Error in rule|RuleException|Removing|Trying", line):
            error = False
        if error:
            yield line.rstrip("\n")
        elif begun or line.startswith("html:"):
            now = f"running: {', '.join(running)}" if begun else line.strip()
            yield f"[{done}/{total} pages, {time.monotonic() - start:4.0f} s] {now}"


def html(scale: str) -> None:
    """Build the staged tree into _build/html; warnings are errors; the old book stays until the new one is whole."""
    from otad.publish.stage import stage  # here: an unchanged book is up to date without pandas and scipy

    settle()
    say("html: staging and building")
    with alone(root() / "_build" / ".html.lock", "Another build is writing the HTML") as lock:
        source, beside = stage(scale), root() / "_build" / "new"
        shutil.rmtree(beside, ignore_errors=True)
        options = ["--path-output", str(beside), "--all", "-n", "-W", "--keep-going", "-q"]
        finished = subprocess.run(
            command("jupyter_book.cli.main:main", "build", str(source), *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            pass_fds=[lock.fileno()],
        )
        if finished.returncode != 0:
            said = finished.stdout.splitlines()
            telling = [line for line in said if re.search("WARNING|ERROR|Error|Exception", line)] or said[
                -30:
            ]
            refused = f"jupyter-book refused the book (exit status {finished.returncode}):"
            raise BuildError("\n".join([refused, *telling]))
        replace(beside / "_build" / "html", root() / "_build" / "html")
        shutil.rmtree(beside)


def replace(new: Path, old: Path) -> None:
    """Put the folder `new` where `old` stands."""
    aside = _aside(old)
    shutil.rmtree(aside, ignore_errors=True)
    if old.exists():
        old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)


def restore(old: Path) -> None:
    """Put back the folder that a `replace` killed between its two steps has left aside."""
    if _aside(old).exists() and not old.exists():
        _aside(old).rename(old)


def outdate(scale: str) -> None:
    """Take the marker of a whole book away if a part is missing: Snakemake does not miss what only led to a marker that is there."""
    marker, executed = root() / "_build" / "book.done", root() / "_build" / "executed" / scale
    receipts = [executed / f"{page}.json" for page in pages()]
    for receipt in receipts:
        if not receipt.with_suffix(".ipynb").is_file():
            receipt.unlink(missing_ok=True)
    if not all(path.is_file() for path in (*receipts, root() / "_build" / "html" / "index.html")):
        marker.unlink(missing_ok=True)


def _aside(folder: Path) -> Path:
    return folder.with_name(folder.name + ".old")
