"""The diagnosis of a whole run or of one segment, one modality of it, and lists of all items and users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from demure.diagnosis.filtering import filter_rows, modality_column
from demure.diagnosis.flagging import deviations, flagged
from demure.diagnosis.placebo import Placebo
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.segments import COUNT_COLUMNS, main_reliance, membership, segment_table, select_segment
from demure.diagnosis.table import DiagnosisTable
from demure.diagnosis.verdict import FLAG_MIN_INTERACTIONS, Verdict
from demure.errors import DemureError

_BINS = 10
_MAX_RANKED = 500_000
_SEGMENT_KINDS = ("category", "history", "popularity", "time")


@dataclass(frozen=True)
class Overview:
    """The diagnosis of a whole run, or of one ``segment``. The attributes are the keys of `demure inspect --json`.

    ``summary``: results of the placebo and of the verdicts, in sentences. ``neither``: share of the choices with no
    point of interest. ``causes``: mean posterior share of each cause, content and rivals (see ``Placebos``); None for a
    segment and for an older run. ``cannot_tell``: modalities whose features explain nothing.
    ``modalities``: one row each; diagnosed ``interactions``, shares ``poi``, ``noise``, ``missing`` (they sum to 1) and
    ``mean_probability`` over interactions where the modality is present; except for a segment or an older run,
    ``placebo``: a dictionary with ``mean_probability``, ``excess``, ``low`` and ``high``.
    ``reliance``: per modality, and ``none``, how many ``users`` rely on it most, their ``share``, and the
    ``mean_reliance`` over all users (the shares of choices; they sum to 1).
    ``agreement``: per pair of modalities, over the ``interactions`` whose item has both, the shares for which ``both``
    were points of interest, ``only_first``, ``only_second`` or ``neither`` (sum 1), and the rank ``correlation``
    of their evidence (over a regular sample where there are more than half a million interactions).
    ``flagged``: items whose modality lies furthest below what is typical, with at least ``min_count`` interactions,
    without the modalities that explain nothing: the columns of ``flagging.deviations``. ``flagged_total``: how many
    items were flagged.
    """

    summary: list[str]
    run: str
    recipe: str
    dataset: str
    users: int
    items: int
    interactions: int
    min_count: int
    neither: float
    causes: dict[str, float] | None
    cannot_tell: list[str]
    modalities: pd.DataFrame
    reliance: pd.DataFrame
    flagged: pd.DataFrame
    agreement: pd.DataFrame
    flagged_total: int
    segment: str | None = None

    @property
    def explaining_pairs(self) -> pd.DataFrame:
        """The rows of ``agreement`` whose modalities both explain something."""
        names = self.agreement[["first", "second"]]
        return self.agreement[~names.isin(self.cannot_tell).any(axis=1)]


@dataclass(frozen=True)
class ModalityView:
    """One modality. ``shares``: its row of ``Overview.modalities``; ``users`` rely on it most, of ``users_total``;
    ``histogram``: interactions by probability of a point of interest, in ten equal bins; ``by``: kind of segment ->
    table with ``segment``, ``interactions`` and the share ``poi`` of the choices whose item has the modality;
    ``items``: its rows of ``flagging.deviations``, furthest below what is typical first, of ``items_total``.
    ``summary``: the result of its placebo, in at most one sentence; ``explains``: whether its features explain more
    than shuffled ones."""

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
    placebo: Placebo | None = None
    explains: bool = True


@dataclass(frozen=True)
class Listing:
    """A list of ``what`` (items or users): the ``rows`` shown, of ``matched`` that fulfil the conditions, of ``total``.
    ``cannot_tell``: modalities whose features explain nothing."""

    run: str
    what: str
    total: int
    matched: int
    modalities: list[str] = field(default_factory=list)
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    cannot_tell: list[str] = field(default_factory=list)


def overview(
    run: Path | str | DiagnosisReader,
    *,
    min_count: int = FLAG_MIN_INTERACTIONS,
    top: int = 10,
    segment: tuple[str, str] | None = None,
    where: Sequence[str] = (),
    sort: str | None = None,
) -> Overview:
    """Return the diagnosis of the whole run, or of the interactions of ``segment`` (kind, name). ``where`` and ``sort``
    (see ``filtering.filter_rows``) select among the flagged items, of which ``top`` are kept.

    Raises as ``DiagnosisReader.open``, ``select_segment`` and ``filter_rows``.
    """
    reader = DiagnosisReader.of(run)
    table = reader.table if segment is None else select_segment(reader, *segment)
    placebos = reader.placebos
    low = flagged(deviations(reader, table), min_count)
    flagged_items = filter_rows(low[~low["modality"].isin(placebos.cannot_tell)].reset_index(drop=True), where, sort)
    neither = float((~table.poi.any(1)).mean()) if len(table.user) else float("nan")
    modalities, placebo_column = verdict_shares(table), placebos.column()
    if segment is None and placebo_column is not None:
        modalities = modalities.assign(placebo=pd.Series(placebo_column, dtype=object))
    return Overview(
        summary=placebos.summary(neither) if segment is None else placebos.segment_summary(neither),
        run=str(reader.run),
        recipe=reader.manifest.recipe,
        dataset=str(reader.dataset),
        users=len(np.unique(table.user)),
        items=len(np.unique(table.item)),
        interactions=len(table.user),
        min_count=min_count,
        neither=neither,
        causes=placebos.causes if segment is None else None,
        cannot_tell=placebos.cannot_tell,
        modalities=modalities,
        reliance=_reliance(reader, np.unique(table.user)),
        flagged=flagged_items.head(top).reset_index(drop=True),
        agreement=agreement(table),
        flagged_total=len(flagged_items),
        segment=None if segment is None else "=".join(segment),
    )


def verdict_shares(table: DiagnosisTable) -> pd.DataFrame:
    """Return the rows of ``Overview.modalities``."""
    n = max(len(table.user), 1)
    present = table.present.sum(0)
    poi = table.poi.sum(0)
    total = np.where(table.present, table.probability, 0.0).sum(0, dtype=np.float64)
    return pd.DataFrame(
        {
            "modality": table.modalities,
            "interactions": len(table.user),
            Verdict.POI.value: poi / n,
            Verdict.NOISE.value: (present - poi) / n,
            Verdict.MISSING.value: 1 - present / n,
            "mean_probability": np.divide(total, present, out=np.full(len(present), np.nan), where=present > 0),
        }
    )


def _reliance(reader: DiagnosisReader, users: np.ndarray) -> pd.DataFrame:
    shares = reader.reliance_shares[users]
    main_users = np.bincount(shares.argmax(1), minlength=shares.shape[1])
    return pd.DataFrame(
        {
            "modality": reader.reliance_names,
            "users": main_users,
            "share": main_users / max(len(users), 1),
            "mean_reliance": shares.mean(0),
        }
    )


def agreement(table: DiagnosisTable) -> pd.DataFrame:
    """Return the rows of ``Overview.agreement``."""
    from scipy.stats import spearmanr

    rows = []
    for a, b in combinations(range(len(table.modalities)), 2):
        both_present = table.present[:, a] & table.present[:, b]
        n = int(both_present.sum())
        first, second = table.poi[both_present, a], table.poi[both_present, b]
        step = max(1, -(-n // _MAX_RANKED))
        first_evidence = table.evidence[both_present, a][::step]
        second_evidence = table.evidence[both_present, b][::step]
        varied = n > 2 and np.ptp(first_evidence) > 0 and np.ptp(second_evidence) > 0
        rows.append(
            {
                "first": table.modalities[a],
                "second": table.modalities[b],
                "interactions": n,
                "both": float((first & second).mean()) if n else float("nan"),
                "only_first": float((first & ~second).mean()) if n else float("nan"),
                "only_second": float((~first & second).mean()) if n else float("nan"),
                "neither": float((~first & ~second).mean()) if n else float("nan"),
                "correlation": float(spearmanr(first_evidence, second_evidence).statistic) if varied else float("nan"),
            }
        )
    names = ["first", "second", "interactions", "both", "only_first", "only_second", "neither", "correlation"]
    return pd.DataFrame(rows, columns=names)


def modality_view(
    run: Path | str | DiagnosisReader,
    modality: str,
    *,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int = 10,
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
    items = deviations(reader)
    items = items[items["modality"] == modality].reset_index(drop=True)
    own = reader.placebos.of(modality)
    shares = verdict_shares(table).set_index("modality").to_dict("index")[modality]
    reliance = _reliance(reader, np.arange(len(table.user_ids))).set_index("modality").to_dict("index")[modality]
    return ModalityView(
        run=str(reader.run),
        modality=modality,
        shares={str(name): float(value) for name, value in shares.items()},
        users=int(reliance["users"]),
        users_total=len(table.user_ids),
        mean_reliance=float(reliance["mean_reliance"]),
        histogram=[int(n) for n in histogram],
        by=by,
        items=filter_rows(items, where, sort, top),
        items_total=len(items),
        summary=[sentence] if (sentence := own.sentence()) is not None else [],
        placebo=own.placebo,
        explains=own.explains,
    )


def listing(
    run: Path | str | DiagnosisReader,
    kind: str,
    *,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int = 10,
) -> Listing:
    """Return all items (rows of ``flagging.deviations``) or all users (rows of ``users_table``) that fulfil ``where``,
    sorted, at most ``top``."""
    reader = DiagnosisReader.of(run)
    if kind == "items":
        frame = deviations(reader)
    elif kind == "users":
        frame = users_table(reader)
    else:
        raise DemureError(f"cannot list {kind!r}", where="--list", remedy="list items or users")
    matched = filter_rows(frame, where, sort)
    return Listing(
        run=str(reader.run),
        what=kind,
        total=len(frame),
        matched=len(matched),
        modalities=reader.table.modalities,
        rows=matched.head(top),
        cannot_tell=reader.placebos.cannot_tell,
    )


def users_table(reader: DiagnosisReader) -> pd.DataFrame:
    """Return a row for every diagnosed user: ``user_id``, ``interactions``, ``relies_on`` most, and the share of each
    modality and of ``none`` in the user's choices."""
    table = reader.table
    names, code = main_reliance(reader)
    frame = pd.DataFrame(
        {"user_id": table.user_ids, "interactions": table.lengths, "relies_on": np.array(names, dtype=object)[code]}
    )
    shares = {
        modality_column(name, frame.columns): reader.reliance_shares[:, k]
        for k, name in enumerate(reader.reliance_names)
    }
    return frame.assign(**shares)
