"""The run folder: the names of its files, and how a training takes possession of it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from demure.errors import DemureError, RunError
from demure.files import already_exists, cannot_write, refuse_existing
from demure.integrity import KEPT_HASHES
from demure.leftovers import sweep
from demure.locks import hold_folder

MANIFEST = "run.json"
CHECKPOINT = "checkpoint.safetensors"
NEAREST_ITEMS = "nearest_items.safetensors"
WEIGHTS = "model.safetensors"
RECIPE = "recipe.yaml"
METRICS = "metrics.jsonl"
DIAGNOSIS, SUPPORTS, RELIANCE = "diagnosis.parquet", "supports.parquet", "reliance.parquet"
FILES = (RECIPE, METRICS, WEIGHTS, NEAREST_ITEMS, DIAGNOSIS, SUPPORTS, RELIANCE)  # whose hashes run.json records


_LOCK = ".training.lock"
_TRACKERS = ("trace.json", "tensorboard", "wandb", "watchers.json")
_OWN = {*FILES, *_TRACKERS, MANIFEST, CHECKPOINT, "rivals.safetensors", KEPT_HASHES, _LOCK}


@contextlib.contextmanager
def claim_folder(out: Path, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Make the folder ``out`` for a training: a new one, one to replace, or with ``resume`` an unfinished one.

    No other training writes to it while the block runs. Raises ``RunError`` for a folder that is finished, unfinished
    or no run, and ``resume`` or ``overwrite`` do not ask for it; ``DemureError`` if another process trains into it.
    """
    is_new = not out.exists()
    refuse_existing(out, overwrite=True)  # a file
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    with hold_folder(out / _LOCK, out, "trained"):
        try:
            _take(out, resume=resume, overwrite=overwrite)
        except DemureError:
            if is_new:
                shutil.rmtree(out, ignore_errors=True)
            raise
        yield


def _take(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Decide whether a training may have ``out``, and empty it if it does not go on there."""
    sweep(out)
    finished = (out / MANIFEST).is_file()
    unfinished = (out / CHECKPOINT).is_file() and not finished
    content = [path for path in out.iterdir() if path.name != _LOCK]
    is_own = all(path.name in _OWN for path in content)  # of a training that was killed at its start or end, or none
    if not content or (resume and unfinished):
        return
    if resume and finished:
        raise RunError("is already finished", where=out, remedy="leave --resume out and say --overwrite to train again")
    if unfinished and not overwrite:
        raise RunError("holds an unfinished training", where=out, remedy="say --resume to go on, or --overwrite")
    if not (overwrite or (resume and is_own)):
        raise already_exists(out)
    if not (finished or unfinished or is_own):
        raise RunError("is not a run folder", where=out, remedy="choose another --out")
    # run.json first, so that a run that is being deleted is not taken for a finished one.
    for path in sorted(content, key=lambda path: path.name != MANIFEST):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
