"""`demure tune`: search for better values of a recipe."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import DatasetFolder, Device, flag
from demure_cli.output.terminal import terminal
from demure_cli.places import LOCAL, RESUMES


@command(view("tune"), kept="the finished trials are kept; the same command continues from there")
def tune(
    dataset: DatasetFolder,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe", metavar="NAME|FILE", help="The recipe to start from; trial 0 is the unchanged recipe."
        ),
        LOCAL,
    ] = "default",
    trials: Annotated[
        int,
        typer.Option(
            "--trials", metavar="N", help="The number of trials of the study, including those already finished."
        ),
    ] = 20,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", metavar="STUDY", help="The study folder; by default DATASET-RECIPE-study in the current folder."
        ),
        RESUMES,
    ] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", help="Stop after this time.")] = None,
    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Fix one value of the recipe: it is not searched. Repeat it for several values.",
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            "--space", metavar="FILE", help="A YAML file with the search space, instead of the default of the model."
        ),
        LOCAL,
    ] = None,
    metric: Annotated[
        str,
        typer.Option("--metric", metavar="NAME", help="The metric to maximise on validation: recall@20 or ndcg@20."),
    ] = "recall@20",
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", help="The random seed of the search and of the first training of a trial."),
    ] = 0,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", help="Trainings per trial, each with another seed.")
    ] = 1,
    pruning: Annotated[
        bool, flag("--prune/--no-prune", help="Stop a trial that is worse than the median of earlier trials.")
    ] = True,
    device: Device = "auto",
    overwrite: Annotated[bool, flag("--overwrite", help="Begin again, and replace the study at the end.")] = False,
) -> object:
    """Search for better values of a recipe on the validation split, and write the best ones as a recipe.

    A study that was stopped continues with the same command.
    """
    from pathlib import Path

    from demure.tuning.tune import tune as tune_recipe

    study = Path(out) if out is not None else Path(f"{Path(dataset).absolute().name}-{Path(recipe).stem}-study")
    with terminal.progress() as listener:
        return tune_recipe(
            Path(dataset),
            study,
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
