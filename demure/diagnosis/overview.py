"""A run's diagnosis at large, and one modality of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from demure.diagnosis.filtering import column, pick
from demure.diagnosis.flagging import flagged, standing
from demure.diagnosis.placebo import Placebo
from demure.diagnosis.reader import DiagnosisSource
from demure.diagnosis.segments import members, of_segment, summed
from demure.diagnosis.table import Judged
from demure.errors import DemureError

_BINS = 10
_RANKED = 500_000
_BY = ("category", "history", "popularity", "time")


@dataclass(frozen=True)
class Overview:
    """A run's diagnosis at large, or that of one ``segment``.

    ``summary``: what the placebo and the verdicts come to, in sentences. ``neither``: share of the choices with no
    point of interest. ``causes``: mean posterior share of each cause, content and rivals (see ``Placebos``); None for a
    segment and for an older run. ``cannot_tell``: modalities whose features explain nothing.
    ``modalities``: one row each; ``interactions`` judged, shares ``poi``, ``noise``, ``missing`` (they sum to 1) and
    ``mean_probability`` over interactions where the modality is present; unless this is a segment or an older run,
    ``placebo``: a dictionary with ``mean_probability``, ``excess``, ``low`` and ``high``.
    ``reliance``: per modality, and ``none``, how many ``users`` rely on it most, their ``share``, and the
    ``mean_reliance`` over all users (the shares of choices; they sum to 1).
    ``agreement``: per pair of modalities, over the ``interactions`` whose item has both, the shares for which ``both``
    were points of interest, ``only_first``, ``only_second`` or ``neither`` (sum 1), and the rank ``correlation``
    of their evidence (over evenly chosen ones where there are more than half a million).
    ``flagged``: items whose modality lies furthest below what is typical, of those with at least ``min_count`` judged
    interactions and of the modalities that explain something: the columns of ``standing``. ``flagged_total``: how many
    there are.
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
    table with ``segment``, ``interactions`` and the share ``poi`` where it is there; ``items``: its rows of
    ``standing``, those furthest below what is typical first, of ``items_total``. ``summary``: what its placebo comes
    to, in at most one sentence; ``explains``: whether its features explain more than shuffled ones."""

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
    """``rows`` of all ``total`` ``what`` (items or users); ``matched`` fulfil the conditions. ``cannot_tell``:
    modalities whose features explain nothing."""

    run: str
    what: str
    total: int
    matched: int
    modalities: list[str] = field(default_factory=list)
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    cannot_tell: list[str] = field(default_factory=list)


def overview(
    run: Path | str | DiagnosisSource,
    *,
    min_count: int = 10,
    top: int = 10,
    segment: tuple[str, str] | None = None,
    where: Sequence[str] = (),
    sort: str | None = None,
) -> Overview:
    """The catalogue at large, or the interactions of ``segment`` (kind, name). ``where`` and ``sort`` (see
    ``listing.pick``) choose among the flagged items, of which ``top`` are kept.

    Raises as ``DiagnosisSource.open``, ``of_segment`` and ``pick``.
    """
    source = DiagnosisSource.of(run)
    judged = source.judged if segment is None else of_segment(source, *segment)
    placebos = source.placebos
    low = flagged(standing(source, judged), min_count)
    chosen = pick(low[~low["modality"].isin(placebos.cannot_tell)].reset_index(drop=True), where, sort)
    neither = float((~judged.poi.any(1)).mean()) if len(judged.user) else float("nan")
    modalities, column = counts(judged), placebos.column()
    if segment is None and column is not None:
        modalities = modalities.assign(placebo=pd.Series(column, dtype=object))
    return Overview(
        summary=placebos.summary(neither) if segment is None else placebos.of_part(neither),
        run=str(source.run),
        recipe=str(source.manifest.get("recipe", "")),
        dataset=str(source.dataset),
        users=len(np.unique(judged.user)),
        items=len(np.unique(judged.item)),
        interactions=len(judged.user),
        min_count=min_count,
        neither=neither,
        causes=placebos.causes if segment is None else None,
        cannot_tell=placebos.cannot_tell,
        modalities=modalities,
        reliance=_reliance(source, np.unique(judged.user)),
        flagged=chosen.head(top).reset_index(drop=True),
        agreement=agreement(judged),
        flagged_total=len(chosen),
        segment=None if segment is None else "=".join(segment),
    )


def counts(judged: Judged) -> pd.DataFrame:
    """The rows of ``Overview.modalities``."""
    n = max(len(judged.user), 1)
    there = judged.present.sum(0)
    poi = judged.poi.sum(0)
    total = np.where(judged.present, judged.probability, 0.0).sum(0, dtype=np.float64)
    return pd.DataFrame(
        {
            "modality": judged.modalities,
            "interactions": len(judged.user),
            "poi": poi / n,
            "noise": (there - poi) / n,
            "missing": 1 - there / n,
            "mean_probability": np.divide(total, there, out=np.full(len(there), np.nan), where=there > 0),
        }
    )


def _reliance(source: DiagnosisSource, users: np.ndarray) -> pd.DataFrame:
    shares = source.reliance_of_users[users]
    most = np.bincount(shares.argmax(1), minlength=shares.shape[1])
    return pd.DataFrame(
        {
            "modality": source.reliance_columns,
            "users": most,
            "share": most / max(len(users), 1),
            "mean_reliance": shares.mean(0),
        }
    )


def agreement(judged: Judged) -> pd.DataFrame:
    """The rows of ``Overview.agreement``."""
    from scipy.stats import spearmanr

    rows = []
    for a, b in combinations(range(len(judged.modalities)), 2):
        there = judged.present[:, a] & judged.present[:, b]
        n = int(there.sum())
        first, second = judged.poi[there, a], judged.poi[there, b]
        e, f = judged.evidence[there, a], judged.evidence[there, b]
        every = max(1, -(-n // _RANKED))
        e, f = e[::every], f[::every]
        varied = n > 2 and np.ptp(e) > 0 and np.ptp(f) > 0
        rows.append(
            {
                "first": judged.modalities[a],
                "second": judged.modalities[b],
                "interactions": n,
                "both": float((first & second).mean()) if n else float("nan"),
                "only_first": float((first & ~second).mean()) if n else float("nan"),
                "only_second": float((~first & second).mean()) if n else float("nan"),
                "neither": float((~first & ~second).mean()) if n else float("nan"),
                "correlation": float(spearmanr(e, f).statistic) if varied else float("nan"),
            }
        )
    names = ["first", "second", "interactions", "both", "only_first", "only_second", "neither", "correlation"]
    return pd.DataFrame(rows, columns=names)


def modality_view(
    run: Path | str | DiagnosisSource,
    modality: str,
    *,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int = 10,
) -> ModalityView:
    """One modality, by parts of the data, and its items. Raises ``DemureError`` for a modality that was not judged."""
    source = DiagnosisSource.of(run)
    judged = source.judged
    if modality not in judged.modalities:
        raise DemureError(
            f"no modality {modality!r} in this run",
            where=source.run,
            remedy=f"there are: {', '.join(judged.modalities)}",
        )
    m = judged.modalities.index(modality)
    by = {}
    for kind in _BY:
        try:
            table = summed(judged, members(source, kind))
        except DemureError:  # the data has no categories, or no time
            continue
        shown = table[["segment", "interactions"]]
        by[kind] = shown.assign(poi=table[column(modality, table.columns[:4])])
    there = judged.present[:, m]
    histogram, _ = np.histogram(judged.probability[there, m], np.linspace(0, 1, _BINS + 1))
    items = standing(source)
    items = items[items["modality"] == modality].reset_index(drop=True)
    own = source.placebos.of(modality)
    shares = counts(judged).set_index("modality").to_dict("index")[modality]
    reliance = _reliance(source, np.arange(len(judged.user_ids))).set_index("modality").to_dict("index")[modality]
    return ModalityView(
        run=str(source.run),
        modality=modality,
        shares={str(name): float(value) for name, value in shares.items()},
        users=int(reliance["users"]),
        users_total=len(judged.user_ids),
        mean_reliance=float(reliance["mean_reliance"]),
        histogram=[int(n) for n in histogram],
        by=by,
        items=pick(items, where, sort, top),
        items_total=len(items),
        summary=[sentence] if (sentence := own.sentence()) is not None else [],
        placebo=own.placebo,
        explains=own.explains,
    )


def listing(
    run: Path | str | DiagnosisSource,
    what: str,
    *,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int = 10,
) -> Listing:
    """All items (rows of ``standing``) or all users (rows of ``users_table``), those that fulfil ``where``, sorted, at
    most ``top``."""
    source = DiagnosisSource.of(run)
    if what == "items":
        frame = standing(source)
    elif what == "users":
        frame = users_table(source)
    else:
        raise DemureError(f"cannot list {what!r}", where="--list", remedy="list items or users")
    chosen = pick(frame, where, sort)
    modalities, cannot_tell = source.judged.modalities, source.placebos.cannot_tell
    return Listing(str(source.run), what, len(frame), len(chosen), modalities, chosen.head(top), cannot_tell)


def users_table(source: DiagnosisSource) -> pd.DataFrame:
    """Every judged user: ``user_id``, ``interactions``, ``relies_on`` most, and the share of each modality and of
    ``none`` in the user's choices."""
    from demure.diagnosis.segments import main_reliance

    judged = source.judged
    names, code = main_reliance(source)
    table = pd.DataFrame(
        {"user_id": judged.user_ids, "interactions": judged.lengths, "relies_on": np.array(names, dtype=object)[code]}
    )
    shares = {column(n, table.columns): source.reliance_of_users[:, k] for k, n in enumerate(source.reliance_columns)}
    return table.assign(**shares)
