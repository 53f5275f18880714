"""`demure export`: a run as files that other programs can serve."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import NewFeatures, NewImages, NewItems, OutFolder, RunFolder, flag
from demure_cli.output.terminal import terminal
from demure_cli.parsing import parse_files, refuse_without_items


@command(view("export"))
def export(
    run: RunFolder,
    out: OutFolder,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="onnx (a graph), safetensors (one file of arrays) or npy (one file per array).",
        ),
    ] = "safetensors",
    ann: Annotated[
        bool, flag("--ann", help="Also write an index for approximate search, and measure its recall.")
    ] = False,
    k: Annotated[
        int, typer.Option("--k", metavar="N", help="The list length at which the recall of the index is measured.")
    ] = 20,
    items: NewItems = None,
    images: NewImages = None,
    features: NewFeatures = None,
    verdicts: Annotated[
        bool,
        flag(
            "--verdicts",
            help="Write the verdicts instead, as weights for the training of other recommenders: a table, and files "
            "for RecBole and MMRec.",
        ),
    ] = False,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the folder if it is an earlier export.")] = False,
) -> object:
    """Write a run for serving elsewhere: vectors, ids, and a graph from a history to scores.

    With --items, products that came after the training are among the items. The exported files are checked against the
    run.
    """
    from pathlib import Path

    refuse_without_items(items, {"--images": images, "--features": features})
    if verdicts:
        from demure.errors import DemureError
        from demure.serving.verdicts import export_verdicts

        of_model = {"--ann": ann, "--k": k != 20, "--format": format != "safetensors", "--items": items is not None}
        option = next((name for name, is_set in of_model.items() if is_set), None)
        if option is not None:
            raise DemureError(f"{option} is for the model", where="--verdicts", remedy=f"leave {option} out")
        with terminal.progress() as listener:
            return export_verdicts(Path(run), Path(out), overwrite=overwrite, listener=listener)
    from demure.serving.export import export as export_run

    with terminal.progress() as listener:
        return export_run(
            Path(run),
            Path(out),
            format=format,
            ann=ann,
            k=k,
            items=None if items is None else Path(items),
            images=None if images is None else Path(images),
            features=parse_files(features),
            overwrite=overwrite,
            listener=listener,
        )
