"""One modality of a run: its verdicts, by parts of the data, and its items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from demure.diagnosis.filtering import modality_column
from demure.diagnosis.flagging import deviations, filter_items
from demure.diagnosis.overview import reliance_table, verdict_shares
from demure.diagnosis.placebo import PlaceboResult
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.segments import COUNT_COLUMNS, membership, segment_table
from demure.errors import DemureError

_BINS = 10
_SEGMENT_KINDS = ("category", "history", "popularity", "time")


@dataclass(frozen=True)
class ModalityView:
    """One modality. ``shares``: its row of ``Overview.modalities``; ``users`` rely on it most, of ``users_total``;
    ``histogram``: interactions by probability of a point of interest, in ten equal bins; ``by``: kind of segment ->
    table with ``segment``, ``interactions`` and the share ``poi`` of the choices whose item has the modality;
    ``items``: its rows of ``flagging.deviations``, furthest below what is typical first, of ``items_total``.
    ``summary``: the result of its placebo, in at most one sentence; ``explains`` (a key of the JSON): whether its
    features explain more than permuted features."""

    run: str
    modality: str
    shares: dict[str, float]
    users: int
    users_total: int
    mean_reliance: float
    histogram: list[int]
    by: dict[str, pd.DataFrame]
    items: pd.DataFrame
    items_total: int
    summary: list[str] = field(default_factory=list)
    placebo: PlaceboResult | None = None
    explains: bool = True


def modality_view(
    run: Path | str | DiagnosisReader,
    modality: str,
    *,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int | None = 10,
) -> ModalityView:
    """Return one modality by parts of the data, and its items; ``where``, ``sort`` and ``top`` select among the items.

    Raises ``DemureError`` for a modality that the run does not have.
    """
    reader = DiagnosisReader.of(run)
    table = reader.table
    if modality not in table.modalities:
        raise DemureError(
            f"no modality {modality!r} in this run",
            where=reader.run,
            remedy=f"there are: {', '.join(table.modalities)}",
        )
    m = table.modalities.index(modality)
    by = {}
    for kind in _SEGMENT_KINDS:
        try:
            by_segment = segment_table(table, membership(reader, kind))
        except DemureError:  # the data has no categories, or no timestamps
            continue
        poi = by_segment[modality_column(modality, COUNT_COLUMNS)]
        by[kind] = by_segment[["segment", "interactions"]].assign(poi=poi)
    histogram, _ = np.histogram(table.probability[table.present[:, m], m], np.linspace(0, 1, _BINS + 1))
    all_items = deviations(reader)
    items = all_items[all_items["modality"] == modality].reset_index(drop=True)
    own = reader.placebos.of(modality)
    shares = verdict_shares(table).set_index("modality").to_dict("index")[modality]
    reliance = reliance_table(reader, np.arange(len(table.user_ids))).set_index("modality").to_dict("index")[modality]
    return ModalityView(
        run=str(reader.run),
        modality=modality,
        shares={str(name): float(value) for name, value in shares.items()},
        users=int(reliance["users"]),
        users_total=len(table.user_ids),
        mean_reliance=float(reliance["mean_reliance"]),
        histogram=[int(n) for n in histogram],
        by=by,
        items=filter_items(items, all_items, where, sort, top),
        items_total=len(items),
        summary=[sentence] if (sentence := own.sentence()) is not None else [],
        placebo=own.placebo,
        explains=own.informative,
    )
