"""`demure recommend`: write the best new items of many users, block by block, into one file."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from demure.cluster.executor import LOCAL, Executor
from demure.data.titles import item_titles
from demure.errors import DemureError
from demure.files import atomic_file
from demure.preparation.new_users import finding_notes, read_histories
from demure.progress import Listener, Progress, silent
from demure.runs.fit import RunTask, fit_for_workers
from demure.runs.manifest import manifest_files

if TYPE_CHECKING:
    import pandas as pd

    from demure.data.histories import Histories
    from demure.preparation.problems import Findings
    from demure.runs.load import LoadedRun
    from demure.runs.new_items import ExtendedRun

COLUMNS = ("user_id", "rank", "item_id", "score", "because", "interest")
_USERS_AT_ONCE = 1024
_PREVIEW = 10
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecommendReport:
    """The file ``written``: ``rows`` for ``users`` users.

    ``preview``: the first rows of the first user, with titles; ``notes``: problems in a file of histories.
    """

    run: str
    written: str
    users: int
    rows: int
    preview: pd.DataFrame
    notes: list[str] = field(default_factory=list)


class UserBlock(NamedTuple):
    """Users to recommend to at a time, and their ``histories`` where these are not the dataset's."""

    user_ids: list[str]
    histories: Histories | None


@dataclass(frozen=True)
class RecommendTask(RunTask[UserBlock, "pd.DataFrame"]):
    """Recommends to blocks of users; the fields are arguments of :func:`recommend`."""

    run: Path
    items: Path | None
    images: Path | None
    features: Mapping[str, Path] | None
    only_new: bool
    k: int
    device: str

    def shared_files(self) -> list[Path]:
        return [*manifest_files(self.run), *([] if self.items is None else [self.items])]

    @cached_property
    def loaded(self) -> LoadedRun:
        """The run, with the new items where there are some."""
        return self.open_run(self.run, self.device) if self.extended is None else self.extended.loaded

    @cached_property
    def extended(self) -> ExtendedRun | None:
        """The run with the new items; None without a file of new items."""
        if self.items is None:
            return None
        from demure.runs.new_items import with_new_items

        loaded = self.open_run(self.run, self.device)
        return with_new_items(loaded, self.items, self.images, self.features, self.device)

    def work(self, part: UserBlock, listener: Listener) -> pd.DataFrame:
        """Return the rows of the file for a block of users."""
        if part.histories is None:
            frame = self.loaded.recommend(part.user_ids, self.k, only_new=self.only_new)
        else:
            frame = self.loaded.recommend_to(part.user_ids, part.histories, self.k, only_new=self.only_new)
        return frame[list(COLUMNS)]


def recommend(
    run: Path,
    out: Path,
    *,
    users: Sequence[str] | None = None,
    history: Path | None = None,
    time_format: str | None = None,
    items: Path | None = None,
    images: Path | None = None,
    features: Mapping[str, Path] | None = None,
    only_new: bool = False,
    k: int = 20,
    device: str = "auto",
    listener: Listener = silent,
    executor: Executor = LOCAL,
) -> RecommendReport:
    """Write the ``k`` best items that each user has not had: user_id, rank (1 = best), item_id, score, because, and the
    name of the interest to which the item belongs in that modality.

    ``users``: ids; None stands for all users of the dataset, in its order. With ``history``, a file of interactions,
    the users are those of the file, in the dataset or new, and its rows are their whole history, with times in the
    notation ``time_format``; nothing is trained again. ``items``: a file of items that came after the training, with
    their ``images`` and ``features`` as in ``demure.preparation.new_items``; they are scored by their content among
    the others, with ``only_new`` alone. ``executor``: where the blocks of users are computed. Raises ``DemureError``
    for a user that the dataset does not have, for a file without usable rows, and for an ``out`` that is not a Parquet
    file.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from demure.runs.load import load_run_dataset

    if out.suffix != ".parquet":
        raise DemureError("recommendations go to a Parquet file", where=out, remedy="end its name in .parquet")
    task = RecommendTask(run, items, images, features, only_new, k, device)
    if not executor.is_local:
        manifest, dataset = load_run_dataset(run)
        task = replace(_for_workers(task), fit=fit_for_workers(run, manifest, dataset, executor))
    if items is not None:
        listener(Progress("encode the new items", 0))
    # On a cluster the model is opened by the workers alone, except for what the new items lack.
    opened = task if executor.is_local else replace(task, device="auto")
    extended = opened.extended
    if executor.is_local:
        dataset = opened.loaded.dataset
    notes: list[str] = []
    titles = item_titles(dataset.items)
    if extended is not None:
        notes = extended.notes
        titles = {**titles, **item_titles(extended.frame)}
    if history is None:
        user_ids = list(dict.fromkeys(users)) if users is not None else [str(user) for user in dataset.user_ids]
    else:
        file_users, histories, findings = read_histories(history, dataset, time_format)
        user_ids, notes = [str(user) for user in file_users], [*notes, *_notes(findings, histories)]
    schema = pa.schema(
        [
            ("user_id", pa.string()),
            ("rank", pa.int64()),
            ("item_id", pa.string()),
            ("score", pa.float64()),
            ("because", pa.string()),
            ("interest", pa.string()),
        ]
    )
    starts = range(0, len(user_ids), _USERS_AT_ONCE)
    blocks = (
        UserBlock(
            user_ids[start : start + _USERS_AT_ONCE],
            None if history is None else histories.slice_users(start, min(start + _USERS_AT_ONCE, len(user_ids))),
        )
        for start in starts
    )
    rows, preview = 0, pd.DataFrame(columns=list(COLUMNS))
    with atomic_file(out) as part, pq.ParquetWriter(part, schema) as writer:
        for start, frame in zip(starts, executor.map(task, blocks, listener), strict=True):
            writer.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))
            rows += len(frame)
            if not start:
                preview = frame[frame["user_id"] == user_ids[0]].head(_PREVIEW)
            listener(Progress("recommend", min(start + _USERS_AT_ONCE, len(user_ids)), len(user_ids)))
    logger.info("recommended %d items to %d users in %s", rows, len(user_ids), out)
    if titles:
        preview = preview.assign(title=[titles.get(item, "") for item in preview["item_id"]])
    return RecommendReport(str(run), str(out), len(user_ids), rows, preview, notes)


def _for_workers(task: RecommendTask) -> RecommendTask:
    """Return the task with absolute paths: a worker has another working directory."""

    def absolute(path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.abspath(path))

    features = {name: Path(os.path.abspath(path)) for name, path in (task.features or {}).items()}
    return replace(
        task,
        run=Path(os.path.abspath(task.run)),
        items=absolute(task.items),
        images=absolute(task.images),
        features=features or None,
    )


def _notes(findings: Findings, histories: Histories) -> list[str]:
    """Return a line for each kind of problem in a file of histories."""
    notes = finding_notes(findings)
    empty = int((histories.lengths == 0).sum())
    if empty:
        notes.append(f"{empty} users have no item that the dataset knows: they get what is popular")
    return notes
