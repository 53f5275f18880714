"""`demure eval`: judge finished runs by full ranking on a split, and compare them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demure.data.split import EARLIER
from demure.errors import DemureError
from demure.evaluation.compare import Comparison, compare
from demure.evaluation.ranking import DEFAULT_KS, Evaluation, evaluate
from demure.files import atomic_file
from demure.progress import Listener, silent
from demure.runs import read_manifest

if TYPE_CHECKING:
    import numpy as np

    from demure.data.dataset import Dataset

_TESTED = ("recall", "ndcg")


@dataclass(frozen=True)
class Judged:
    """What one run reached: ``metrics`` are means over the ``users`` with something to find in the split."""

    run: str
    split: str
    users: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Judgement:
    """One or more runs on the same split, and paired tests where there are several."""

    runs: list[Judged]
    comparison: Comparison | None = None
    per_user: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON of interface.md for one run; for several, a list of those and the tests between them."""
        from dataclasses import asdict

        if self.comparison is None:
            return asdict(self.runs[0])
        tests = {"test": self.comparison.test, "pairs": [asdict(pair) for pair in self.comparison.pairs]}
        return {"split": self.runs[0].split, "runs": [asdict(run) for run in self.runs], "comparison": tests}


def judge(
    runs: Sequence[Path],
    *,
    split: str = "test",
    ks: Sequence[int] = DEFAULT_KS,
    per_user: Path | None = None,
    device: str = "auto",
    listener: Listener = silent,
) -> Judgement:
    """Rank all items for each user with something in ``split``, without those of earlier splits, for every run.

    ``per_user`` is a Parquet file to write: run, user_id and every metric. Raises ``DemureError`` for an unknown split,
    one that holds nothing, the same run twice, and runs that were not made from the same interactions and split.
    """
    from demure.training.load import load_run

    if split not in EARLIER:
        raise DemureError(f"unknown split {split!r}", where="--split", remedy=f"use one of {', '.join(EARLIER)}")
    if per_user is not None and per_user.suffix != ".parquet":
        raise DemureError("metrics per user go to a Parquet file", where=per_user, remedy="end its name in .parquet")
    names = [str(run) for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DemureError("is given twice", where=twice, remedy="compare different runs")
    evaluations: dict[str, Evaluation] = {}
    user_ids: dict[str, np.ndarray] = {}
    first: tuple[str, Dataset] | None = None
    for path in runs:
        read_manifest(path)  # so that a wrong name does not cost the runs before it
    for name, path in zip(names, runs, strict=True):
        loaded = load_run(path, device=device)
        dataset = loaded.dataset
        first = first or (name, dataset)
        _refuse_other_data(first, name, dataset)
        relevant = dataset.histories(split)
        if not len(relevant.items):
            other = next((part for part in EARLIER if part != split and len(dataset.histories(part).items)), None)
            remedy = f"use --split {other}" if other else "prepare the dataset with a split"
            raise DemureError(f"there is nothing in the split {split!r}", where=dataset.path, remedy=remedy)
        seen = dataset.histories(*EARLIER[split])
        evaluations[name] = evaluate(loaded.scorer(split), relevant, seen, ks, dataset.n_items, listener=listener)
        user_ids[name] = dataset.user_ids
    if per_user is not None:
        _write(per_user, evaluations, user_ids)
    judged = [Judged(name, split, len(found.users), found.means()) for name, found in evaluations.items()]
    k = 20 if 20 in ks else max(ks)
    comparison = compare(evaluations, [f"{metric}@{k}" for metric in _TESTED]) if len(runs) > 1 else None
    return Judgement(judged, comparison, None if per_user is None else str(per_user))


def _refuse_other_data(first: tuple[str, Dataset], name: str, dataset: Dataset) -> None:
    reference, expected = first
    different = [part for part, value in expected.identity.items() if dataset.identity.get(part) != value]
    if different:
        raise DemureError(
            f"was made from other data than {reference} ({', '.join(different)} differ)",
            where=name,
            remedy="compare runs of the same dataset folder",
        )


def _write(out: Path, evaluations: dict[str, Evaluation], user_ids: dict[str, np.ndarray]) -> None:
    import pandas as pd

    frames = []
    for name, evaluation in evaluations.items():
        frame = evaluation.frame(user_ids[name])
        frame.insert(0, "run", name)
        frames.append(frame)
    with atomic_file(out) as part:
        pd.concat(frames, ignore_index=True).to_parquet(part, index=False)
