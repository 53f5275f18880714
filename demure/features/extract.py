"""The driver of `demure extract`: distinct inputs, in shards, through an encoder, into the feature store."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from demure.data.dataset import Dataset
from demure.errors import ExtractorError
from demure.features import inputs as reading
from demure.features import store
from demure.features.inputs import Inputs, Unusable
from demure.features.loading import choose, load_encoder
from demure.features.protocol import BUILT_IN, FittedEncoder, Spec
from demure.features.work import Shard, Work
from demure.files import sha256_bytes
from demure.progress import Listener, Progress, silent

SHARD = 512
WORKERS = 4
Problem = tuple[int, str, str]


@dataclass(frozen=True)
class Extracted:
    """What became of one modality. ``problems``: kind -> items; ``first``: some of them, with item id and value.

    ``encoded`` distinct inputs went through the encoder in this run and ``resumed`` had been before; ``kept`` says why
    nothing was done at all.
    """

    name: str
    encoder: str
    dim: int
    items: int
    present: int
    distinct: int
    encoded: int
    resumed: int
    problems: dict[str, int]
    first: list[dict[str, str]]
    seconds: float
    folder: Path
    assumed: list[str] = field(default_factory=list)
    kept: str | None = None

    @property
    def missing(self) -> int:
        return self.items - self.present


@dataclass(frozen=True)
class ExtractReport:
    """Result of ``extract``."""

    dataset: Path
    modalities: list[Extracted]


def extract(
    dataset_path: Path,
    text: str | None = None,
    image: str | None = None,
    device: str = "auto",
    resume: bool = True,
    listener: Listener = silent,
) -> ExtractReport:
    """Turn item texts and images into features ``text`` and ``image`` in the dataset folder.

    ``text`` and ``image`` name encoders, ``family:model[@revision]``; where both are None the built-in ones run on what
    the dataset has, and leave alone features that were imported or made by another encoder. What cannot be encoded is
    missing, and listed in ``features/NAME/problems.csv``. With ``resume``, shards of an interrupted run with the same
    encoder and inputs are used, and features that are up to date are kept. Raises ``DatasetError``,
    ``ExtractorError``, ``MachineError``.
    """
    dataset = Dataset.load(Path(dataset_path))
    chosen = {kind: name for kind, name in (("text", text), ("image", image)) if name is not None}
    asked = bool(chosen)
    if not asked:
        has = {"text": bool(dataset.text_columns), "image": "image" in dataset.items.columns}
        chosen = {kind: BUILT_IN[kind] for kind, there in has.items() if there}
    if not chosen:
        raise ExtractorError(
            "the items have neither texts nor images",
            where=dataset_path,
            remedy="prepare with --items, or with --features NAME=FILE.npy",
        )
    resolved = {kind: choose(name, kind) for kind, name in chosen.items()}
    done = []
    for kind, (spec, family) in resolved.items():
        other = None if asked else _others(dataset.path, kind, spec)
        if other is not None:
            done.append(_kept(dataset.path, kind, f"made by {other}; --{kind} {spec} would replace them"))
            continue
        found = _inputs(dataset, kind, listener)
        done.append(_one(dataset, kind, spec, found, load_encoder(spec, family, kind, device), resume, listener))
    return ExtractReport(dataset.path, done)


def _inputs(dataset: Dataset, kind: str, listener: Listener) -> Inputs:
    listener(Progress(f"reading {kind}s", 0, dataset.n_items))
    if kind == "text":
        return reading.texts(dataset.items, dataset.text_columns)
    return reading.images(dataset.items, dataset.images_root)


def _others(dataset_path: Path, name: str, spec: Spec) -> str | None:
    """The encoder that made existing features, if it is another one."""
    if name not in store.names(dataset_path):
        return None
    encoder = str(store.manifest(dataset_path, name)["provenance"].get("encoder"))
    return None if encoder == str(spec) else encoder


def _one(
    dataset: Dataset, kind: str, spec: Spec, found: Inputs, encoder: Any, resume: bool, listener: Listener
) -> Extracted:
    started = time.perf_counter()
    if not found.keys:
        raise ExtractorError(
            f"none of the {len(found.index)} items has a usable {kind}",
            where=f"--{kind}",
            remedy=f"for example: {found.problems[0][1]} {found.problems[0][2]}".rstrip() if found.problems else None,
        )
    if isinstance(encoder, FittedEncoder):
        encoder.fit([found.load(k) for k in range(len(found.keys))])
    identity = {"encoder": str(spec), **encoder.identity(), "input": found.facts}
    key = sha256_bytes(json.dumps([identity, SHARD], sort_keys=True).encode(), *(one.encode() for one in found.keys))
    # Which item has which input counts as well, and what was wrong with the others.
    key = sha256_bytes(key.encode(), found.index.tobytes(), json.dumps(found.problems).encode())
    if resume and kind in store.names(dataset.path):
        facts = store.manifest(dataset.path, kind)
        if facts["provenance"].get("key") == key and facts["item_ids_sha256"] == store.ids_hash(dataset.item_ids):
            _clean(dataset.path, kind)
            return _kept(dataset.path, kind, "up to date")
    work = Work(dataset.path, kind, key, resume=resume)
    vectors = np.zeros((len(found.keys), encoder.dim), dtype=np.float32)
    present = np.zeros(len(found.keys), dtype=bool)
    problems: list[Problem] = []
    encoded = 0
    for number, first in enumerate(range(0, len(found.keys), SHARD)):
        which = range(first, min(first + SHARD, len(found.keys)))
        shard = work.load(number)
        if shard is None:
            shard = _shard(kind, encoder, found, which, listener, started, encoded)
            work.save(number, shard)
            encoded += len(which)
        vectors[which.start : which.stop], present[which.start : which.stop] = shard.vectors, shard.present
        problems += shard.problems
        listener(Progress(f"encoding {kind}s", which.stop, len(found.keys)))
    listed = _listed(found, problems)
    used = found.index >= 0
    item_present = used & present[found.index]
    if not item_present.any():
        kinds = ", ".join(f"{name} ({n})" for name, n in Counter(one[1] for one in listed).most_common(3))
        raise ExtractorError(f"none of the items has a usable {kind}: {kinds}", where=f"--{kind}")
    provenance = {
        **identity,
        "key": key,
        "distinct_inputs": len(found.keys),
        "problems": dict(Counter(one[1] for one in listed)),
    }
    whole = store.Features(kind, np.where(item_present[:, None], vectors[found.index], 0), item_present, provenance)
    store.save(dataset.path, whole, {"problems.csv": _csv(dataset, listed)})
    work.remove()
    return _result(dataset.path, kind, encoded, len(found.keys) - encoded, time.perf_counter() - started)


def _shard(
    kind: str, encoder: Any, found: Inputs, which: range, listener: Listener, started: float, before: int
) -> Shard:
    vectors = np.zeros((len(which), encoder.dim), dtype=np.float32)
    problems: list[Problem] = []
    batches = _text_batches if kind == "text" else _image_batches
    done = 0
    for numbers, batch in batches(encoder, found, which, problems):
        if batch:
            vectors[np.asarray(numbers) - which.start] = encoder.encode(batch)
        done += len(numbers)
        rate = (before + done) / max(time.perf_counter() - started, 1e-9)
        listener(Progress(f"encoding {kind}s", which.start + done, len(found.keys), {"per second": round(rate, 1)}))
    finite = np.isfinite(vectors).all(axis=1)
    present = finite & vectors.any(axis=1)
    known = {k for k, _, _ in problems}
    problems += [
        (which.start + k, "the encoder found nothing in it" if finite[k] else "the encoder's vector is not finite", "")
        for k in np.flatnonzero(~present).tolist()
        if which.start + k not in known
    ]
    vectors[~present] = 0
    return Shard(vectors, present, sorted(problems))


def _text_batches(
    encoder: Any, found: Inputs, which: range, problems: list[Problem]
) -> Iterator[tuple[list[int], Sequence[Any]]]:
    """By length, so that a batch is padded little."""
    order = sorted(which, key=lambda k: (len(found.load(k)), k))
    for start in range(0, len(order), encoder.batch):
        numbers = order[start : start + encoder.batch]
        yield numbers, [found.load(k) for k in numbers]


def _image_batches(
    encoder: Any, found: Inputs, which: range, problems: list[Problem]
) -> Iterator[tuple[list[int], Sequence[Any]]]:
    """Decoded and prepared in threads, one batch ahead of the encoder."""

    def make(k: int) -> Any:
        image = found.load(k)
        try:
            return encoder.prepare(image)
        except Exception as error:
            raise Unusable("cannot be prepared", f"{image.width} x {image.height}: {error}"[:200]) from error

    groups = [list(which[start : start + encoder.batch]) for start in range(0, len(which), encoder.batch)]
    pool = ThreadPoolExecutor(WORKERS)
    try:
        ahead: list[Future[Any]] = []
        for position, group in enumerate(groups):
            current = ahead or [pool.submit(make, k) for k in group]
            following = groups[position + 1] if position + 1 < len(groups) else []
            ahead = [pool.submit(make, k) for k in following]
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
    spread = [(item, *by_input[int(k)]) for item, k in enumerate(found.index) if int(k) in by_input]
    return sorted([*found.problems, *spread])


def _csv(dataset: Dataset, problems: list[Problem]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["item_id", "problem", "value"])
    writer.writerows((dataset.item_ids[item], kind, value) for item, kind, value in problems)
    return out.getvalue().encode("utf-8", "backslashreplace").decode()


def _clean(dataset_path: Path, name: str) -> None:
    import shutil

    shutil.rmtree(Path(dataset_path) / "features" / f".work-{name}", ignore_errors=True)


def _kept(dataset_path: Path, name: str, why: str) -> Extracted:
    return _result(dataset_path, name, 0, 0, 0.0, why)


def _result(
    dataset_path: Path, name: str, encoded: int, resumed: int, seconds: float, kept: str | None = None
) -> Extracted:
    facts, folder = store.manifest(dataset_path, name), Path(dataset_path) / "features" / name
    provenance, listed = facts["provenance"], folder / "problems.csv"
    first: list[dict[str, str]] = []
    if listed.is_file():
        with open(listed, encoding="utf-8", newline="") as file:
            first = [row for row, _ in zip(csv.DictReader(file), range(5), strict=False)]
    return Extracted(
        name=name,
        encoder=str(provenance.get("encoder")),
        dim=facts["dim"],
        items=facts["items"],
        present=facts["present"],
        distinct=provenance.get("distinct_inputs", facts["present"]),
        encoded=encoded,
        resumed=resumed,
        problems=provenance.get("problems", {}),
        first=first,
        seconds=round(seconds, 3),
        folder=folder,
        assumed=list(provenance.get("assumed", [])),
        kept=kept,
    )
