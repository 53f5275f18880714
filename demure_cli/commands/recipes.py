"""`demure recipes`: the recipes that ship."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import Json, LogJson, Quiet, Verbose, flag
from demure_cli.output.terminal import terminal
from demure_cli.places import LOCAL

_HELP = "List the recipes that ship, show one, or copy one to change it."
recipes = typer.Typer(help=_HELP)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of a recipe that `demure recipes` lists.")]


@recipes.callback(invoke_without_command=True, help=_HELP)
def default(
    context: typer.Context,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_json: LogJson = None,
) -> None:
    """List the recipes if there is no subcommand."""
    terminal.configure(quiet=quiet, verbose=verbose, log_json=log_json)
    if context.invoked_subcommand is None:
        list_(json=json, quiet=quiet, verbose=verbose)


@recipes.command("list")
@command(view("recipes", "show_list"))
def list_() -> object:
    """List every recipe with its purpose."""
    from demure.recipe.shipped import list_recipes

    return {"recipes": list_recipes()}


@recipes.command("show")
@command(view("recipes", "show_yaml"))
def show(
    name: Name,
    resolved: Annotated[
        bool, flag("--resolved", help="Show every key, including those left out, with its meaning and range.")
    ] = False,
) -> object:
    """Print the YAML of a recipe."""
    from demure.recipe.shipped import recipe_text

    text = recipe_text(name)  # also refuses the path of a file, which `resolved_text` would accept
    if resolved:
        from demure.baselines.reference import resolved_text

        text = resolved_text(name)
    return {"recipe": name, "yaml": text}


@recipes.command("keys")
@command(view("recipes", "show_keys"))
def keys(
    model: Annotated[
        str,
        typer.Argument(metavar="[MODEL]", help="demure, or the name of a baseline, for the keys below `baseline`."),
    ] = "demure",
) -> object:
    """List every key of a recipe, with its type, default, range, meaning and source."""
    from demure.baselines.reference import keys_of

    return {"model": model, "keys": keys_of(model)}


@recipes.command("copy")
@command(view("recipes", "show_copy"))
def copy(
    name: Name,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file to write; it must not exist yet."), LOCAL],
) -> object:
    """Copy a recipe to a file, to change it and train with `--recipe FILE`."""
    from pathlib import Path

    from demure.recipe.shipped import copy_recipe

    copy_recipe(name, Path(file))
    return {"recipe": name, "written": file}
