"""Diagnose the histories of new users, or fresh histories, with a trained run; nothing is trained again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.diagnosis.attribution import ChoiceExplanation, check_picture_out, explain_choice
from demure.diagnosis.listing import Listing, listing
from demure.diagnosis.reader import DiagnosisReader, nearest_ids
from demure.diagnosis.table import DiagnosisTable
from demure.diagnosis.training_verdicts import has_training_history, with_training_verdicts
from demure.diagnosis.user import UserView, user_view
from demure.errors import RunError
from demure.preparation.new_users import finding_notes, read_histories
from demure.progress import Listener, silent
from demure.runs.folder import DIAGNOSIS

if TYPE_CHECKING:
    from demure.preparation.problems import Findings
    from demure.runs.new_users import NewUserModel

_WITHOUT_RIVALS = (
    "this run was trained by an earlier version, which kept nothing of what else explains a choice: choices are "
    "compared with what was popular at the time alone, not with habits and hidden taste, so points of interest may be "
    "overestimated; train the run again to include them"
)


@dataclass(frozen=True)
class HistoryReader(DiagnosisReader):
    """The diagnosis of histories that training did not see, which the views read like that of a run.

    ``user_ids`` (U,) and ``histories``: what was diagnosed; ``tables``: name of a file of a run folder -> its columns;
    ``notes``: what is odd about the file or the run, in sentences.
    """

    file: str = ""
    user_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=object))
    histories: Histories = field(default_factory=lambda: Histories(np.zeros(1, np.int64), np.zeros(0, np.int64)))
    tables: dict[str, pa.Table] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def origin(self) -> Path | str:
        """The file."""
        return self.file

    def _read(self, name: str, columns: Sequence[str], equal: dict[str, str]) -> pa.Table:
        table = self.tables[name]
        for column, value in equal.items():
            table = table.filter(pc.equal(table[column], value))
        return table.select(list(columns))

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities, in the order of the run."""
        return list(self.manifest.modalities)

    @cached_property
    def table(self) -> DiagnosisTable:
        """The whole diagnosis. Raises ``RunError`` if it is empty."""
        if not self.tables[DIAGNOSIS].num_rows:
            raise RunError("no choice of the file is of an item of the dataset", where=self.file)
        return DiagnosisTable.from_arrow(self.tables[DIAGNOSIS])

    @property
    def table_times(self) -> np.ndarray | None:
        """Seconds since 1970 of every row of ``table`` (N,), or None where there are no timestamps."""
        return self.histories.times

    @property
    def new_histories(self) -> tuple[np.ndarray, Histories]:
        """The users and histories to recommend to."""
        return self.user_ids, self.histories

    def times(self, user_id: str) -> list[float | None]:
        """Return timestamps (seconds) of a user's choices in time order; empty without timestamps."""
        if self.histories.times is None:
            return []
        user = list(self.user_ids).index(user_id)
        own = self.histories.times[self.histories.indptr[user] : self.histories.indptr[user + 1]]
        return [float(second) for second in own]

    def unknown_id(self, kind: str, name: str) -> RunError:
        """Return the error for a ``kind`` (user or item) without any diagnosed choice."""
        ids = [str(user) for user in self.user_ids] if kind == "user" else list(self.item_rows)
        if name in set(ids):
            reason = "has no item of the dataset" if kind == "user" else "is in no history"
            return RunError(f"{kind} {name!r} {reason}, so it has no verdicts", where=self.file)
        near = nearest_ids(name, ids)
        remedy = f"nearest: {', '.join(near)}" if near else f"{kind} ids look like {', '.join(ids[:3])}"
        return RunError(f"no {kind} {name!r} in these histories", where=self.file, remedy=remedy)


def diagnose_histories(
    run: Path | str,
    file: Path | str,
    *,
    time_format: str | None = None,
    device: str = "auto",
    listener: Listener = silent,
) -> HistoryReader:
    """Diagnose the users of ``file``, interactions as :func:`demure.preparation.new_users.read_histories` reads them.

    Each choice is explained by the other choices of its user in the file, as in training: leave-one-out, beside what
    was popular at the time, what follows the choices before, and the hidden taste of the user's other choices. A user
    of the training whose history is still the same has the verdicts of the training. A run of an earlier version knows
    popularity alone; ``notes`` then says so. Raises as ``DiagnosisReader.open`` and ``read_histories``.
    """
    diagnoser = HistoryDiagnoser.open(run, device)
    reader, dataset = diagnoser.reader, diagnoser.dataset
    user_ids, histories, findings = read_histories(Path(file), dataset, time_format)
    diagnosed = diagnoser.diagnose(user_ids, histories, listener)
    return HistoryReader(
        reader.run,
        reader.manifest,
        reader.dataset,
        file=str(file),
        user_ids=user_ids,
        histories=histories,
        tables=diagnosed.tables,
        notes=history_notes(findings, user_ids, histories, dataset, diagnosed.same, diagnosed.lacks_rivals),
    )


