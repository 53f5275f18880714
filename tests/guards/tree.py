"""The source tree, as the guards see it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "demure": "demure",
    "demure_cli": "demure_cli",
    "demure_extractors": "extractors",
    "demure_recipes": "recipes",
}


def modules(*packages: str) -> dict[str, Path]:
    """Import name -> file, of every module of ``packages``, or of all of them."""
    found = {}
    for package in packages or FOLDERS:
        folder = ROOT / FOLDERS[package]
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imported(name: str, path: Path) -> Iterator[tuple[str, int]]:
    """(module, line) of every import in a file, also those inside functions and those only for type checkers."""
    known = modules()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative import in line {node.lineno}"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole in known else str(node.module)), node.lineno
