"""Put the vectors of distinct inputs together by item and write them to the store, with ``problems.csv``.

The stage after ``shards`` and before ``demure.features.store``. The whole path is in ``extract``.

Shapes: I items, d distinct inputs, D dimensions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from demure.errors import NothingUsable
from demure.extraction.inputs import EncodingTask, InputProblem, Inputs, ItemProblem
from demure.extraction.reuse import EncodingPlan
from demure.extraction.shards import ShardFolder
from demure.features import store
from demure.files import csv_text

PROBLEMS = "problems.csv"


def assemble(task: EncodingTask, plan: EncodingPlan, folder: ShardFolder, provenance: dict[str, Any]) -> None:
    """Write ``features/NAME/`` from the shards and the reused vectors.

    Raises ``NothingUsable`` if no item has a vector.
    """
    inputs = task.inputs
    present, problems, half = np.zeros(len(inputs.keys), dtype=bool), list[InputProblem](), True
    for block in plan.blocks(folder):
        present[block.inputs] = block.present
        problems += block.problems
        half = half and store.fits_float16(block.vectors)
    item_present = (inputs.index >= 0) & present[inputs.index]
    item_problems = _problems_by_item(inputs, problems)
    if not item_present.any():
        raise nothing_usable(task.kind, item_problems)
    # Items sorted by their input: items of input k are order[borders[k] : borders[k + 1]].
    order = np.argsort(inputs.index, kind="stable")
    borders = np.searchsorted(inputs.index[order], np.arange(len(inputs.keys) + 1))

    def by_item() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for block in plan.blocks(folder):
            counts = borders[block.inputs + 1] - borders[block.inputs]
            items = np.concatenate([order[borders[k] : borders[k + 1]] for k in block.inputs.tolist()])
            yield items, np.repeat(block.vectors, counts, axis=0)

    counts = Counter(problem.kind for problem in item_problems)
    facts = {**provenance, "distinct_inputs": len(inputs.keys), "problems": dict(counts)}
    header = store.FeatureHeader(task.name, item_present, plan.dim, half, inputs.keys[inputs.index])
    store.save_blocks(task.folder, header, by_item(), facts, {PROBLEMS: _csv(task.item_ids, item_problems)})


def nothing_usable(kind: str, problems: list[ItemProblem]) -> NothingUsable:
    """Return the error of one line for a modality that no item has."""
    counts = Counter(problem.kind for problem in problems).most_common(3)
    reasons = ", ".join(f"{n} times: {problem}" for problem, n in counts) or "as another process found out"
    return NothingUsable(
        f"no item has {'usable attributes' if kind == 'attributes' else f'a usable {kind}'} ({reasons})",
        where=f"--{kind}",
        remedy=f"for example {problems[0].value}" if problems and problems[0].value else None,
    )


def _problems_by_item(inputs: Inputs, input_problems: list[InputProblem]) -> list[ItemProblem]:
    """Return the problems of items, and of distinct inputs for every item that has them, in item order."""
    by_input = {k: (kind, value) for k, kind, value in input_problems}
    spread = [ItemProblem(item, *by_input[k]) for item, k in enumerate(inputs.index.tolist()) if k in by_input]
    return sorted([*inputs.problems, *spread])


def _csv(item_ids: Sequence[str], problems: list[ItemProblem]) -> str:
    ids = list(item_ids)
    text = csv_text(["item_id", "problem", "value"], ((ids[item], kind, value) for item, kind, value in problems))
    return text.encode("utf-8", "backslashreplace").decode()
