"""Which inputs still need an encoder, in which shards; and the shards put together by item."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demure.errors import DemureError, NothingUsable
from demure.extraction.inputs import Inputs, Problem
from demure.extraction.shards import Work, read
from demure.features import store
from demure.features.rows import Rows

PROBLEMS = "problems.csv"
_BLOCK = 4096


@dataclass(frozen=True)
class Known:
    """Vectors that an earlier run made of inputs that are here again: in ``rows`` of the finished features, or in
    ``shards`` of unfinished ones. ``at`` (D, 2): file (0 the features, 1... the shards; -1 nowhere) and row there."""

    rows: Rows | None
    shards: list[Path]
    at: np.ndarray


def gather(folder: Path, name: str, maker: str, found: Inputs, work: Work) -> Known:
    """What the encoder ``maker`` made of these inputs before. Inputs that it could not use are tried again."""
    at = np.full((len(found.keys), 2), -1, dtype=np.int64)
    rows, shards = None, work.earlier()
    with_hashes = _finished(folder, name, maker)
    if with_hashes is not None:
        rows, keys, present = with_hashes
        row = _match(found.keys, keys)
        here = (row >= 0) & present[row]
        at[here] = np.stack([np.zeros(int(here.sum()), dtype=np.int64), row[here]], axis=1)
    for file, path in enumerate(shards, start=1):
        shard = read(path)
        if shard is not None:
            row = _match(found.keys, shard.keys)
            here = (at[:, 0] < 0) & (row >= 0) & shard.present[row]
            at[here] = np.stack([np.full(int(here.sum()), file), row[here]], axis=1)
    return Known(rows, shards, at)


def _finished(folder: Path, name: str, maker: str) -> tuple[Rows, np.ndarray, np.ndarray] | None:
    from safetensors import SafetensorError, safe_open

    file = Path(folder) / "features" / name / "features.safetensors"
    try:
        if store.manifest(folder, name)["provenance"].get("maker") != maker or not store.intact(folder, name):
            return None
        with safe_open(str(file), framework="numpy") as arrays:
            keys, present = arrays.get_tensor("inputs"), arrays.get_tensor("present").astype(bool)
        return Rows(file, "vectors"), keys, present
    except (DemureError, SafetensorError, OSError, KeyError, ValueError):
        return None


def _match(wanted: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(D,) row of ``there`` (N, 16) that equals each of ``wanted`` (D, 16), or -1."""
    if not len(there):
        return np.full(len(wanted), -1, dtype=np.int64)
    short = np.ascontiguousarray(there[:, :8]).view(np.uint64).ravel()
    order = np.argsort(short, kind="stable")
    place = np.searchsorted(short[order], np.ascontiguousarray(wanted[:, :8]).view(np.uint64).ravel())
    row = order[np.minimum(place, len(order) - 1)]
    return np.where((there[row] == wanted).all(axis=1), row, -1)


@dataclass(frozen=True)
class Plan:
    """``pending`` (P,) distinct inputs to encode, in order; ``size`` of them make a shard."""

    found: Inputs
    known: Known | None
    pending: np.ndarray
    dim: int
    size: int

    @classmethod
    def make(cls, found: Inputs, known: Known | None, dim: int, size: int, order: np.ndarray) -> Plan:
        """All inputs, in ``order``, but those that are ``known``."""
        pending = order if known is None else order[known.at[order, 0] < 0]
        return cls(found, known, pending, dim, size)

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-len(self.pending) // self.size)

    @property
    def reused(self) -> int:
        """How many inputs need no encoder."""
        return len(self.found.keys) - len(self.pending)

    def inputs(self, number: int) -> np.ndarray:
        """(n,) the distinct inputs of shard ``number``."""
        return self.pending[number * self.size : (number + 1) * self.size]

    def keys(self, number: int) -> np.ndarray:
        """(n, 16) their hashes."""
        return self.found.keys[self.inputs(number)]

    def blocks(self, work: Work) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, list[Problem]]]:
        """All distinct inputs, in parts: (n,) which, (n, d) float32, (n,) bool present, (input, kind, value)."""
        for number in range(self.shards):
            shard, inputs = work.load(number, self.keys(number)), self.inputs(number)
            if shard is None:
                raise DemureError(f"shard {number} is gone", where=work.folder, remedy="run the same command again")
            yield (
                inputs,
                shard.vectors,
                shard.present,
                [(int(inputs[k]), what, value) for k, what, value in shard.problems],
            )
        if self.known is None:
            return
        at = self.known.at
        for file, path in enumerate([None, *self.known.shards]):
            inputs = np.flatnonzero(at[:, 0] == file)
            inputs = inputs[np.argsort(at[inputs, 1], kind="stable")]
            for first in range(0, len(inputs), _BLOCK):
                some = inputs[first : first + _BLOCK]
                yield some, self._earlier(path, at[some, 1]), np.ones(len(some), dtype=bool), []

    def _earlier(self, path: Path | None, row: np.ndarray) -> np.ndarray:
        if path is not None:
            shard = read(path)
            if shard is None:
                raise DemureError("is gone", where=path, remedy="run the same command again")
            return shard.vectors[row]
        assert self.known is not None
        assert self.known.rows is not None
        made = np.empty((len(row), self.dim), dtype=np.float32)
        for start in range(int(row[0]), int(row[-1]) + 1, _BLOCK):
            stop = min(start + _BLOCK, int(row[-1]) + 1)
            here = (row >= start) & (row < stop)
            if here.any():
                made[here] = self.known.rows.read(start, stop)[row[here] - start]
        return made


def assemble(
    folder: Path,
    item_ids: Sequence[str],
    name: str,
    kind: str,
    plan: Plan,
    found: Inputs,
    work: Work,
    provenance: dict[str, Any],
) -> None:
    """Write ``features/NAME/`` from the shards and what was known. Raises ``NothingUsable`` if nothing is there."""
    present, problems, half = np.zeros(len(found.keys), dtype=bool), list[Problem](), True
    for inputs, vectors, there, reasons in plan.blocks(work):
        present[inputs] = there
        problems += reasons
        half = half and store.fits_half(vectors)
    item_present = (found.index >= 0) & present[found.index]
    listed = _listed(found, problems)
    if not item_present.any():
        raise nothing(kind, listed)
    order = np.argsort(found.index, kind="stable")
    borders = np.searchsorted(found.index[order], np.arange(len(found.keys) + 1))

    def by_item() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for inputs, vectors, _, _ in plan.blocks(work):
            times = borders[inputs + 1] - borders[inputs]
            items = np.concatenate([order[borders[k] : borders[k + 1]] for k in inputs.tolist()])
            yield items, np.repeat(vectors, times, axis=0)

    counts = Counter(one[1] for one in listed)
    facts = {**provenance, "distinct_inputs": len(found.keys), "problems": dict(counts)}
    shape = store.Shape(name, item_present, plan.dim, half, found.keys[found.index])
    store.save_rows(folder, shape, by_item(), facts, {PROBLEMS: _csv(item_ids, listed)})


def nothing(kind: str, problems: list[Problem]) -> NothingUsable:
    """The one line for a modality that no item has."""
    counts = Counter(one[1] for one in problems).most_common(3)
    why = ", ".join(f"{n} times: {problem}" for problem, n in counts) or "as another process found out"
    return NothingUsable(
        f"no item has {'usable attributes' if kind == 'attributes' else f'a usable {kind}'} ({why})",
        where=f"--{kind}",
        remedy=f"for example {problems[0][2]}" if problems and problems[0][2] else None,
    )


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
