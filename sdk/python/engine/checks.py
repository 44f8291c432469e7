"""Finds what will not work, without running the author's code."""

from __future__ import annotations

import ast
import sys

import library
from source import Source
from wit_world.exports.loader import Finding

#: Calls that the sandbox refuses, and what to do instead.
REFUSED = {
    "open": "a plugin has no files: what train returns is stored, and the data comes from the host",
    "input": "nobody sits at a plugin: make it a parameter",
    "exec": None,
}


def static(source: Source) -> list[Finding]:
    """Syntax errors, imports that are not there, calls that are refused."""
    found = []
    for path, text in source.files.items():
        try:
            tree = ast.parse(text, path)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None) or 0
            message = getattr(error, "msg", None) or str(error) or type(error).__name__
            found.append(Finding(path, line, f"{type(error).__name__}: {message}", "mend the line; Python cannot read it"))
            continue
        for node in ast.walk(tree):
            for module in _imported(node):
                if not _exists(module, source):
                    found.append(
                        Finding(path, node.lineno, f"there is no module {module} in the sandbox", library.remedy(module))
                    )
            remedy = _refused(node)
            if remedy:
                found.append(Finding(path, node.lineno, f"{node.func.id}() does not work in the sandbox", remedy))
    return found


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module]
    return []


def _exists(module: str, source: Source) -> bool:
    return (
        module in sys.modules
        or module in source.modules
        or module in source.packages
        or (module in sys.builtin_module_names and module not in library.REMEDIES)
    )


def _refused(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return REFUSED.get(node.func.id)
    return None
