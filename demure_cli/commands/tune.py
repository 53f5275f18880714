"""`demure tune`: search for the numbers of a recipe."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import DatasetFolder, Device, command, flag
from demure_cli.output.terminal import terminal


def _show(result: Any) -> None:
    from demure_cli.views.making import show_tuned

    show_tuned(result)


@command(_show, kept="the trials so far are kept; the same command goes on from there")
def tune(
    dataset: DatasetFolder,
    recipe: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="The recipe to start from; trial 0 is this recipe as it is.")
    ] = "default",
    trials: Annotated[int, typer.Option(metavar="N", help="Trials of the study, with those it already has.")] = 20,
    out: Annotated[
        str | None, typer.Option(metavar="STUDY", help="The study folder; by default DATASET-RECIPE-study, here.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Stop after this time.")] = None,
    set: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Settle one value of the recipe: it is not searched. Repeatable."),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="YAML of what to search instead of the model's own (docs/tuning.md)."),
    ] = None,
    metric: Annotated[str, typer.Option(metavar="NAME", help="recall@20 or ndcg@20, on validation.")] = "recall@20",
    seed: Annotated[int, typer.Option(metavar="N", help="Of the search and of the first training of a trial.")] = 0,
    seeds: Annotated[int, typer.Option(metavar="N", help="Trainings of a trial, each with another seed.")] = 1,
    pruning: Annotated[
        bool, flag("--prune/--no-prune", help="Stop a trial that is worse than most were by then.")
    ] = True,
    device: Device = "auto",
    overwrite: Annotated[bool, flag("--overwrite", help="Begin the study again if it exists.")] = False,
) -> Any:
    """Search for better numbers of a recipe on the validation split, and write the best as a recipe. A study that was
    stopped goes on."""
    from pathlib import Path

    from demure.tuning.tune import tune as tune_recipe

    where = Path(out) if out is not None else Path(f"{Path(dataset).absolute().name}-{Path(recipe).stem}-study")
    with terminal.progress() as listener:
        return tune_recipe(
            Path(dataset),
            where,
            recipe=recipe,
            trials=trials,
            timeout=timeout,
            overrides=set or [],
            space=None if space is None else Path(space),
            metric=metric,
            seed=seed,
            seeds=seeds,
            pruning=pruning,
            device=device,
            overwrite=overwrite,
            listener=listener,
        )
