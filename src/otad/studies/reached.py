"""What a function's result depends on: the definitions of this package that it reaches, by name, from its own.

A function, a class or a value at the top of a module counts when something that counts names it: a new method, a new cell of another
kind, a page's helper in the same module change nothing. Where a module is handed on whole, as in `getattr(textures, name)`, all of it
counts. What a module does besides defining things (a call, a branch, a loop at its top) counts with every definition of it. Of other
packages the names count that are taken from them. Code that nobody names cannot be seen: so a decorator must not keep a list of what it
decorates, and a module must not be imported by its text.

What only another scale runs does not count either: in a study, the branches under `scale == "paper"` are gone at laptop scale. A study
that names another scale in what is left, and so might hand it on, counts whole; one that takes a scale from the key of a cell would not
be seen. Methods know no scales.
"""

import ast
import functools
import hashlib
import symtable
from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otad.scale import SCALES
from otad.studies.sources import PACKAGE, bound, chains, file_of, looked_up, parents, running, stripped

WHOLE = "*"  # of a module
LOOSE = ""  # what it does besides defining things
Place = tuple[str, str]  # module, name


@functools.cache
def fingerprint(module: str, name: str, package: Path = PACKAGE, scale: str = "") -> str:
    """Return a hash of the code that `name` of `module` runs: of its definition and of all that it reaches, at one scale or at any.

    Comments, docstrings, layout, and where and in which order things are defined do not count. An unknown name raises ValueError.
    """
    found = reached(module, name, package, scale)
    studies = [nodes for (where, _), nodes in found.items() if _knows_scales(where, package)]
    if scale and any(_hands_on(node, scale) for nodes in studies for node in nodes):
        found, scale = reached(module, name, package), ""
    numbers = _numbered((module, name), found, package, scale)
    told = [
        (
            numbers.get(place, -1),
            place[1],
            _text(*nodes),
            [numbers.get(p, p[1]) for p in _meant(*place, package, scale)],
        )
        for place, nodes in found.items()
    ]
    return hashlib.sha256(repr(sorted(told, key=repr)).encode()).hexdigest()[:16]


def _numbered(start: Place, found: Container[Place], package: Path, scale: str) -> dict[Place, int]:
    """Return a number for each definition that `start` comes to by names, the same wherever they stand: two of one name keep apart."""
    numbers: dict[Place, int] = {}
    todo = [start]
    while todo:
        place = todo.pop()
        if place in found and place not in numbers:
            numbers[place] = len(numbers)
            todo += reversed(_meant(*place, package, scale))
    return numbers


def _meant(where: str, what: str, package: Path, scale: str) -> list[Place]:
    """Return what a definition names, in its order; a module handed on whole, as all its definitions."""
    found = []
    for place in _module(where, package, scale).named[what]:
        whole = _module(place[0], package, scale).defined if place[1] == WHOLE else ()
        found += [(place[0], each) for each in sorted(whole)] or [place]
    return found


@functools.cache
def _text(*nodes: ast.stmt) -> str:
    """Return statements as text, made once for all studies."""
    return _told(list(nodes))


def _told(part: object) -> str:
    """Return a syntax tree as text, without what is empty or does nothing: every version of Python tells the same."""
    if isinstance(part, list):
        return f"[{', '.join(_told(p) for p in part if not isinstance(p, ast.Pass))}]"
    if not isinstance(part, ast.AST):
        return repr(part)
    fields = ((k, _told(v)) for k, v in ast.iter_fields(part) if v is not None)
    return f"{type(part).__name__}({', '.join(f'{k}={told}' for k, told in fields if told != '[]')})"


