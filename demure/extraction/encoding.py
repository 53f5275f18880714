"""Encode one modality: its distinct inputs go through the encoder in shards, and from the shards to the feature store.

The stage after ``inputs`` or ``images``: ``reuse`` finds the vectors that an earlier run made, ``shard_encoder`` runs
the encoder, and ``assemble`` writes the result. The whole path is in ``extract``.

Shapes: d distinct inputs, D dimensions.
"""

from __future__ import annotations

import csv
import functools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from demure.cluster.executor import LOCAL, Executor
from demure.compute.launcher import ALONE, ProcessRanks
from demure.data.manifest import MANIFEST
from demure.errors import NothingUsable
from demure.extraction.assemble import PROBLEMS, assemble, nothing_usable
from demure.extraction.decoding_elsewhere import decoders_elsewhere
from demure.extraction.inputs import EncodingTask, Inputs
from demure.extraction.protocol import FittedEncoder
from demure.extraction.reuse import EncodingPlan, find_reusable
from demure.extraction.shard_encoder import ShardEncoder
from demure.extraction.shards import ShardFolder, delete_shards
from demure.extraction.workers import TAKES_TOO_LONG, TIME_LIMIT
from demure.features import store
from demure.features.kinds import plural
from demure.files import sha256_bytes
from demure.progress import Listener

SHARD_SIZE = 512  # inputs; a killed run loses at most the shards that it had open
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class EncodingResult:
    """How many distinct inputs were ``encoded`` in this run and ``resumed`` from an earlier one, or ``up_to_date``."""

    encoded: int = 0
    resumed: int = 0
    up_to_date: bool = False


@dataclass(frozen=True)
class ExecutionOptions:
    """Settings that affect speed and recovery, not the vectors.

    Attributes:
        resume: use the results of earlier runs.
        ranks: the processes that work on the same features, and which of them this process is.
        workers: processes that decode images; None chooses by the device and the cores.
        image_seconds: time limit for decoding and preparing one image.
        helpers: the executor whose processes decode files; one that is local stands for processes beside the encoder.
    """

    resume: bool = True
    ranks: ProcessRanks = ALONE
    workers: int | None = None
    image_seconds: float = 20.0
    helpers: Executor = LOCAL


def encode_modality(task: EncodingTask, encoder: Any, options: ExecutionOptions, listener: Listener) -> EncodingResult:
    """Write ``features/NAME/`` for the inputs of a task; an interrupted call leaves shards for the next call.

    ``encoder`` is as ``protocol`` describes. Raises ``NothingUsable`` if no item has an input that it can encode;
    ``KeyboardInterrupt`` with the number of inputs that are kept.
    """
    if not len(task.inputs.keys):
        raise nothing_usable(task.kind, task.inputs.problems)
    task, reduced = _with_reduced_images(task, getattr(encoder, "pixels_of_a_side", None))
    inputs = task.inputs
    fitted_on = None
    if isinstance(encoder, FittedEncoder):
        fitted_on = inputs_to_fit(task.kind, inputs)
        encoder.fit([inputs.load(k) for k in fitted_on.tolist()])
    identity = {"encoder": task.encoder_name, **encoder.identity(), "kind": task.kind, "input": inputs.facts}
    vector_hash = _vector_hash(identity, None if fitted_on is None else inputs.keys[fitted_on])
    result_hash = _result_hash(identity, inputs)

    def up_to_date() -> bool:
        return is_result(task.folder, task.name, result_hash, task.item_ids, options.image_seconds)

    if options.resume and up_to_date():
        delete_shards(task.folder, task.name)
        return EncodingResult(up_to_date=True)
    folder = ShardFolder(task.folder, task.name, result_hash, vector_hash, resume=options.resume)
    reusable = find_reusable(task, vector_hash, folder) if options.resume else None
    plan = EncodingPlan.make(inputs, reusable, encoder.dim, SHARD_SIZE, _encoding_order(task.kind, inputs))
    run = ShardEncoder(
        task.kind,
        plan,
        folder,
        encoder,
        listener,
        ranks=options.ranks,
        workers=options.workers,
        image_seconds=options.image_seconds,
        open_elsewhere=functools.partial(decoders_elsewhere, options.helpers, task.folder / MANIFEST),
    )
    try:
        while not run.finished():
            run.encode_shards()
            if run.finished() or up_to_date():
                break
            if not folder.folder.is_dir():  # the process that finished the shards could use none of the inputs
                raise nothing_usable(task.kind, inputs.problems)
            time.sleep(POLL_SECONDS)  # other processes hold the remaining shards
    except KeyboardInterrupt as stop:
        run.finished()  # counts a shard whose file was complete when the interrupt came
        raise KeyboardInterrupt(f"{run.kept:,} of {len(inputs.keys):,} {plural(task.kind)}") from stop
    finally:
        run.close()
    with folder.lock("assemble", wait=True):
        if not options.resume or not up_to_date():
            if not folder.folder.is_dir():
                raise nothing_usable(task.kind, inputs.problems)
            try:
                # The keys of the file are older than the names here.
                assemble(task, plan, folder, {**identity, **reduced, "key": result_hash, "maker": vector_hash})
            except NothingUsable:
                if options.ranks.world == 1:  # other processes find out from the same shards
                    delete_shards(task.folder, task.name)
                raise
    delete_shards(task.folder, task.name)
    return EncodingResult(run.encoded, len(inputs.keys) - run.encoded)


