"""A hash of code: unfinished work is resumed only by the code that began it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path


def hash_code(modules: Iterable[str], *, follow: Iterable[str] = ()) -> str:
    """SHA-256 over the source of modules, with all that they import from their own packages.

    Args:
        modules: Full names; a script's `__main__` is passed over. Modules of plug-ins bring their own packages.
        follow: Further packages of which what is imported counts.

    Returns:
        64 hexadecimal digits.
    """
    waiting = set(modules)
    packages = {name.partition(".")[0] for name in waiting} | set(follow)
    sources: dict[str, bytes] = {}
    while waiting:
        name = waiting.pop()
        spec = importlib.util.find_spec(name) if name != "__main__" else None
        if name in sources or spec is None or not spec.origin or not spec.origin.endswith(".py"):
            continue
        sources[name] = Path(spec.origin).read_bytes()
        package = name if spec.submodule_search_locations else name.rpartition(".")[0]
        waiting |= {found for found in _imports(sources[name], package) if found.partition(".")[0] in packages}
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(name.encode() + b"\0" + hashlib.sha256(sources[name]).digest())
    return digest.hexdigest()


@cache
def _imports(source: bytes, package: str) -> set[str]:
    """Names of the modules that a module imports, wherever in it; names from packages are taken for modules too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package or None)
            found.add(module)
            spec = importlib.util.find_spec(module) if module.partition(".")[0] == package.partition(".")[0] else None
            if spec is not None and spec.submodule_search_locations:
                found |= {f"{module}.{alias.name}" for alias in node.names}
    return found
