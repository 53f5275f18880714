"""The run folder: the names of its files, and how a training takes possession of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from demure.errors import DemureError, RunError
from demure.files import already_exists, cannot_write, refuse_existing, replace_folder
from demure.integrity import KEPT_HASHES
from demure.leftovers import bring_back, mark_folder, sweep
from demure.locks import hold_folder

MANIFEST = "run.json"
CHECKPOINT = "checkpoint.safetensors"
NEAREST_ITEMS = "nearest_items.safetensors"
PROJECTION = "projection.safetensors"
WEIGHTS = "model.safetensors"
RECIPE = "recipe.yaml"
METRICS = "metrics.jsonl"
DIAGNOSIS, SUPPORTS, RELIANCE = "diagnosis.parquet", "supports.parquet", "reliance.parquet"
RIVAL_MODELS = "rival_models.safetensors"
"""The rivals of content, for the diagnosis of new users."""
INTERESTS = "interests.json"
"""The names of the interests, and their placebos."""
FILES = (RECIPE, METRICS, WEIGHTS, PROJECTION, NEAREST_ITEMS, DIAGNOSIS, SUPPORTS, RELIANCE, RIVAL_MODELS, INTERESTS)
"""The files whose hashes run.json records."""


UNFINISHED = "unfinished"  # in a finished run or study: the one that is to replace it
_LOCK = ".training.lock"
_TRACKERS = ("trace.json", "tensorboard", "wandb", "watchers.json")
_OWN = {*FILES, *_TRACKERS, MANIFEST, CHECKPOINT, "rivals.safetensors", KEPT_HASHES, UNFINISHED, _LOCK}


def working_folder(out: Path, *, overwrite: bool) -> Path:
    """Return the folder that a training into ``out`` writes to: one within ``out`` while it is to replace a run."""
    within = out / UNFINISHED
    return within if within.is_dir() or (overwrite and (out / MANIFEST).is_file()) else out


@contextlib.contextmanager
def claim_folder(out: Path, *, resume: bool, overwrite: bool) -> Iterator[Path]:
    """Make the folder ``out`` for a training: a new one, one to replace, or with ``resume`` an unfinished one.

    Yields the folder to write to, which is :func:`working_folder`: a finished run stays until :func:`publish`. No other
    training writes to it while the block runs. Raises ``RunError`` for a folder that is finished, unfinished or no run,
    and ``resume`` or ``overwrite`` do not ask for it; ``DemureError`` if another process trains into it.
    """
    bring_back(out)
    is_new = not out.exists()
    refuse_existing(out, overwrite=True)  # a file
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    with contextlib.ExitStack() as locks:
        locks.enter_context(hold_folder(out / _LOCK, out, "trained"))
        if (out / UNFINISHED / MANIFEST).is_file():  # killed between its end and its publication
            publish(out)
        working = working_folder(out, overwrite=overwrite)
        try:
            _take(out, working, resume=resume, overwrite=overwrite)
        except DemureError:
            if is_new:
                shutil.rmtree(out, ignore_errors=True)
            raise
        if working != out:  # its lock becomes that of ``out`` when it is published
            locks.enter_context(hold_folder(working / _LOCK, out, "trained"))
        try:
            yield working
        except BaseException:
            if working != out and not (working / CHECKPOINT).is_file():  # nothing to go on from
                shutil.rmtree(working, ignore_errors=True)
            raise


def publish(out: Path, manifest: str = MANIFEST) -> None:
    """Let the finished result within ``out`` take the place of the earlier one, in one step where the system can."""
    with contextlib.ExitStack() as cleanup:
        try:
            target = Path(os.path.realpath(out))
            shutil.copymode(target, out / UNFINISHED)
            part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
            cleanup.callback(shutil.rmtree, part, ignore_errors=True)
            (out / UNFINISHED).rename(part)
            lock = mark_folder(part)
            if lock is not None:
                cleanup.callback(os.close, lock)
            replace_folder(part, target)
            return
        except OSError:
            if not (out / UNFINISHED).is_dir():
                part.rename(out / UNFINISHED)
    publish_in_place(out, manifest)


def publish_in_place(out: Path, manifest: str = MANIFEST) -> None:
    """Move file by file, the manifest last: for a folder that cannot be renamed, such as a mounted one."""
    if (out / manifest).is_file():  # else a process was killed here: the files of the earlier result are gone already
        _empty(out, manifest, keep=UNFINISHED)
    for path in sorted((out / UNFINISHED).iterdir(), key=lambda path: path.name == manifest):
        if path.name != _LOCK:
            if (out / path.name).is_dir():
                shutil.rmtree(out / path.name)
            path.replace(out / path.name)
    shutil.rmtree(out / UNFINISHED)


def _take(out: Path, working: Path, *, resume: bool, overwrite: bool) -> None:
    """Decide whether a training may have ``out``, and empty ``working`` if it does not go on there."""
    sweep(out)
    sweep(out.absolute().parent, out.absolute().name)
    finished, replaces = (out / MANIFEST).is_file(), working != out
    unfinished = (working / CHECKPOINT).is_file() and (replaces or not finished)
    content = [path.name for folder in {out, working} if folder.is_dir() for path in folder.iterdir()]
    # Of a training that was killed at its start or end, or nothing.
    is_own = all(name in _OWN for name in content)
    if set(content) <= {_LOCK} or (resume and unfinished):
        sweep(working)
        return
    if resume and finished and not replaces:
        raise RunError("is already finished", where=out, remedy="leave --resume out and say --overwrite to train again")
    if unfinished and not overwrite:
        raise RunError("holds an unfinished training", where=out, remedy="say --resume to go on, or --overwrite")
    if not (overwrite or (resume and (is_own or replaces))):
        raise already_exists(out)
    if not (finished or unfinished or is_own):
        raise RunError("is not a run folder", where=out, remedy="choose another --out")
    working.mkdir(exist_ok=True)
    _empty(working)


def _empty(folder: Path, manifest: str = MANIFEST, keep: str = _LOCK) -> None:
    """Delete the content of a folder; its manifest first, so that the rest is not taken for a finished result."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name != manifest):
        if path.name in (_LOCK, keep):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
