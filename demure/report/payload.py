"""Users and items as the page's script reads them, whether they stand in the page or are served one at a time.

A user is ``[id, interactions, [reliance in per cent, per modality and none], drifted]`` with a body
``[[lowest and highest per cent of each reliance], drift or null, lines]``; a drift is ``[modality, choice, day, before,
after, p]``; a line ``[item, day or null, judged per modality]``, judged ``[verdict, per cent, evidence in tenths of
nats, ...items that speak for it]``. An item is a place in a list of ``[id, title, text, picture, category, choices,
standing per modality or null]``, a standing ``[noise in per cent, choices, evidence, typical, below, clearly]`` with
the three numbers in tenths. Days are since 1970.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from demure.diagnosis.drift import drift
from demure.diagnosis.flagging import standing
from demure.diagnosis.reader import DiagnosisSource
from demure.diagnosis.similar_items import Comparison, comparisons
from demure.diagnosis.supports import supports
from demure.diagnosis.uncertainty import share_intervals
from demure.errors import RunError

SECONDS_PER_DAY = 86_400
POI, NOISE, MISSING = range(3)  # places in VERDICTS
_SNIPPET = 160


class Registry:
    """Items in the order in which they were first named; an item is its place."""

    def __init__(self) -> None:
        self._place: dict[int, int] = {}

    def place(self, code: int) -> int:
        """Of an item's code in the diagnosis."""
        return self._place.setdefault(int(code), len(self._place))

    @property
    def codes(self) -> list[int]:
        """The codes named so far."""
        return list(self._place)