def reached(module: str, name: str, package: Path = PACKAGE, scale: str = "") -> dict[Place, list[ast.stmt]]:
    """Return what `name` of `module` reaches at a scale, or at any, itself too: module and name of each definition, with its statements."""
    if name not in _module(module, package, scale).defined:
        raise ValueError(f"{module} defines no {name!r}")
    found: dict[Place, list[ast.stmt]] = {}
    todo: list[Place] = [(module, name)]
    while todo:
        place = todo.pop()
        own = _module(place[0], package, scale)
        names = list(own.defined) if place[1] == WHOLE else [place[1], LOOSE]
        todo += [(other, WHOLE) for other in own.listed if place[1] == WHOLE and (other, LOOSE) not in found]
        for what in names:
            if what in own.defined and (place[0], what) not in found:
                found[place[0], what] = own.defined[what]
                if what not in own.named:
                    own.named[what] = [p for n in own.defined[what] for p in _named(n, own, package, scale)]
                todo += [p for p in own.named[what] if p[0]]
        todo += [(other, LOOSE) for other in own.imported if (other, LOOSE) not in found]
        found.setdefault((place[0], LOOSE), [])
    return {place: nodes for place, nodes in found.items() if nodes}


@dataclass(frozen=True)
class _Module:
    """A module: its statements by the name that they define or change, what its imports bind, the modules it imports, those of its table.

    named : what the statements of a name name, as soon as somebody has asked: most studies reach the same. What they take from another
            package stands there too, under no module.
    """

    name: str
    defined: dict[str, list[ast.stmt]]
    bound: dict[str, set[str]]
    imported: list[str]
    listed: list[str]
    named: dict[str, list[Place]]


@functools.cache
def _module(name: str, package: Path, scale: str = "") -> _Module:
    path = file_of(name, package)
    if path is None:
        raise ValueError(f"there is no module {name!r} in {package}")
    tree = stripped(path)
    if scale and _knows_scales(name, package):
        tree = _Only(scale).visit(tree)
    defined: dict[str, list[ast.stmt]] = defaultdict(list)
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom) and not _unseen(node):
            for what in _defines(node):
                defined[what].append(node)
    taken: dict[str, set[str]] = defaultdict(set)
    for local, full in (pair for node in running(tree) for pair in bound(node, path)):
        taken[local].add(full)
    inside = {p for full in set().union(*taken.values()) for p in parents(full) if file_of(p, package)}
    listed = sorted(looked_up(f"{name}.{WHOLE}", package))
    return _Module(name, dict(defined), dict(taken), sorted(inside | set(parents(name)[:-1])), listed, {})


