"""Lists of all items and all users of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from demure.diagnosis.filtering import filter_rows, modality_column
from demure.diagnosis.flagging import deviations, filter_items
from demure.diagnosis.interests.view import profiles
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.segments import dominant_cause_of_users
from demure.errors import DemureError


@dataclass(frozen=True)
class Listing:
    """A list of ``what`` (items or users): the ``rows`` shown, of ``matched`` that fulfil the conditions, of ``total``.
    ``cannot_tell``: modalities whose features explain nothing. ``notes``: what is odd about them, in sentences."""

    run: str
    what: str
    total: int
    matched: int
    modalities: list[str] = field(default_factory=list)
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    cannot_tell: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def listing(
    run: Path | str | DiagnosisReader,
    kind: str,
    *,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int | None = 10,
) -> Listing:
    """Return all items (rows of ``flagging.deviations``) or all users (rows of ``users_table``) that fulfil ``where``,
    sorted, at most ``top`` (None: all)."""
    reader = DiagnosisReader.of(run)
    if kind == "items":
        frame = deviations(reader)
        matched = filter_items(frame, frame, where, sort)
    elif kind == "users":
        frame = users_table(reader)
        matched = filter_rows(frame, where, sort)
    else:
        raise DemureError(f"cannot list {kind!r}", where="--list", remedy="list items or users")
    return Listing(
        run=str(reader.run),
        what=kind,
        total=len(frame),
        matched=len(matched),
        modalities=reader.table.modalities,
        rows=matched if top is None else matched.head(top),
        cannot_tell=reader.placebos.cannot_tell,
    )


def users_table(reader: DiagnosisReader) -> pd.DataFrame:
    """Return a row for every diagnosed user: ``user_id``, ``interactions``, ``relies_on`` most, and the share of each
    modality and of ``none`` in the user's choices; where the run has interests, ``interests``: those that explain most
    of the choices, in words."""
    table = reader.table
    names, code = dominant_cause_of_users(reader)
    frame = pd.DataFrame(
        {"user_id": table.user_ids, "interactions": table.lengths, "relies_on": np.array(names, dtype=object)[code]}
    )
    shares = {
        modality_column(name, frame.columns): reader.reliance_shares[:, k]
        for k, name in enumerate(reader.reliance_names)
    }
    frame = frame.assign(**shares)
    if reader.interests is not None:
        frame["interests"] = profiles(reader)
    return frame