class DiagnosedHistories(NamedTuple):
    """``tables``: name of a file of a run folder -> its columns; ``same`` (U,): the users whose verdicts are those of
    the training; ``lacks_rivals`` as of ``NewUserModel``."""

    tables: dict[str, pa.Table]
    same: np.ndarray
    lacks_rivals: bool


@dataclass(frozen=True)
class HistoryDiagnoser:
    """A run with its dataset and its model, to diagnose histories that training did not see."""

    reader: DiagnosisReader
    dataset: Dataset
    model: NewUserModel

    @classmethod
    def open(cls, run: Path | str, device: str) -> HistoryDiagnoser:
        """Open a run. Raises as ``DiagnosisReader.open``, and ``RunError`` if its model is damaged."""
        from demure.runs.new_users import load_new_user_model  # here, so that the views of a run do not need torch

        reader = DiagnosisReader.open(run)
        dataset = Dataset.load(reader.dataset)
        return cls(reader, dataset, load_new_user_model(reader.run, reader.manifest, dataset, device))

    def diagnose(self, user_ids: np.ndarray, histories: Histories, listener: Listener) -> DiagnosedHistories:
        """Diagnose the ``histories`` of users (U,)."""
        from demure.diagnosis.posterior import infer_posterior, tables

        denoiser = self.model.denoiser
        side = self.model.side_information(histories)
        posterior = infer_posterior(denoiser, histories, side, None, listener)
        inferred = dict(tables(denoiser, histories, posterior, user_ids, self.dataset.item_ids))
        same = has_training_history(user_ids, histories, self.dataset)
        replaced = with_training_verdicts(inferred, self.reader, user_ids, same) if same.any() else None
        if replaced is None:
            same[:] = False
        return DiagnosedHistories(inferred if replaced is None else replaced, same, self.model.lacks_rivals)


def history_notes(
    findings: Findings,
    user_ids: np.ndarray,
    histories: Histories,
    dataset: Dataset,
    same: np.ndarray,
    lacks_rivals: bool,
) -> list[str]:
    """Return what is odd about a file and its run; ``same`` and ``lacks_rivals`` as of ``DiagnosedHistories``."""
    rivals = [_WITHOUT_RIVALS] if lacks_rivals else []
    return [*finding_notes(findings), *rivals, *_notes(user_ids, histories, dataset, same)]


def _notes(user_ids: np.ndarray, histories: Histories, dataset: Dataset, same: np.ndarray) -> list[str]:
    """Return a line for users of whom nothing can be diagnosed, for those whose history is the ``same`` (U,) as in the
    training, and for others who are not new."""
    notes, total = [], len(user_ids)
    empty = int((histories.lengths == 0).sum())
    if empty:
        notes.append(f"{empty} of {total} users have no item that the dataset knows: they have no verdicts")
    if same.any():
        notes.append(
            f"{int(same.sum())} of {total} users have the history that the training had: their verdicts are those of "
            "the training"
        )
    trained = dataset.user_ids[dataset.histories("train").lengths > 0]
    n_trained = int((pd.Index(user_ids).isin(pd.Index(trained)) & ~same).sum())
    if n_trained:
        notes.append(
            f"{n_trained} of {total} users were part of the training with another history, and what the model learned "
            "from them is evidence for themselves here; `demure inspect RUN --user ID` shows verdicts without that"
        )
    return notes


def history_view(
    run: Path | str,
    file: Path | str,
    *,
    user: str | None = None,
    recommend: int = 0,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int | None = None,
    time_format: str | None = None,
    device: str = "auto",
    listener: Listener = silent,
) -> Listing | UserView:
    """Return what `demure inspect RUN --history FILE` shows: the users of ``file``, or the choices of one ``user``.

    ``recommend``, ``where``, ``sort`` and ``top`` as of ``listing`` and ``user_view``. Raises as
    :func:`diagnose_histories`.
    """
    reader = diagnose_histories(run, file, time_format=time_format, device=device, listener=listener)
    if user is not None:
        view = user_view(reader, user, recommend=recommend, where=where, sort=sort, top=top)
        return replace(view, notes=[*reader.notes, *view.notes], file=str(file))
    users = listing(reader, "users", where=where, sort=sort, top=top)
    return replace(users, notes=reader.notes)


def explain_choice_of(
    run: Path | str,
    file: Path | str | None,
    user_id: str,
    item_id: str,
    *,
    out: Path | str | None = None,
    time_format: str | None = None,
    device: str = "auto",
    listener: Listener = silent,
) -> ChoiceExplanation:
    """Return what mattered for a choice of the histories in ``file``, or of the training where it is None.

    Arguments and errors as of ``demure.diagnosis.attribution.explain_choice`` and :func:`diagnose_histories`.
    """
    check_picture_out(out)
    if file is None:
        return explain_choice(run, user_id, item_id, out=out, device=device, listener=listener)
    reader = diagnose_histories(run, file, time_format=time_format, device=device, listener=listener)
    explained = explain_choice(reader, user_id, item_id, out=out, device=device, listener=listener)
    return replace(explained, notes=[*reader.notes, *explained.notes])
