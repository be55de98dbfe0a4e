"""What a file's results depend on: the modules of this package that it imports, directly or through others, and data beside them.

A package may hold a table `METHODS = {"FCA": "otad.methods.matching.fca", …}` of what it imports when it is asked: a name from it
stands for its own module. What stands under `if TYPE_CHECKING` never runs and does not count.
"""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
TABLE = "METHODS"
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def closure(module: str, package: Path = PACKAGE) -> dict[str, Path]:
    """Return the module and all modules of the package that it imports, directly or through others, with their files."""
    return _follow([module], package)


def needed(path: Path, package: Path = PACKAGE) -> dict[str, Path]:
    """Return all modules of the package that a file imports, directly or through others, with their files."""
    return _follow(imported(path, package), package)


def _follow(todo: list[str], package: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    while todo:
        name = todo.pop()
        path = file_of(name, package)
        if path is None:
            raise ValueError(f"there is no module {name!r} in {package}")
        if name not in found:
            found[name] = path
            todo += imported(path, package)
    return found


def imported(path: Path, package: Path = PACKAGE) -> list[str]:
    """Return the modules of the package that a file imports, at its top or inside a function; packages on the way count too.

    `resources.files("otad.published")` reads a package, so it counts. A relative import raises ValueError.
    """
    found = set()
    for name in _read(path).names:
        for whole in parents(name) if name.split(".")[0] == package.name else ():
            if file_of(whole, package):
                found.add(whole)
            else:
                found |= looked_up(whole, package)
    return sorted({parent for name in found for parent in parents(name)})


def data(path: Path) -> list[Path]:
    """Return what lies beside the `__init__.py` of a package and is no module: its data. A module has none."""
    if path.name != "__init__.py":
        return []
    return sorted(p for p in path.parent.iterdir() if p.is_file() and p.suffix not in (".py", ".pyc"))


def code(path: Path) -> str:
    """Return a module's code as text, without what changes nothing when it runs: `stripped`."""
    return ast.dump(stripped(path))


def stripped(path: Path) -> ast.Module:
    """Return a module's syntax tree without docstrings, types that nobody reads and a package's table of what it imports when asked."""
    tree = _tree(path)
    if path.name == "__init__.py":
        tree.body = [node for node in tree.body if _table(node) is None]
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()] * (node is not tree)
    _untype(tree)
    return tree


def _untype(node: ast.AST) -> None:
    """Take the types of arguments away, where no decorator may read them: of a function's own, and of the class that it is in."""
    decorators = getattr(node, "decorator_list", [])
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not decorators:
        node.returns = None
        for one in ast.walk(node.args):
            if isinstance(one, ast.arg):
                one.annotation = None
    if isinstance(node, ast.ClassDef) and any(
        _last(getattr(d, "func", d)) != "dataclass" for d in decorators
    ):
        return
    for child in ast.iter_child_nodes(node):
        _untype(child)


def table(path: Path) -> dict[str, str]:
    """Return the modules that a package imports when one of these names is asked of it; a module has none."""
    return _read(path).table


def strings(path: Path) -> set[str]:
    """Return all texts that a file's code holds: it may name a file of results by one of them."""
    return _read(path).strings


# Reading a file -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _File:
    """What a file names: imports and what it takes from them, `package.*` where it hands a package on; texts; its table."""

    names: set[str]
    strings: set[str]
    table: dict[str, str]


def _read(path: Path) -> _File:
    return _parsed(path, path.stat().st_mtime_ns)  # once, until it changes


@functools.lru_cache(maxsize=4096)
def _parsed(path: Path, _: int) -> _File:
    try:
        tree = _tree(path)
    except SyntaxError:  # it is told where the file runs
        return _File(set(), set(), {})
    nodes = list(running(tree))
    local = [pair for node in nodes for pair in bound(node, path)]
    names = {full for _, full in local} | set(_used(nodes, dict(local)))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    tables = [table for node in tree.body if (table := _table(node))] if path.name == "__init__.py" else []
    return _File(names, texts, ast.literal_eval(tables[0]) if tables else {})


def running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those that only a type checker sees."""
    yield node
    unseen = node.body if isinstance(node, ast.If) and _last(node.test) == "TYPE_CHECKING" else []
    for child in ast.iter_child_nodes(node):
        if child not in unseen:
            yield from running(child)


def _last(node: ast.AST) -> str:
    """Return the last name of `a.b.c` or `c`."""
    return getattr(node, "attr", getattr(node, "id", ""))


def bound(node: ast.AST, path: Path) -> Iterator[tuple[str, str]]:
    """Yield the names that an import makes, each with its full name; `files("a.package")` counts as one."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name, alias.name
            top = alias.name.split(".")[0]
            yield top, top
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            raise ValueError(f"{path}, line {node.lineno}: a relative import; write the module's full name")
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"
    elif isinstance(node, ast.Call) and _last(node.func) == "files":
        for argument in node.args:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value, argument.value


def _used(nodes: list[ast.AST], local: dict[str, str]) -> Iterator[str]:
    """Yield what is taken from imported names: `otad.methods.FCA.*` for `methods.FCA`, `otad.methods.*` for `methods` alone."""
    for first, *rest in chains(nodes):
        if first in local:
            yield ".".join([local[first], *rest, "*"])


def chains(nodes: list[ast.AST]) -> Iterator[list[str]]:
    """Yield each name with what is taken from it: a, b, c for `a.b.c`."""
    inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if id(node) not in inner:
            parts: list[str] = []
            while isinstance(node, ast.Attribute):
                parts.insert(0, node.attr)
                node = node.value
            if isinstance(node, ast.Name):
                yield [node.id, *parts]


def looked_up(name: str, package: Path) -> set[str]:
    """Return the modules that asking for `package.Name` imports; who holds the whole package or its table may ask for any."""
    parent, _, last = name.rpartition(".")
    path = file_of(parent, package)
    modules = table(path) if path else {}
    return {module for known, module in modules.items() if last in (known, "*", TABLE)}


def _table(node: ast.stmt) -> ast.expr | None:
    """Return the dict of `METHODS = {…}`, with or without a type; None for another statement."""
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return None
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    return node.value if _last(target) == TABLE else None


def parents(name: str) -> list[str]:
    """Return a name and the packages it is in: a, a.b, a.b.c for `a.b.c`."""
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def file_of(module: str, package: Path) -> Path | None:
    """Return the file of a module of the package, None if there is none."""
    top, *rest = module.split(".")
    base = package.joinpath(*rest)
    places = (base / "__init__.py", base.with_suffix(".py")) if rest else (base / "__init__.py",)
    return next((p for p in places if top == package.name and p.is_file()), None)


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