def _with_reduced_images(task: EncodingTask, side: int | None) -> tuple[EncodingTask, dict[str, int]]:
    """Return the task with its large images decoded at a reduced size, and their number for the manifest.

    Their hashes say so: all other images keep their vectors of earlier runs.
    """
    if task.inputs.reduced is None or side is None:
        return task, {}
    inputs = task.inputs.reduced(side)
    number = int((inputs.keys != task.inputs.keys).any(axis=1).sum())
    return replace(task, inputs=inputs), {"decoded_at_reduced_size": number} if number else {}


def inputs_to_fit(kind: str, inputs: Inputs) -> np.ndarray:
    """Return the distinct inputs that an encoder is fitted on.

    Each distinct text counts once, as copies of a text are no evidence about words; attributes count for every item, as
    a value is no rarer when items share all their attributes.
    """
    return inputs.index[inputs.index >= 0] if kind == "attributes" else np.arange(len(inputs.keys))


def _vector_hash(identity: dict[str, Any], fitted_on: np.ndarray | None) -> str:
    """Return the hash of what decides the vector of one input.

    A model whose files are hashed may have any name and place. A fitted encoder also depends on the hashes of all
    inputs that it was fitted on.
    """
    facts = dict(identity)
    if "files_sha256" in facts:
        facts = {name: value for name, value in facts.items() if name not in ("encoder", "model", "from")}
    if identity["kind"] == "text":
        del facts["input"]  # columns and cleaning decide the text itself
    return sha256_bytes(json.dumps(facts, sort_keys=True).encode(), b"" if fitted_on is None else fitted_on.tobytes())


def _result_hash(identity: dict[str, Any], inputs: Inputs) -> str:
    """Return the hash of what decides the files: the encoder, the inputs, each item's input, the unusable items."""
    facts = json.dumps([identity, SHARD_SIZE, inputs.problems], sort_keys=True)
    return sha256_bytes(facts.encode(), inputs.index.tobytes(), inputs.keys.tobytes())


def is_result(folder: Path, name: str, result_hash: str, item_ids: Sequence[str], image_seconds: float) -> bool:
    """Return whether the stored features are the result of ``result_hash``, undamaged.

    They are not if an image was given up that may be ready within ``image_seconds``.
    """
    if name not in store.names(folder):
        return False
    manifest = store.read_manifest(folder, name)
    if image_seconds > min(_given_up_after(folder, name, manifest.provenance), default=image_seconds):
        return False
    same_items = manifest.item_ids_sha256 == store.ids_hash(item_ids)
    return same_items and manifest.provenance.get("key") == result_hash and store.intact(folder, name)


def _given_up_after(folder: Path, name: str, provenance: Mapping[str, Any]) -> list[float]:
    """Return the time limits in seconds at which images of the stored features were given up."""
    if TAKES_TOO_LONG not in provenance.get("problems", {}):
        return []
    file = folder / "features" / name / PROBLEMS
    with open(file, encoding="utf-8", newline="") as rows:
        values = [row["value"] for row in csv.DictReader(rows) if row["problem"] == TAKES_TOO_LONG]
    return [float(match[1]) for match in map(TIME_LIMIT.search, values) if match]


def _encoding_order(kind: str, inputs: Inputs) -> np.ndarray:
    """Return the distinct inputs in the order of encoding, (d,).

    Texts go by length, so that a batch has little padding, the longest first, so that a lack of memory shows early.
    """
    number = len(inputs.keys)
    if kind != "text":
        return np.arange(number)
    lengths = np.fromiter((len(inputs.load(k)) for k in range(number)), dtype=np.int64, count=number)
    return np.argsort(-lengths, kind="stable")
