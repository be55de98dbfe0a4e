"""What a module's results depend on: the code of every module of this package that it imports, directly or through others."""

import ast
import functools
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def fingerprint(module: str, package: Path = PACKAGE) -> str:
    """Return a hash of the code that `module` runs: of itself and of all modules of the package that it imports.

    Comments, docstrings and layout do not count, nor do clocks and commits. An unknown module raises ValueError.
    """
    digest = hashlib.sha256()
    for name, path in sorted(closure(module, package).items()):
        digest.update(f"{name}\n{_code(path)}\n".encode())
    return digest.hexdigest()[:16]


def closure(module: str, package: Path = PACKAGE) -> dict[str, Path]:
    """Return the module and all modules of the package that it imports, directly or through others, with their files."""
    found: dict[str, Path] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        path = _file(name, package)
        if path is None:
            raise ValueError(f"there is no module {name!r} in {package}")
        if name not in found:
            found[name] = path
            todo += imported(path, package)
    return found


def imported(path: Path, package: Path = PACKAGE) -> list[str]:
    """Return the modules of the package that a file imports, at its top or inside a function; packages on the way count too."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    ours = [name for name in found if name.split(".")[0] == package.name]
    return sorted({whole for name in ours for whole in _parents(name) if _file(whole, package)})


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _file(module: str, package: Path) -> Path | None:
    top, *rest = module.split(".")
    base = package.joinpath(*rest)
    places = (base / "__init__.py", base.with_suffix(".py")) if rest else (base / "__init__.py",)
    return next((p for p in places if top == package.name and p.is_file()), None)


def _code(path: Path) -> str:
    """Return a module's code as Python understands it, without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
