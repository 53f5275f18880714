"""The diagnosis of a whole run, or of one segment of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from demure.diagnosis.flagging import deviations, filter_items, flagged
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.segments import available_kinds, select_segment
from demure.diagnosis.table import DiagnosisTable
from demure.diagnosis.verdict import FLAG_MIN_INTERACTIONS, MIN_CHOICES, Verdict

_MAX_RANKED = 500_000


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
    ``mean_reliance`` over all users (the shares of choices; they sum to 1). ``short_histories``: how many of these
    users have fewer than ``MIN_CHOICES`` choices, and are too short to tell in segments and lists.
    ``segment_kinds``: the kinds of segments that the data has (``segments.available_kinds``).
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
    short_histories: int = 0
    segment_kinds: list[str] = field(default_factory=list)

    @property
    def explaining_pairs(self) -> pd.DataFrame:
        """The rows of ``agreement`` whose modalities both explain something."""
        names = self.agreement[["first", "second"]]
        return self.agreement[~names.isin(self.cannot_tell).any(axis=1)]


def overview(
    run: Path | str | DiagnosisReader,
    *,
    min_count: int = FLAG_MIN_INTERACTIONS,
    top: int | None = 10,
    segment: tuple[str, str] | None = None,
    where: Sequence[str] = (),
    sort: str | None = None,
) -> Overview:
    """Return the diagnosis of the whole run, or of the interactions of ``segment`` (kind, name). ``where`` and ``sort``
    (see ``filtering.filter_rows``) select among the flagged items, of which ``top`` are kept (None: all).

    Raises as ``DiagnosisReader.open``, ``select_segment`` and ``filter_rows``.
    """
    reader = DiagnosisReader.of(run)
    table = reader.table if segment is None else select_segment(reader, *segment)
    placebos = reader.placebos
    all_items = deviations(reader, table)
    low = flagged(all_items, min_count)
    low = low[~low["modality"].isin(placebos.cannot_tell)].reset_index(drop=True)
    flagged_items = filter_items(low, all_items, where, sort)
    users = np.unique(table.user)
    neither = float((~table.poi.any(1)).mean()) if len(table.user) else float("nan")
    modalities, placebo_column = verdict_shares(table), placebos.column()
    if segment is None and placebo_column is not None:
        modalities = modalities.assign(placebo=pd.Series(placebo_column, dtype=object))
    return Overview(
        summary=placebos.summary(neither) if segment is None else placebos.segment_summary(neither),
        run=str(reader.run),
        recipe=reader.manifest.recipe,
        dataset=str(reader.dataset),
        users=len(users),
        items=len(np.unique(table.item)),
        interactions=len(table.user),
        min_count=min_count,
        neither=neither,
        causes=placebos.causes if segment is None else None,
        cannot_tell=placebos.cannot_tell,
        modalities=modalities,
        reliance=reliance_table(reader, users),
        flagged=flagged_items.head(len(flagged_items) if top is None else top).reset_index(drop=True),
        agreement=agreement(table),
        flagged_total=len(flagged_items),
        segment=None if segment is None else "=".join(segment),
        short_histories=int((reader.table.lengths[users] < MIN_CHOICES).sum()),
        segment_kinds=available_kinds(reader),
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


def reliance_table(reader: DiagnosisReader, users: np.ndarray) -> pd.DataFrame:
    """Return the rows of ``Overview.reliance`` for ``users`` (codes)."""
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