class Gatherer:
    """A run's tables, each read once, as the page wants them."""

    def __init__(self, source: DiagnosisSource) -> None:
        self.source = source
        self.judged = source.judged
        self.times = source.judged_times

    def user(self, code: int, *, drifted: bool | None = None) -> list[Any]:
        """The head of a user."""
        shares = self.source.reliance_of_users[code]
        return [str(self.judged.user_ids[code]), int(self.judged.lengths[code]), _percents(shares), drifted]

    @cached_property
    def supports(self) -> np.ndarray:
        """As ``diagnosis.supports`` gives them. Raises ``RunError`` if the file is damaged."""
        path = self.source.run / "supports.parquet"
        try:
            return supports(path, self.judged)
        except (OSError, pa.ArrowException) as error:
            raise RunError(f"cannot be read ({error})", where=path, remedy="train the run again") from error

    def body(self, code: int, items: Registry) -> list[Any]:
        """The body of a user; the items that it names are added to ``items``."""
        judged = self.judged
        rows = slice(int(judged.indptr[code]), int(judged.indptr[code + 1]))
        times = None if self.times is None else self.times[rows]
        n = int(judged.lengths[code])
        intervals = share_intervals(self.source.reliance_of_users[code] * n, n)
        days = [None] * n if times is None else [_day(seconds) for seconds in times.tolist()]
        present, poi = judged.present[rows], judged.poi[rows]
        percent = np.rint(100 * judged.probability[rows].astype(np.float64)).astype(int).tolist()
        tenths = np.rint(10 * judged.evidence[rows].astype(np.float64)).astype(int)
        verdict = np.where(present, np.where(poi, POI, NOISE), MISSING).tolist()
        # "-0" would lose its sign: weak evidence against keeps to its side of zero.
        signed = np.where((judged.evidence[rows] < 0) & (tenths == 0), -1, tenths).tolist()
        places = [items.place(item) for item in judged.item[rows].tolist()]
        others = np.where(present[..., None], self.supports[rows], -1).tolist()
        lines = []
        for t in range(n):
            told: list[Any] = []
            for m in range(len(judged.modalities)):
                if verdict[t][m] == MISSING:
                    told.append([MISSING])
                    continue
                speak = [items.place(item) for item in others[t][m] if item >= 0]
                keep = len(speak) if verdict[t][m] == POI else 2 if signed[t][m] > 0 else 0
                told.append([verdict[t][m], percent[t][m], signed[t][m], *speak[:keep]])
            lines.append([places[t], days[t], *told])
        explaining = [m for m, name in enumerate(judged.modalities) if name not in self.source.placebos.cannot_tell]
        names = [judged.modalities[m] for m in explaining]
        changed = drift(judged.probability[rows][:, explaining], present[:, explaining], names, times)
        change = None
        if changed is not None:
            change = [
                judged.modalities.index(changed.modality),
                changed.position + 1,
                _day(changed.time),
                round(100 * changed.before),
                round(100 * changed.after),
                round(changed.p_value, 3),
            ]
        return [np.rint(100 * intervals).astype(int).tolist(), change, lines]

    def item(self, code: int, text: tuple[str, str], picture: str) -> list[Any]:
        """One item; ``text``: title and snippet; ``picture``: where the picture is to be had, or nothing."""
        name = str(self.judged.item_ids[code])
        category = ", ".join(self.source.categories.get(name, ()))
        chosen = int(np.diff(self.judged.by_item[0])[code])
        return [name, *text, picture, category, chosen, self.standings.get(name, [None] * len(self.judged.modalities))]

    def choosers(self, code: int, most: int) -> list[list[Any]]:
        """``[user id, choices, day, judged per modality]`` of the ``most`` surest of those who chose an item."""
        judged = self.judged
        rows = judged.rows_of_item(code)
        rows = rows[np.argsort(-judged.probability[rows].max(1), kind="stable")][:most]
        found = []
        for row in rows.tolist():
            user = judged.user[row]
            day = None if self.times is None else _day(float(self.times[row]))
            told = [
                [MISSING] if not there else [POI if poi else NOISE, round(100 * float(probability))]
                for there, poi, probability in zip(
                    judged.present[row], judged.poi[row], judged.probability[row], strict=True
                )
            ]
            found.append([str(judged.user_ids[user]), int(judged.lengths[user]), day, *told])
        return found

    def comparisons(self, codes: Sequence[int]) -> dict[tuple[str, str], list[Comparison]]:
        """Items to compare these with, for each modality of theirs that lies below what is typical."""
        names = {str(self.judged.item_ids[code]) for code in codes}
        low = self.table[(self.table["below"] > 0) & self.table["item_id"].isin(names)]
        return comparisons(self.source, self.table, list(zip(low["item_id"], low["modality"], strict=True)))

    def compared(self, one: Comparison, items: Registry) -> list[int]:
        """``[item, likeness in per cent, evidence in tenths of nats, choices]``."""
        place = items.place(self.judged.item_code[one.item_id])
        return [place, round(100 * one.likeness), round(10 * one.evidence), one.interactions]

    @cached_property
    def table(self) -> pd.DataFrame:
        """``standing`` of the whole run."""
        return standing(self.source)

    @cached_property
    def standings(self) -> dict[str, list[Any]]:
        """Item id to its standing per modality."""
        slot = {name: m for m, name in enumerate(self.judged.modalities)}
        found: dict[str, list[Any]] = {}
        columns = ["item_id", "modality", "noise", "interactions", "evidence", "typical", "below", "clearly"]
        for item, modality, noise, n, *tenths, clearly in self.table[columns].itertuples(index=False):
            line = found.setdefault(str(item), [None] * len(slot))
            line[slot[modality]] = [round(100 * noise), int(n), *(round(10 * one) for one in tenths), int(clearly)]
        return found

    def texts(self, codes: Sequence[int]) -> list[tuple[str, str]]:
        """Title, and the beginning of the description or text, of each item."""
        titles, snippets = self.source.titles, self._snippets
        names = [str(self.judged.item_ids[code]) for code in codes]
        return [(titles.get(name, ""), _shorten(snippets.get(name, ""))) for name in names]

    @cached_property
    def _snippets(self) -> dict[str, str]:
        frame = self.source.items
        column = next((name for name in ("description", "text") if name in frame.columns), None)
        if column is None or "title" not in frame.columns:
            return {}
        return dict(zip(frame["item_id"].astype(str), frame[column].fillna("").astype(str), strict=True))


def natural(name: str) -> tuple[int, int, str]:
    """Numbers in the order of their value, before words."""
    return (0, int(name), name) if name.isascii() and name.isdigit() and len(name) < 19 else (1, 0, name)


def pack(value: Any) -> str:
    """Gzipped JSON in base64, the same bytes for the same value."""
    return pack_text(json.dumps(value, separators=(",", ":"), allow_nan=False))


def pack_text(text: str) -> str:
    """Gzipped text in base64."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def _percents(shares: np.ndarray) -> list[int]:
    return [int(one) for one in np.rint(100 * shares)]


def _day(seconds: float) -> int | None:
    return int(seconds // SECONDS_PER_DAY) if math.isfinite(seconds) else None


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SNIPPET else text[: _SNIPPET - 1].rsplit(" ", 1)[0] + "…"
