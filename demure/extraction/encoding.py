"""One modality through its encoder: distinct inputs, in shards, into the feature store."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demure.compute.launcher import ALONE, Ranks
from demure.errors import NothingUsable
from demure.extraction.assemble import Plan, assemble, gather, nothing
from demure.extraction.inputs import Inputs, Problem, Unusable
from demure.extraction.oom import Careful
from demure.extraction.protocol import FittedEncoder, Spec
from demure.extraction.shards import Shard, Work, forget
from demure.extraction.workers import cores, decoders
from demure.features import store
from demure.features.kinds import plural
from demure.files import sha256_bytes
from demure.progress import Listener, Progress

SHARD = 512
POLL = 0.2
Batches = Generator[tuple[int, list[int], Any, list[Problem]], None, None]


@dataclass(frozen=True)
class Encoded:
    """Distinct inputs ``encoded`` in this run and ``resumed`` from an earlier one; none if all was ``up_to_date``."""

    encoded: int = 0
    resumed: int = 0
    up_to_date: bool = False


@dataclass(frozen=True)
class How:
    """What changes nothing about the features: whether to ``resume``, who else works on them (``ranks``), how many
    ``workers`` decode images (None: as many as help), and how many ``seconds`` one image may take."""

    resume: bool = True
    ranks: Ranks = ALONE
    workers: int | None = None
    seconds: float = 20.0


def encode_modality(
    folder: Path,
    item_ids: Sequence[str],
    name: str,
    kind: str,
    spec: Spec,
    found: Inputs,
    encoder: Any,
    how: How,
    listener: Listener,
) -> Encoded:
    """Write ``features/NAME/`` for the inputs ``found``; an interrupted call leaves shards for the next.

    Raises ``NothingUsable`` if no item at all has something that the encoder can use.
    """
    if not len(found.keys):
        raise nothing(kind, found.problems)
    fitted = isinstance(encoder, FittedEncoder)
    if isinstance(encoder, FittedEncoder):
        encoder.fit([found.load(k) for k in _fitted_on(kind, found).tolist()])
    identity = {"encoder": str(spec), **encoder.identity(), "kind": kind, "input": found.facts}
    maker = _maker(identity, found.keys[_fitted_on(kind, found)] if fitted else None)
    key = _key(identity, found)
    if how.resume and _current(folder, name, key, item_ids):
        forget(folder, name)
        return Encoded(up_to_date=True)
    work = Work(folder, name, key, maker, resume=how.resume)
    known = gather(folder, name, maker, found, work) if how.resume else None
    plan = Plan.make(found, known, encoder.dim, SHARD, _order(kind, found))
    run = _Run(kind, found, encoder, how, listener, work, plan)
    try:
        while not run.finished():
            run.go()
            if run.finished() or _current(folder, name, key, item_ids):
                break
            if not work.folder.is_dir():  # whoever finished it found nothing to keep
                raise nothing(kind, found.problems)
            time.sleep(POLL)  # the rest is in the hands of other processes
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"{run.kept:,} of {len(found.keys):,} {plural(kind)}") from stop
    finally:
        run.close()
    with work.locked("assemble", wait=True):
        if not _current(folder, name, key, item_ids) or not how.resume:
            if not work.folder.is_dir():
                raise nothing(kind, found.problems)
            provenance = {**identity, "key": key, "maker": maker}
            try:
                assemble(folder, item_ids, name, kind, plan, found, work, provenance)
            except NothingUsable:
                if how.ranks.world == 1:  # others find out by the same shards
                    forget(folder, name)
                raise
    forget(folder, name)
    return Encoded(run.encoded, len(found.keys) - run.encoded)


def _fitted_on(kind: str, found: Inputs) -> np.ndarray:
    """(n,) the inputs that an encoder is fitted on: each distinct text once, as copies of a text say nothing of words;
    attributes of every item, as items that share all of them make a value no rarer."""
    return found.index[found.index >= 0] if kind == "attributes" else np.arange(len(found.keys))


def _maker(identity: dict[str, Any], fitted: np.ndarray | None) -> str:
    """Hash of what decides the vector of one input. A model with hashed files may be called and lie what and where it
    likes; an encoder that was ``fitted`` depends on the hashes of all inputs that it was fitted on."""
    facts = dict(identity)
    if "files_sha256" in facts:
        facts = {name: value for name, value in facts.items() if name not in ("encoder", "model", "from")}
    if identity["kind"] == "text":
        del facts["input"]  # columns and cleaning decide the text itself
    return sha256_bytes(json.dumps(facts, sort_keys=True).encode(), b"" if fitted is None else fitted.tobytes())


def _key(identity: dict[str, Any], found: Inputs) -> str:
    """Hash of all that decides the files: the encoder, the inputs, which item has which, what was unusable and why."""
    facts = json.dumps([identity, SHARD, found.problems], sort_keys=True)
    return sha256_bytes(facts.encode(), found.index.tobytes(), found.keys.tobytes())


def _current(folder: Path, name: str, key: str, item_ids: Sequence[str]) -> bool:
    if name not in store.names(folder):
        return False
    facts = store.manifest(folder, name)
    same_items = facts.get("item_ids_sha256") == store.ids_hash(item_ids)
    return bool(same_items and facts["provenance"].get("key") == key and store.intact(folder, name))


def _order(kind: str, found: Inputs) -> np.ndarray:
    """Texts by length, so that a batch is padded little; the longest first, so that too little memory shows soon."""
    number = len(found.keys)
    if kind != "text":
        return np.arange(number)
    lengths = np.fromiter((len(found.load(k)) for k in range(number)), dtype=np.int64, count=number)
    return np.argsort(-lengths, kind="stable")


class _Run:
    """The shards that this process makes."""

    def __init__(
        self, kind: str, found: Inputs, encoder: Any, how: How, listener: Listener, work: Work, plan: Plan
    ) -> None:
        self.kind, self.found, self.how, self.listener, self.work, self.plan = kind, found, how, listener, work, plan
        self.encoder = Careful(encoder)
        self.encoded = 0
        self.open: dict[int, tuple[contextlib.ExitStack, Shard, int]] = {}
        self.done = {n for n in range(plan.shards) if work.usable(n, plan.keys(n))}
        self.finished_before = self.kept
        self.started = time.perf_counter()

    def finished(self) -> bool:
        """Whether all shards are there, whoever made them."""
        self.done |= {n for n in range(self.plan.shards) if n not in self.done and self.work.has(n)}
        return len(self.done) == self.plan.shards

    def go(self) -> None:
        """Make the shards that nobody else is making."""
        batches = self._images() if self.kind == "image" else self._loaded()
        with contextlib.closing(batches):
            for number, inputs, batch, problems in batches:
                self._add(number, inputs, self.encoder.encode(batch) if len(inputs) else None, problems)

    @property
    def kept(self) -> int:
        """How many inputs an interrupted run would find."""
        return sum(len(self.plan.inputs(n)) for n in self.done) + self.plan.reused

    def close(self) -> None:
        """Let go of shards that were not finished."""
        for held, *_ in self.open.values():
            held.close()

    def _groups(self) -> Generator[tuple[int, list[int]], None, None]:
        """Batches of the shards that are still to be made, each claimed when its first batch is asked for. Every rank
        begins elsewhere."""
        first = self.how.ranks.rank * self.plan.shards // self.how.ranks.world
        for number in [*range(first, self.plan.shards), *range(first)]:
            if number in self.done:
                continue
            with contextlib.ExitStack() as stack:
                if not stack.enter_context(self.work.locked(f"{number:06d}")) or self.work.has(number):
                    continue
                inputs = self.plan.inputs(number)
                empty = np.zeros((len(inputs), self.plan.dim), dtype=np.float32)
                shard = Shard(self.plan.keys(number), empty, np.zeros(len(inputs), dtype=bool), [])
                self.open[number] = (stack.pop_all(), shard, len(inputs))
            for start in range(0, len(inputs), self.encoder.batch):
                yield number, inputs[start : start + self.encoder.batch].tolist()

    def _loaded(self) -> Batches:
        for number, inputs in self._groups():
            yield number, inputs, [self.found.load(k) for k in inputs], []

    def _images(self) -> Batches:
        from PIL import Image

        prepare = self.encoder.prepare

        def make(k: int) -> Any:
            image = self.found.load(k)
            try:
                return prepare(image)
            except Exception as error:
                raise Unusable("cannot be prepared", f"{image.width} x {image.height}: {error}"[:200]) from error

        groups = self._groups()
        first = next(groups, None)
        if first is None:
            return
        like = np.asarray(prepare(Image.new("RGB", (64, 64), "grey")))
        pool = decoders(make, like, self.encoder.batch, self.how.workers or self._workers(), self.how.seconds)
        with contextlib.closing(pool.run(itertools.chain([first], groups))) as made:
            yield from made

    def _workers(self) -> int:
        """Where the encoder computes on the same cores, two are enough; an accelerator waits for decoding."""
        device = getattr(self.encoder.encoder, "device", None)
        most = 2 if getattr(device, "type", "cpu") == "cpu" else 16
        return max(1, min(most, cores()))

    def _add(self, number: int, inputs: list[int], vectors: Any, problems: list[Problem]) -> None:
        held, shard, left = self.open[number]
        rows = {k: row for row, k in enumerate(self.plan.inputs(number).tolist())}
        if len(inputs):
            shard.vectors[[rows[k] for k in inputs]] = vectors
        shard.problems.extend((rows[k], kind, value) for k, kind, value in problems)
        left -= len(inputs) + len(problems)
        self.encoded += len(inputs) + len(problems)
        self.open[number] = (held, shard, left)
        if not left:
            self.work.save(number, _judged(shard))
            self.done.add(number)
            del self.open[number]
            held.close()
        rate = self.encoded / max(time.perf_counter() - self.started, 1e-9)
        done = min(self.finished_before + self.encoded, len(self.found.keys))
        self.listener(
            Progress(f"encoding {plural(self.kind)}", done, len(self.found.keys), {"per second": round(rate, 1)})
        )


def _judged(shard: Shard) -> Shard:
    """With the marks of which vectors there are, and a reason for every other."""
    finite = np.all(np.isfinite(shard.vectors), axis=1)
    present = np.logical_and(finite, np.any(shard.vectors, axis=1))
    known = {row for row, _, _ in shard.problems}
    problems = list(shard.problems)
    for row in np.flatnonzero(~present).tolist():
        if row not in known:
            why = "the encoder knows nothing in it" if finite[row] else "the encoder's vector is not finite"
            problems.append((row, why, ""))
    shard.vectors[~present] = 0
    return Shard(shard.keys, shard.vectors, present, sorted(problems))