def _defines(node: ast.stmt) -> list[str]:
    """Return the names that a statement defines or changes; of one that does anything else, LOOSE."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return [LOOSE]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    written = [t for target in targets for t in ast.walk(target) if isinstance(t, ast.Name)]
    return [t.id for t in written] or [LOOSE]


def _unseen(node: ast.stmt) -> bool:
    """Return whether a branch is for a type checker, or for the module as a program."""
    seen = (
        {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)} if isinstance(node, ast.If) else set()
    )
    return bool(seen & {"TYPE_CHECKING", "__name__"})


def _named(node: ast.stmt, own: _Module, package: Path, scale: str) -> Iterator[Place]:
    """Yield the places of the package that a statement names, and what it takes from other packages."""
    outer = _global(symtable.symtable(ast.unparse(node), own.name, "exec"))
    for first, *rest in chains(list(running(node))):
        if first not in outer:
            continue
        if first in own.defined:
            yield own.name, first
        for full in sorted(own.bound.get(first, ())):
            yield from _resolve([*full.split("."), *rest], package, scale)


def _global(table: symtable.SymbolTable) -> set[str]:
    """Return the names that a statement takes from its module, in any of its functions: local variables may be called as they like."""
    whole = table.get_type() == "module"
    own = {s.get_name() for s in table.get_symbols() if whole or s.is_global() or s.is_imported()}
    return own.union(*map(_global, table.get_children()))


def _resolve(parts: list[str], package: Path, scale: str) -> Iterator[Place]:
    """Yield the place of `package.module.name.attribute…`; a module alone is handed on whole, and of another package nothing is known."""
    if parts[0] != package.name:
        yield "", ".".join(parts)
        return
    k = next(k for k in range(len(parts), 0, -1) if file_of(".".join(parts[:k]), package))
    where, rest = ".".join(parts[:k]), parts[k:]
    module = _module(where, package, scale)
    if not rest:
        yield where, WHOLE
    elif rest[0] in module.defined:
        yield where, rest[0]
    elif rest[0] in module.bound:
        yield where, LOOSE
        for full in sorted(module.bound[rest[0]]):
            yield from _resolve([*full.split("."), *rest[1:]], package, scale)
    elif found := looked_up(f"{where}.{rest[0]}", package):
        yield where, LOOSE
        for other in sorted(found):
            yield from _resolve([*other.split("."), *rest], package, scale)
    else:
        yield where, WHOLE


# One scale ----------------------------------------------------------------------------------------


class _Only(ast.NodeTransformer):
    """Leaves of a syntax tree what runs where the variable `scale` is one of the scales."""

    def __init__(self, scale: str) -> None:
        self.scale = scale

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        known = self.holds(node.test)
        left, gone = (node.body, node.orelse) if known else (node.orelse, node.body)
        if known is None or _yields(gone):
            return self.generic_visit(node)
        return [n for part in left for n in _listed(self.visit(part))] or ast.Pass()

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        known = self.holds(node.test)
        return self.generic_visit(node) if known is None else self.visit(node.body if known else node.orelse)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        known = self.holds(node)
        return self.generic_visit(node) if known is None else ast.Constant(known)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Leave of `pick(scale, smoke=…, laptop=…, paper=…)` the value of the scale, and that it was picked."""
        named = {k.arg: k.value for k in node.keywords}
        value = named.get(self.scale, named.get("laptop"))
        if value is None or not (
            isinstance(node.func, ast.Name) and node.func.id == "pick" and _is_scale(*node.args)
        ):
            return self.generic_visit(node)
        return ast.Call(node.func, [self.visit(value)], [])

    def holds(self, test: ast.expr) -> bool | None:
        """Return whether `scale == "paper"`, `scale != "paper"` or several such hold; None for what the scale does not decide alone."""
        if isinstance(test, ast.BoolOp):
            decides = isinstance(test.op, ast.Or)
            for known in map(self.holds, test.values):
                if known is None or known is decides:
                    return known
            return not decides
        if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not _is_scale(test.left):
            return None
        asked = getattr(test.comparators[0], "value", None)
        if asked not in SCALES or not isinstance(test.ops[0], ast.Eq | ast.NotEq):
            return None
        return (asked == self.scale) == isinstance(test.ops[0], ast.Eq)


def _knows_scales(module: str, package: Path) -> bool:
    return module.startswith(f"{package.name}.studies.")


def _yields(nodes: list[ast.stmt]) -> bool:
    """Return whether statements make a generator of the function they are in, even where they do not run."""
    return any(isinstance(n, ast.Yield | ast.YieldFrom) for node in nodes for n in ast.walk(node))


def _listed(left: ast.AST | list[ast.stmt]) -> list[Any]:
    return left if isinstance(left, list) else [left]


def _is_scale(*nodes: ast.expr) -> bool:
    """Return whether these are the variable `scale`, alone."""
    return [getattr(node, "id", "") for node in nodes] == ["scale"]


def _hands_on(node: ast.stmt, scale: str) -> bool:
    """Return whether a statement may give a function another scale for its own: it names one, or all, or calls something else `scale`."""
    fields = [n.target for n in ast.walk(node) if isinstance(n, ast.AnnAssign) and n.value is None]
    return any(
        (isinstance(n, ast.Constant) and n.value in SCALES and n.value != scale)
        or (isinstance(n, ast.Name) and n.id == ("scale" if isinstance(n.ctx, ast.Store) else "SCALES"))
        for n in ast.walk(node)
        if n not in fields
    )
