"""What the execution of a page depends on, for the Snakefile: a page is executed again when one of these changes, and only then."""

import ast
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

    files: the page, the modules that it imports, data that these read, stored rows that it asks for, what executes it, the locked
    versions. tables: hash of the packages with a table of methods, without the table: every new method changes these files.
    """

    files: list[str]
    tables: str


def _is_read(data: Path, modules: list[Path]) -> bool:
    """Return whether some of the modules read a file that lies in their package: those that name it, or, where none does, all."""
    namers = [path for path in data.parent.glob("*.py") if data.name in sources.strings(path)]
    return not namers or any(path in modules for path in namers)


def _stored(page: Path, named: set[str]) -> set[str]:
    """Return the names of the studies whose rows a page may read: none without `ledger.stored`, those it names itself if it always
    calls that with a name, and else all texts that are named anywhere."""
    try:
        code = list(ast.walk(ast.parse(page.read_text(encoding="utf-8"))))
    except SyntaxError:
        return named
    if any(isinstance(node, ast.ImportFrom) and any(a.name == "stored" for a in node.names) for node in code):
        return named
    asked = [node for node in code if isinstance(node, ast.Attribute) and node.attr == "stored"]
    first = [node.args[0] for node in code if isinstance(node, ast.Call) and node.func in asked and node.args]
    names = [str(word.value) for word in first if isinstance(word, ast.Constant)]
    return set(names) if len(names) == len(asked) else named


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
    asked = _stored(source, named)
    files |= {path for path in Path("results").glob("*.json") if path.stem in asked or path.name in named}
    files |= set(sources.closure("otad.publish.execute", PACKAGE).values())
    code = "\n".join(map(sources.code, sorted(tables)))
    return Inputs(
        [f"notebooks/{page}.py", *sorted(map(str, files)), "requirements.txt"],
        hashlib.sha256(code.encode()).hexdigest()[:16],
    )
