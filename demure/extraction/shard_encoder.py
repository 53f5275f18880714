"""Run the encoder over the pending inputs of one modality, and write the shards that no other process writes.

Encoding calls this module; ``workers`` decodes and prepares its files, ``oom`` halves batches, ``shards`` stores.

Shapes: n inputs of a shard, D dimensions.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from demure.compute.launcher import ProcessRanks
from demure.compute.threads import usable_cores
from demure.extraction.decoding_elsewhere import DecodersElsewhere
from demure.extraction.inputs import InputProblem
from demure.extraction.media import blank
from demure.extraction.oom import HalvingEncoder
from demure.extraction.reuse import EncodingPlan
from demure.extraction.shards import RowProblem, Shard, ShardFolder
from demure.extraction.workers import DecodedBatch, DecoderPool, PreparedFiles, SerialDecoder, open_decoders
from demure.features.kinds import FILES, plural
from demure.progress import Listener, Progress

Batches = Generator[DecodedBatch, None, None]


@dataclass
class _OpenShard:
    """A shard in the making: ``remaining`` inputs are still to come; ``lock`` is held until it is closed."""

    shard: Shard
    row_of: dict[int, int]
    remaining: int
    lock: contextlib.ExitStack


class ShardEncoder:
    """The shards that this process makes of an ``EncodingPlan``.

    Attributes:
        encoded: inputs that went through the encoder in this process.
        done: numbers of the shards that are finished, by any process.
    """

    def __init__(
        self,
        kind: str,
        plan: EncodingPlan,
        folder: ShardFolder,
        encoder: Any,
        listener: Listener,
        *,
        ranks: ProcessRanks,
        workers: int | None,
        image_seconds: float,
        open_elsewhere: Callable[..., DecodersElsewhere | None],
    ) -> None:
        """Open the shards of ``plan`` that are there.

        ``open_elsewhere``: load, encoder, template, seconds -> decoders on a cluster, or None.
        """
        self.kind, self.plan, self.folder, self.listener = kind, plan, folder, listener
        self.ranks, self.workers, self.image_seconds = ranks, workers, image_seconds
        self.open_elsewhere = open_elsewhere
        self.encoder = HalvingEncoder(encoder)
        self.encoded = 0
        self.open: dict[int, _OpenShard] = {}
        self.done = {n for n in range(plan.shards) if folder.usable(n, plan.shard_keys(n))}
        self.kept_before = self.kept
        self.started = time.perf_counter()

    def finished(self) -> bool:
        """Return whether all shards exist, made by this or another process."""
        self.done |= {n for n in range(self.plan.shards) if n not in self.done and self.folder.has(n)}
        return len(self.done) == self.plan.shards

    def encode_shards(self) -> None:
        """Make the shards that no other process is making."""
        batches = self._decoded_batches() if self.kind in FILES else self._loaded_batches()
        # CUDA computes one batch while the next one is awaited, tokenised and handed over.
        ahead = 1 if self._device_type == "cuda" else 0
        submitted: deque[Callable[[], None]] = deque()
        with contextlib.closing(batches):
            for number, inputs, batch, problems in batches:
                vectors = self.encoder.submit(batch) if len(inputs) else None
                submitted.append(functools.partial(self._add, number, inputs, vectors, problems))
                while len(submitted) > ahead:
                    submitted.popleft()()
        while submitted:
            submitted.popleft()()

    @property
    def kept(self) -> int:
        """How many inputs an interrupted run would find again."""
        return sum(len(self.plan.shard_inputs(n)) for n in self.done) + self.plan.reused

    def close(self) -> None:
        """Release the locks on shards that were not finished."""
        for shard in self.open.values():
            shard.lock.close()

    def _claimed_batches(self) -> Generator[tuple[int, list[int]], None, None]:
        """Yield (shard, inputs of a batch) for the shards that are still to be made.

        A shard is claimed when its first batch is asked for. Every rank begins at another shard.
        """
        first = self.ranks.rank * self.plan.shards // self.ranks.world
        for number in [*range(first, self.plan.shards), *range(first)]:
            if number in self.done:
                continue
            with contextlib.ExitStack() as stack:
                if not stack.enter_context(self.folder.lock(f"{number:06d}")) or not self.folder.lacks(number):
                    continue
                inputs = self.plan.shard_inputs(number).tolist()
                vectors = np.zeros((len(inputs), self.plan.dim), dtype=np.float32)
                shard = Shard(self.plan.shard_keys(number), vectors, np.zeros(len(inputs), dtype=bool), [])
                row_of = {k: row for row, k in enumerate(inputs)}
                self.open[number] = _OpenShard(shard, row_of, len(inputs), stack.pop_all())
            for start in range(0, len(inputs), self.encoder.batch):
                yield number, inputs[start : start + self.encoder.batch]

    def _loaded_batches(self) -> Batches:
        load = self.plan.inputs.load
        for number, inputs in self._claimed_batches():
            yield DecodedBatch(number, inputs, [load(k) for k in inputs], [])

    def _decoded_batches(self) -> Batches:
        batches = self._claimed_batches()
        first = next(batches, None)
        if first is None:  # nothing to do: no workers are started
            return
        load, encoder = self.plan.inputs.load, self.encoder.encoder
        template = np.asarray(self.encoder.prepare(blank(self.kind)))
        decoders = self.open_elsewhere(load, encoder, template, self.image_seconds) or self._decoders_here(template)
        with contextlib.closing(decoders.run(itertools.chain([first], batches))) as decoded:
            yield from decoded

    def _decoders_here(self, template: np.ndarray) -> DecoderPool | SerialDecoder:
        decode = PreparedFiles(self.plan.inputs.load, self.encoder.encoder)
        workers = self.workers or self._default_workers()
        return open_decoders(decode, template, self.encoder.batch, workers, self.image_seconds)

    def _default_workers(self) -> int:
        """Return 2 where the encoder computes on the same cores; an accelerator waits for decoding, so up to 16."""
        most = 2 if self._device_type == "cpu" else 16
        return max(1, min(most, usable_cores()))

    @property
    def _device_type(self) -> str:
        """Where the encoder computes: ``"cpu"``, ``"cuda"`` or another type of torch's."""
        device = getattr(self.encoder.encoder, "device", None)
        return str(getattr(device, "type", "cpu"))

    def _add(
        self,
        number: int,
        inputs: list[int],
        vectors: Callable[[], np.ndarray] | None,
        problems: list[InputProblem],
    ) -> None:
        """Wait for the vectors of ``inputs``, put them into shard ``number``, and write the shard if it is complete."""
        target = self.open[number]
        if vectors is not None:
            target.shard.vectors[[target.row_of[k] for k in inputs]] = vectors()
        target.shard.problems.extend(RowProblem(target.row_of[k], kind, value) for k, kind, value in problems)
        target.remaining -= len(inputs) + len(problems)
        self.encoded += len(inputs) + len(problems)
        if not target.remaining:
            self.folder.save(number, _with_presence(target.shard))
            self.done.add(number)
            del self.open[number]
            target.lock.close()
        total = len(self.plan.inputs.keys)
        rate = self.encoded / max(time.perf_counter() - self.started, 1e-9)
        done = min(self.kept_before + self.encoded, total)
        self.listener(Progress(f"encoding {plural(self.kind)}", done, total, {"per second": round(rate, 1)}))


def _with_presence(shard: Shard) -> Shard:
    """Return the shard with the marks of present vectors, and a problem for every input without one."""
    finite = np.all(np.isfinite(shard.vectors), axis=1)
    present = np.logical_and(finite, np.any(shard.vectors, axis=1))
    explained = {problem.row for problem in shard.problems}
    problems = list(shard.problems)
    for row in np.flatnonzero(~present).tolist():
        if row not in explained:
            # Kinds of problems are part of the files: their wording stays.
            kind = "the encoder knows nothing in it" if finite[row] else "the encoder's vector is not finite"
            problems.append(RowProblem(row, kind, ""))
    shard.vectors[~present] = 0
    return Shard(shard.keys, shard.vectors, present, sorted(problems))
