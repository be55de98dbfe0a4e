"""Command line of the build: `python -m otad.publish --help`."""

import argparse
import os
import sys
from pathlib import Path

from otad.publish.processes import say


def main(arguments: list[str] | None = None) -> int:
    """Run one step of the build; errors the author can mend are one message and exit status 1."""
    options = parser().parse_args(arguments)
    try:
        _name_data(options)
        STEPS[options.step](options)
    except (ValueError, RuntimeError) as error:
        say(f"otad: {error}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("otad: stopped", sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser: one sub-command a step."""
    top = argparse.ArgumentParser(prog="otad.publish", description=__doc__)
    steps = top.add_subparsers(dest="step", required=True)
    for name, text in HELP.items():
        step = steps.add_parser(name, help=text)
        step.add_argument("--scale", default="laptop", help="smoke, laptop or paper")
        if name in ("book", "execute", "results"):
            step.add_argument("--data", default="", help="folder of the data sets of scale paper (OTAD_DATA)")
        if name == "book":
            step.add_argument("--cores", type=_cores, default=2)
        if name == "portable":
            step.add_argument(
                "pages", nargs="*", help="pages to try; none: those with stored rows, and all twice"
            )
            step.add_argument("--once", action="store_true", help="do not execute pages twice at smoke scale")
        if name == "results":
            step.add_argument("studies", nargs="*", help="their names; none: all of them")
            step.add_argument("--cores", type=_cores, default=2, help="jobs at a time")
            step.add_argument("--executor", default="local", help="one of Snakemake's, as slurm")
        if name == "execute":
            step.add_argument("page", help="the page's name, as 10_the_idea_of_fca")
            step.add_argument("--output", type=Path, required=True)
            step.add_argument("--threads", type=int, default=1)
    return top


def _cores(text: str) -> int:
    """Return a number of cores: with none, Snakemake would wait for one for ever."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on; got {text!r}: CORES=2")
    return int(text)


def _name_data(options: argparse.Namespace) -> None:
    """Hand the folder of data sets to the pages, which run elsewhere and so need its absolute path, as OTAD_DATA.

    At paper scale a folder without any data set is refused here: every page would refuse it, half a minute each.
    """
    named = getattr(options, "data", "") or os.environ.get("OTAD_DATA", "")
    if named:
        os.environ["OTAD_DATA"] = str(Path(named).expanduser().absolute())
    if options.step not in ("book", "results") or options.scale != "paper":
        return
    if not named:
        raise ValueError(
            "scale 'paper' reads the papers' data sets, and no folder was named: DATA=/path make book SCALE=paper "
            "(book/data.md lists what it should hold)"
        )
    from otad.data.readers.locations import LAYOUTS  # here: torch takes seconds

    folder = Path(os.environ["OTAD_DATA"])
    if not any((folder / name).is_dir() for name in LAYOUTS):
        what = "holds none of the data sets" if folder.is_dir() else "is no folder"
        raise ValueError(
            f"scale 'paper' reads the papers' data sets, and {folder} {what}; expected in it: {', '.join(LAYOUTS)} "
            "(book/data.md lists what each should hold)"
        )


HELP = {
    "book": "execute what changed and build the book",
    "execute": "execute one page",
    "html": "build the HTML from the executed pages",
    "pair": "write the .ipynb beside each .py",
    "built": "say so if there is no book at this scale",
    "accept": "write the recorded values as the expected ones",
    "portable": "execute pages with stored rows on an emulated processor and with two threads, every page twice; compare",
    "results": "compute what is missing of studies",
}


def _book(options: argparse.Namespace) -> None:
    from otad.publish.build import book

    book(options.scale, options.cores)


def _execute(options: argparse.Namespace) -> None:
    from otad.publish.build import DONE, START
    from otad.publish.execute import execute

    say(f"{START} {options.page}")
    cost = execute(options.page, options.scale, options.output, options.threads)
    say(f"{DONE} {options.page} {cost['seconds']:.1f} s, {cost['peak_memory_mb']:.0f} MB")


def _html(options: argparse.Namespace) -> None:
    from otad.publish.build import html

    html(options.scale)


def _pair(_: argparse.Namespace) -> None:
    from otad.publish.notebooks import pair

    for path in pair():
        print("wrote", path.name)


def _built(options: argparse.Namespace) -> None:
    from otad.publish.records import built

    built(options.scale)


def _accept(options: argparse.Namespace) -> None:
    from otad.publish.expected import accept

    _built(options)
    print("wrote", accept(options.scale))


def _portable(options: argparse.Namespace) -> None:
    from otad.publish.portable import portable

    portable(options.pages, options.scale, twice=not options.once)


def _results(options: argparse.Namespace) -> None:
    from otad.publish import cells, results
    from otad.studies import names, possible

    results.commit()
    for name in options.studies:
        if name not in names():
            raise ValueError(f"{name!r} is no study; the studies are {', '.join(names()) or 'none'}")
    asked = options.studies
    if not asked:  # at paper scale a cluster gives every cell a GPU; elsewhere what times one needs one here
        asked = names() if options.scale == "paper" and options.executor != "local" else possible()
    cells.compute(asked, options.scale, options.cores, options.executor)


STEPS = {
    "book": _book,
    "execute": _execute,
    "html": _html,
    "pair": _pair,
    "built": _built,
    "accept": _accept,
    "portable": _portable,
    "results": _results,
}

if __name__ == "__main__":
    sys.exit(main())
