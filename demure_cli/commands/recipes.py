"""`demure recipes`: the recipes that ship."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import Json, Quiet, Verbose, command, flag
from demure_cli.output.terminal import terminal

recipes = typer.Typer(help="The recipes that ship: list them, show one, copy one to change it.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="A recipe that `demure recipes` lists.")]


def _show_keys(result: Any) -> None:
    from demure_cli.views.making import show_keys

    show_keys(result)


def _show_list(result: Any) -> None:
    from demure_cli.views.making import show_recipes

    show_recipes(result)


@recipes.callback(invoke_without_command=True)
def default(context: typer.Context, json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """The recipes that ship: list them, show one, copy one to change it."""
    terminal.configure(quiet=quiet, verbose=verbose)
    if context.invoked_subcommand is None:
        list_(json=json, quiet=quiet, verbose=verbose)


@recipes.command("list")
@command(_show_list)
def list_() -> Any:
    """Name every recipe, with what it is for."""
    from demure.recipe.shipped import list_recipes

    return {"recipes": list_recipes()}


@recipes.command("show")
@command(lambda result: terminal.raw(result["yaml"]))
def show(
    name: Name,
    resolved: Annotated[
        bool, flag("--resolved", help="Every key, also those left out, with its meaning and range.")
    ] = False,
) -> Any:
    """Print a recipe's YAML."""
    from demure.recipe.shipped import recipe_text

    if not resolved:
        return {"recipe": name, "yaml": recipe_text(name)}
    recipe_text(name)  # a name, not a file
    from demure.baselines.reference import resolved_text

    return {"recipe": name, "yaml": resolved_text(name)}


@recipes.command("keys")
@command(_show_keys)
def keys(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="demure, or a baseline, for the keys below `baseline`.")
    ] = "demure",
) -> Any:
    """Name every key of a recipe, with its type, default, range, meaning and source."""
    from demure.baselines.reference import keys_of

    return {"model": model, "keys": keys_of(model)}


@recipes.command("copy")
@command(lambda result: terminal.note(f"wrote {result['written']}"))
def copy(
    name: Name,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write it; must not exist yet.")],
) -> Any:
    """Copy a recipe to a file of your own, to change it and train with `--recipe FILE`."""
    from pathlib import Path

    from demure.recipe.shipped import copy_recipe

    copy_recipe(name, Path(file))
    return {"recipe": name, "written": file}
