"""Print the results of `demure recipes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demure_cli.output.style import heading, row, table
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    from demure.recipe.reference import Key

_ROOMY = 120


def show_list(result: dict[str, list[dict[str, str]]]) -> None:
    """Print a row per recipe."""
    shown = table(["recipe", "model", ("purpose", {"overflow": "fold"})])
    for recipe in result["recipes"]:
        row(shown, recipe["name"], recipe["model"], recipe["about"])
    terminal.result(shown)
    terminal.note("one in full: demure recipes show NAME; to change one: demure recipes copy NAME FILE")


def show_yaml(result: dict[str, str]) -> None:
    """Print the YAML of a recipe."""
    terminal.raw(result["yaml"])


def show_copy(result: dict[str, str]) -> None:
    """Print the name of the new file."""
    terminal.note(f"wrote {result['written']}")


def show_keys(result: dict[str, Any]) -> None:
    """Print a row per key; the source of its default where the terminal is wide enough."""
    from demure.recipe.reference import short

    roomy = terminal.width >= _ROOMY
    columns: list[str | tuple[str, dict[str, Any]]] = [("key", {"no_wrap": True}), ("default", {"overflow": "fold"})]
    columns += ["range", ("meaning", {"ratio": 2}), *([("source", {"ratio": 1})] if roomy else [])]
    shown = table(columns)
    shown.expand = True
    keys: list[Key] = result["keys"]
    for key in keys:
        default = "" if key.default in ("", []) else short(key.default)
        row(shown, key.name, default, key.range, key.doc, *([key.source] if roomy else []))
    terminal.result(heading(f"Keys of a recipe with model: {result['model']}"), shown)
    if result["model"] == "demure":
        terminal.note("the options of a baseline: demure recipes keys MODEL")
