"""One modality through its encoder: distinct inputs, in shards, into the feature store."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demure.errors import NothingUsable
from demure.features import store
from demure.features.inputs import Inputs, Problem, Unusable
from demure.features.protocol import FittedEncoder, Spec
from demure.features.work import Shard, Work, forget
from demure.files import sha256_bytes
from demure.progress import Listener, Progress

SHARD = 512
WORKERS = 4
PROBLEMS = "problems.csv"
Batch = tuple[list[int], Sequence[Any]]


@dataclass(frozen=True)
class Encoded:
    """Distinct inputs ``encoded`` in this run and ``resumed`` from an earlier one; none if all was ``up_to_date``."""

    encoded: int = 0
    resumed: int = 0
    up_to_date: bool = False


def encode_modality(
    folder: Path,
    item_ids: Sequence[str],
    kind: str,
    spec: Spec,
    found: Inputs,
    encoder: Any,
    resume: bool,
    listener: Listener,
) -> Encoded:
    """Write ``features/KIND/`` for the inputs ``found``; an interrupted call leaves shards for the next.

    Raises ``NothingUsable`` if no item at all has something that the encoder can use.
    """
    if not found.keys:
        raise _nothing(kind, found.problems)
    if isinstance(encoder, FittedEncoder):
        encoder.fit([found.load(k) for k in range(len(found.keys))])
    identity = {"encoder": str(spec), **encoder.identity(), "input": found.facts}
    key = _key(identity, found)
    if resume and _current(folder, kind, key, item_ids):
        forget(folder, kind)
        return Encoded(up_to_date=True)
    work = Work(folder, kind, key, resume=resume)
    vectors = np.zeros((len(found.keys), encoder.dim), dtype=np.float32)
    present = np.zeros(len(found.keys), dtype=bool)
    problems: list[Problem] = []
    encoded, started = 0, time.perf_counter()
    for number, first in enumerate(range(0, len(found.keys), SHARD)):
        which = range(first, min(first + SHARD, len(found.keys)))
        shard = work.load(number)
        if shard is None:

            def report(done: int, which: range = which, before: int = encoded) -> None:
                rate = (before + done) / max(time.perf_counter() - started, 1e-9)
                fields: dict[str, float | str] = {"per second": round(rate, 1)}
                listener(Progress(f"encoding {kind}s", which.start + done, len(found.keys), fields))

            shard = _shard(kind, encoder, found, which, report)
            work.save(number, shard)
            encoded += len(which)
        vectors[which.start : which.stop], present[which.start : which.stop] = shard.vectors, shard.present
        problems += shard.problems
    item_present = (found.index >= 0) & present[found.index]
    listed = _listed(found, problems)
    if not item_present.any():
        forget(folder, kind)
        raise _nothing(kind, listed)
    counts = Counter(one[1] for one in listed)
    provenance = {**identity, "key": key, "distinct_inputs": len(found.keys), "problems": dict(counts)}
    of_items = np.where(item_present[:, None], vectors[found.index], np.float32(0))
    features = store.Features(kind, of_items, item_present, provenance)
    store.save(folder, features, {PROBLEMS: _csv(item_ids, listed)})
    forget(folder, kind)
    return Encoded(encoded, len(found.keys) - encoded)


def _key(identity: dict[str, Any], found: Inputs) -> str:
    """Hash of all that decides the files: the encoder, the inputs, which item has which, what was unusable and why."""
    facts = json.dumps([identity, SHARD, found.problems], sort_keys=True)
    return sha256_bytes(facts.encode(), found.index.tobytes(), "".join(found.keys).encode())


def _current(folder: Path, kind: str, key: str, item_ids: Sequence[str]) -> bool:
    if kind not in store.names(folder):
        return False
    facts = store.manifest(folder, kind)
    same_items = facts.get("item_ids_sha256") == store.ids_hash(item_ids)
    return bool(same_items and facts["provenance"].get("key") == key and store.intact(folder, kind))


def _nothing(kind: str, problems: list[Problem]) -> NothingUsable:
    counts = Counter(one[1] for one in problems).most_common(3)
    return NothingUsable(
        f"no item has a usable {kind} ({', '.join(f'{n} times: {problem}' for problem, n in counts)})",
        where=f"--{kind}",
        remedy=f"for example {problems[0][2]}" if problems and problems[0][2] else None,
    )


def _shard(kind: str, encoder: Any, found: Inputs, which: range, report: Any) -> Shard:
    vectors = np.zeros((len(which), encoder.dim), dtype=np.float32)
    problems: list[Problem] = []
    batches = (
        _text_batches(encoder, found, which) if kind == "text" else _image_batches(encoder, found, which, problems)
    )
    done = 0
    for numbers, batch in batches:
        if batch:
            vectors[np.asarray(numbers) - which.start] = encoder.encode(batch)
        done += len(numbers)
        report(min(done + len(problems), len(which)))
    finite = np.all(np.isfinite(vectors), axis=1)
    present = np.logical_and(finite, np.any(vectors, axis=1))
    known = {k for k, _, _ in problems}
    for row in np.flatnonzero(~present).tolist():
        if which.start + row not in known:
            why = "the encoder knows nothing in it" if finite[row] else "the encoder's vector is not finite"
            problems.append((which.start + row, why, ""))
    vectors[~present] = 0
    return Shard(vectors, present, sorted(problems))


def _text_batches(encoder: Any, found: Inputs, which: range) -> Iterator[Batch]:
    """By length, so that a batch is padded little."""
    order = sorted(which, key=lambda k: (len(found.load(k)), k))
    for start in range(0, len(order), encoder.batch):
        numbers = order[start : start + encoder.batch]
        yield numbers, [found.load(k) for k in numbers]


def _image_batches(encoder: Any, found: Inputs, which: range, problems: list[Problem]) -> Iterator[Batch]:
    """Decoded and prepared in threads, one batch ahead of the encoder."""

    def make(k: int) -> Any:
        image = found.load(k)
        try:
            return encoder.prepare(image)
        except Exception as error:
            raise Unusable("cannot be prepared", f"{image.width} x {image.height}: {error}"[:200]) from error

    groups = [which[start : start + encoder.batch] for start in range(0, len(which), encoder.batch)]
    pool = ThreadPoolExecutor(WORKERS)
    try:
        ahead: list[Future[Any]] = [pool.submit(make, k) for k in groups[0]]
        for group, following in zip(groups, [*groups[1:], range(0)], strict=True):
            current, ahead = ahead, [pool.submit(make, k) for k in following]
            numbers, batch = [], []
            for k, future in zip(group, current, strict=True):
                try:
                    batch.append(future.result())
                    numbers.append(k)
                except Unusable as problem:
                    problems.append((k, problem.kind, problem.value))
            yield numbers, batch
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _listed(found: Inputs, of_inputs: list[Problem]) -> list[Problem]:
    """Problems by item, in item order, from those of items and those of distinct inputs."""
    by_input = {k: (kind, value) for k, kind, value in of_inputs}
    spread = [(item, *by_input[k]) for item, k in enumerate(found.index.tolist()) if k in by_input]
    return sorted([*found.problems, *spread])


def _csv(item_ids: Sequence[str], problems: list[Problem]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["item_id", "problem", "value"])
    ids = list(item_ids)
    writer.writerows((ids[item], kind, value) for item, kind, value in problems)
    return out.getvalue().encode("utf-8", "backslashreplace").decode()
