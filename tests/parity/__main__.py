"""Command line: `python -m tests.parity heads|auroc|speed`, from the repository's root; the package's docstring says more."""

import argparse
import json
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from otad.publish import root
from otad.publish.results import commit
from otad.studies.runner import source, write

FILE = "results/parity_anomalib.json"
KEY = ("part", "method", "what", "size", "class", "seed")
Row = dict[str, Any]


def main() -> None:
    """Compute a part and write its rows."""
    options = parser().parse_args()
    name = commit()
    rows = computed(options)
    packages = {package: version(package) for package in ("anomalib", "FrEIA")}
    said = source() | {"commit": name}
    said["versions"] |= packages
    path = root() / FILE
    write(path, merged(path, rows, said).encode())
    print(f"{len(rows)} rows of {options.part} written to {FILE}")


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    found = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    found.add_argument("part", choices=("heads", "auroc", "speed"))
    found.add_argument("--methods", nargs="+", help="of auroc: padim patchcore cflow fastflow")
    found.add_argument("--seeds", nargs="+", type=int, help="of auroc")
    found.add_argument("--tasks", nargs="+", help="of speed: coreset neighbours padim fastflow cflow")
    return found


def computed(options: argparse.Namespace) -> list[Row]:
    """Return the rows of what was asked for."""
    from . import auroc, heads, speed

    if options.part == "heads":
        return heads.rows()
    if options.part == "auroc":
        return list(auroc.rows(options.methods or list(auroc.HEADS), options.seeds or auroc.SEEDS))
    return list(speed.rows(options.tasks or list(speed.TASKS)))


def merged(path: Path, rows: Iterable[Row], said: dict[str, Any]) -> str:
    """Return the file's text with these rows in the place of old ones of the same key; each row names its source."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"sources": [], "rows": []}
    all_rows = {_key(row): (row, before["sources"][row["from"]]) for row in before["rows"]}
    all_rows |= {_key(row): (row, said) for row in rows}
    sources: list[dict[str, Any]] = []
    for _, its in all_rows.values():
        if its not in sources:
            sources.append(its)
    lines = [row | {"from": sources.index(its)} for row, its in sorted(all_rows.values(), key=_part)]
    return f'{{"sources": {_lines(sources)},\n "rows": {_lines(lines)}\n}}\n'


def _part(item: tuple[Row, Any]) -> str:
    return item[0]["part"]


def _key(row: Row) -> str:
    return json.dumps([row.get(name) for name in KEY])


def _lines(items: Iterable[Any]) -> str:
    said = (json.dumps(item, ensure_ascii=False, allow_nan=False) for item in items)
    return "[\n  " + ",\n  ".join(said) + "\n ]"


if __name__ == "__main__":
    main()
