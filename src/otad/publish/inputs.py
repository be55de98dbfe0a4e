"""What the execution of a page depends on, for the Snakefile: a page is executed again when one of these changes, and only then."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from otad.publish import root
from otad.studies import sources

COMMUNITY = "community.csv"  # contributors' own claims: only a page that judges one depends on them
PACKAGE = Path("src", "otad")  # from the root: a folder may move with its book


@dataclass(frozen=True)
class Inputs:
    """What a page depends on.

    files: the page, the modules that it imports, data that these read, stored rows that they name, what executes it, the locked
    versions. tables: hash of the packages with a table of methods, without the table: every new method changes these files.
    """

    files: list[str]
    tables: str


def _is_read(data: Path, modules: list[Path]) -> bool:
    """Return whether some of the modules read a file that lies in their package: those that name it, or, where none does, all."""
    namers = [path for path in data.parent.glob("*.py") if data.name in sources.strings(path)]
    return not namers or any(path in modules for path in namers)


def inputs(page: str) -> Inputs:
    """Return what the execution of a page depends on."""
    source = root() / "notebooks" / f"{page}.py"
    modules = list(sources.needed(source, PACKAGE).values())
    tables = [path for path in modules if sources.table(path)]
    named = set().union(*map(sources.strings, (source, *modules)))
    files = {path for path in modules if path not in tables}
    files |= {path for module in modules for path in sources.data(module) if _is_read(path, modules)}
    if not any(re.fullmatch(r"own-\d\d", name) for name in named):
        files = {path for path in files if path.name != COMMUNITY}
    files |= {path for path in Path("results").glob("*.json") if path.stem in named}
    files |= set(sources.closure("otad.publish.execute", PACKAGE).values())
    code = "\n".join(map(sources.code, sorted(tables)))
    return Inputs(
        [f"notebooks/{page}.py", *sorted(map(str, files)), "requirements.txt"],
        hashlib.sha256(code.encode()).hexdigest()[:16],
    )
