"""`make results` for studies: Snakemake runs the jobs that lack cells, on this machine or a cluster; then all are gathered."""

import time
from collections.abc import Sequence
from pathlib import Path

from otad.publish import root
from otad.publish.build import OPTIONS, BuildError, local, snakemake
from otad.publish.processes import alone, follow, say
from otad.studies import Study, load, runner

CELLS = Path("_build/cells")


def compute(names: Sequence[str], scale: str, cores: int, executor: str = "local") -> None:
    """Compute the missing cells of these studies and write results/<study>.json, of what there is also after a failure.

    cores: jobs at a time. executor: one of Snakemake's, as slurm. Raises BuildError if cells raised; the others are kept.
    """
    studies, start = [load(name) for name in names], time.monotonic()
    log = root() / "_build" / "results.log"
    with alone(root() / "_build" / ".results.lock", "Another run of studies is under way here") as lock:
        todo = {study: runner.todo(study, scale, CELLS, gathered(study, scale)) for study in studies}
        before, total = _done(studies, scale), sum(len(study.cells(scale)) for study in studies)
        say(f"{before} of {total} cells are there")
        failed = False
        try:
            targets = [marker(study, scale, job) for study, jobs in todo.items() for job in jobs]
            if targets:
                for target in targets:
                    target.unlink(missing_ok=True)
                many = (
                    local(scale, cores)
                    if executor == "local"
                    else ["--executor", executor, "--jobs", str(cores)]
                )
                with snakemake(
                    [*map(str, targets), *many, "--config", f"scale={scale}", *OPTIONS], log, lock
                ) as process:
                    for line in follow(process, log):
                        if line.startswith(("cell done:", "Finished job")):
                            say(progress(_done(studies, scale), before, total, time.monotonic() - start))
                failed = process.returncode != 0
        finally:
            for study in studies:
                say(report(study, scale))
    if failed:
        raise BuildError(
            f"some cells were not computed:\n{_errors(log)}\nEverything said: _build/results.log"
        )


def gathered(study: Study, scale: str) -> Path:
    """Return where the rows of a study are kept: beside the book those of laptop scale, which its pages print."""
    folder = root() / "results" if scale == "laptop" else root() / "_build" / "results" / scale
    return folder / f"{study.name}.json"


def marker(study: Study, scale: str, job: int) -> Path:
    """Return the file that says that a job has ended well: what Snakemake asks for."""
    return CELLS / scale / study.name / f"job-{job}.done"


def progress(done: int, before: int, total: int, seconds: float) -> str:
    """Return cells done of cells to do, and the time left at the pace so far."""
    left = seconds * (total - done) / max(1, done - before)
    return f"[{done}/{total} cells, {seconds:4.0f} s] about {left / 60:.1f} min left"


def report(study: Study, scale: str) -> str:
    """Gather a study and return what it has."""
    lacking = runner.gather(study, scale, CELLS, gathered(study, scale))
    total = len(study.cells(scale))
    return f"{gathered(study, scale).relative_to(root())} has {total - len(lacking)} of {total} cells"


def _done(studies: Sequence[Study], scale: str) -> int:
    """Count the cells that are there, as files or gathered."""
    return sum(len(runner.known(study, scale, CELLS, gathered(study, scale))) for study in studies)


def _errors(log: Path) -> str:
    """Return what our own commands said of cells that raised."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    told = [line for line in lines if line.startswith("otad: ") or ('{"' in line and "done" not in line)]
    return "\n".join(told or lines[-20:])
