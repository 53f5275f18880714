"""List the modules of the source tree and their imports."""

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
    """Return import name -> file for every module of ``packages``, by default of all packages."""
    files = {}
    for package in packages or FOLDERS:
        folder = ROOT / FOLDERS[package]
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            files[".".join(part for part in parts if part != "__init__")] = path
    return files


def imported(name: str, path: Path) -> Iterator[tuple[str, int]]:
    """Yield (module, line) for every import in a file, also inside functions and for type checkers alone."""
    ours = modules()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative import in line {node.lineno}"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole in ours else str(node.module)), node.lineno
