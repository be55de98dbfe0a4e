"""Command line of the studies: `python -m otad.studies run NAME --job 3`."""

import argparse
import sys
from pathlib import Path

from otad import scale as scales
from otad.studies import load, names
from otad.studies.runner import CellError, gather, jobs, run


def main(arguments: list[str] | None = None) -> int:
    """Run one step; what the author can mend is a message and exit status 1."""
    options = parser().parse_args(arguments)
    try:
        scales.check(options.scale)
        STEPS[options.step](options)
    except (ValueError, CellError) as error:
        print(f"otad: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser: one sub-command a step."""
    top = argparse.ArgumentParser(prog="otad.studies", description=__doc__)
    steps = top.add_subparsers(dest="step", required=True)
    for name, text in (
        ("run", "compute the cells of a job"),
        ("gather", "write results/NAME.json"),
        ("list", "say what there is"),
    ):
        step = steps.add_parser(name, help=text)
        step.add_argument("--scale", default="laptop", help="smoke, laptop or paper")
        step.add_argument(
            "--cells", type=Path, default=Path("_build/cells"), help="where each cell's file is kept"
        )
        if name != "list":
            step.add_argument("name", help="the study")
        if name == "run":
            step.add_argument("--job", type=int, help="its number; none: all")
            step.add_argument("--threads", type=int, default=1)
        if name == "gather":
            step.add_argument("--output", type=Path, required=True)
    return top


def _run(options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(options.threads)
    study = load(options.name)
    todo = jobs(study, options.scale)
    if options.job is not None and not 0 <= options.job < len(todo):
        raise ValueError(
            f"{study.name} has jobs 0 to {len(todo) - 1} at {options.scale} scale; got {options.job}"
        )
    chosen = todo if options.job is None else [todo[options.job]]
    for job in chosen:
        run(study, options.scale, job, options.cells)


def _gather(options: argparse.Namespace) -> None:
    study = load(options.name)
    lacking = gather(study, options.scale, options.cells, options.output)
    total = len(study.cells(options.scale))
    print(f"{study.name}: {total - len(lacking)} of {total} cells in {options.output}", flush=True)


def _list(options: argparse.Namespace) -> None:
    for name in names():
        study = load(name)
        cells = len(study.cells(options.scale))
        print(f"{name}: {cells} cells, about {cells * study.seconds / 60:.0f} minutes of one core")


STEPS = {"run": _run, "gather": _gather, "list": _list}

if __name__ == "__main__":
    sys.exit(main())
