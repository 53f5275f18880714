"""The run folder: the names of its files, and how a training takes possession of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from demure.errors import RunError
from demure.files import refuse_existing

MANIFEST = "run.json"
CHECKPOINT = "checkpoint.safetensors"
NEAREST_ITEMS = "nearest_items.safetensors"
WEIGHTS = "model.safetensors"
RECIPE = "recipe.yaml"


def claim_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the folder ``out`` for a training: a new one, one to replace, or with ``resume`` an unfinished one.

    Raises ``RunError`` for a folder that is finished, unfinished or no run, and ``resume`` or ``overwrite`` do not ask
    for it.
    """
    if resume and out.is_dir():
        for part in out.glob(".*.part*"):  # of a process that was killed while it wrote
            part.unlink()
    finished = (out / MANIFEST).is_file()
    unfinished = (out / CHECKPOINT).is_file() and not finished
    if resume and (unfinished or not out.exists()):
        pass
    elif resume and finished:
        raise RunError("is already finished", where=out, remedy="leave --resume out and say --overwrite to train again")
    elif unfinished and not overwrite:
        raise RunError("holds an unfinished training", where=out, remedy="say --resume to go on, or --overwrite")
    else:
        refuse_existing(out, overwrite=overwrite)
        if out.exists():
            if not (finished or unfinished or not any(out.iterdir())):
                raise RunError("is not a run folder", where=out, remedy="choose another --out")
            shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
