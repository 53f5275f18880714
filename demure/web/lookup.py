"""Users and items of a run, found and opened one at a time, in the shapes that ``gather`` describes."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demure.diagnosis.reader import DiagnosisSource
from demure.diagnosis.recommended import suggestions
from demure.errors import DemureError
from demure.report.budget import RECOMMENDED, told
from demure.report.payload import Gatherer, Registry, natural
from demure.report.thumbnails import small

if TYPE_CHECKING:
    from demure.runs.load import LoadedRun

SHOWN = 200
CHOOSERS = 100
_PICTURE = (256, 288)  # pixels


class Lookup:
    """Answers about one run. Its tables stay in memory (some 60 bytes per interaction); one question at a time."""

    def __init__(self, source: DiagnosisSource) -> None:
        self.source = source
        self.gatherer = Gatherer(source)
        self.judged = source.judged
        self._lock = threading.RLock()
        self._model = threading.Lock()  # opening the model takes seconds, in which others may still look
        self._orders: dict[tuple[str, str], np.ndarray] = {}

    def warm(self) -> None:
        """Do what the first questions would wait for."""
        with self._lock:
            self.users("", "id")
            self.items("", "choices")
            _ = (self.gatherer.supports, self.judged.by_item, self.gatherer.standings, self.source.reliance_of_users)

    def users(self, wanted: str, sort: str) -> dict[str, Any]:
        """Heads of the first users whose id contains ``wanted`` in any case: exact ones, beginnings, then the rest,
        each by ``sort`` (``id``, ``choices``, or ``relies`` and the place of a reliance). ``total``: of how many."""
        with self._lock:
            found, total = self._find("users", wanted.lower(), sort, [self._user_ids])
            return {"total": total, "rows": [self.gatherer.user(code) for code in found.tolist()]}

    def items(self, wanted: str, sort: str) -> dict[str, Any]:
        """The same for items, by id or title; ``sort`` is ``choices``, ``title``, or ``below`` and a modality's
        place."""
        with self._lock:
            found, total = self._find("items", wanted.lower(), sort, [self._item_ids, self._titles])
            return {"total": total, "rows": self._items(found.tolist())}

    def user(self, name: str) -> dict[str, Any] | None:
        """One user with the items that the history names; None if there is no such user."""
        with self._lock:
            code = self.judged.user_code.get(name)
            if code is None:
                return None
            items = Registry()
            body = self.gatherer.body(code, items)
            return {"user": self.gatherer.user(code), "body": body, "items": self._items(items.codes)}

    def item(self, name: str) -> dict[str, Any] | None:
        """One item with those who chose it and what to compare it with; None if there is no such item."""
        with self._lock:
            code = self.judged.item_code.get(name)
            if code is None:
                return None
            items = Registry()
            compare = {}
            for (_, modality), others in self.gatherer.comparisons([code]).items():
                compare[str(self.judged.modalities.index(modality))] = [
                    self.gatherer.compared(one, items) for one in others
                ]
            chosen = self.gatherer.choosers(code, CHOOSERS)
            return {
                "item": self._items([code])[0],
                "items": self._items(items.codes),
                "compare": {place: lines for place, lines in compare.items() if lines},
                "choosers": chosen,
                "total": len(self.judged.rows_of_item(code)),
            }

    def recommended(self, name: str) -> dict[str, Any] | None:
        """What one user would be recommended; None where the model cannot be opened or does not know the user."""
        with self._model:
            if self._run is None:
                return None
            try:
                found = suggestions(self._run, [name], RECOMMENDED)[name]
            except DemureError:
                return None
        with self._lock:
            items = Registry()
            lines = told(self.gatherer, found, items)
            return {"items": self._items(items.codes), "found": lines}

    def picture(self, name: str) -> bytes | None:
        """A JPEG of the item's picture, made small; None where there is none or it cannot be read."""
        path = self.source.pictures([name])[0]
        image = None if path is None else small(path, *_PICTURE)
        if image is None:
            return None
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=80)
        return buffer.getvalue()

    def _items(self, codes: Sequence[int]) -> list[list[Any]]:
        from urllib.parse import quote

        names = [str(self.judged.item_ids[code]) for code in codes]
        there = [f"/picture?id={quote(name, safe='')}" if self.source.has_picture(name) else "" for name in names]
        return [
            self.gatherer.item(code, text, picture)
            for code, text, picture in zip(codes, self.gatherer.texts(codes), there, strict=True)
        ]

    def _find(self, kind: str, wanted: str, sort: str, columns: Sequence[pa.Array]) -> tuple[np.ndarray, int]:
        order = self._order(kind, sort)
        if not wanted:
            return order[:SHOWN], len(order)
        rank = np.full(len(order), 3, np.int8)  # 0 exact, 1 a beginning, 2 contained
        for column in columns:
            for place, holds in enumerate((pc.equal, pc.starts_with, pc.match_substring)):
                found = holds(column, wanted).to_numpy(zero_copy_only=False)
                rank[found & (rank > place)] = place
        ranked = rank[order]
        best = [order[ranked == place][:SHOWN] for place in range(3)]
        return np.concatenate(best)[:SHOWN], int((rank < 3).sum())

    def _order(self, kind: str, sort: str) -> np.ndarray:
        """Codes in the order of ``sort``, made at its first use; an unknown one is the usual one."""
        if (kind, sort) not in self._orders:
            self._orders[kind, sort] = self._ordered_users(sort) if kind == "users" else self._ordered_items(sort)
        return self._orders[kind, sort]

    def _ordered_users(self, sort: str) -> np.ndarray:
        judged, shares = self.judged, self.source.reliance_of_users
        if sort == "choices":
            value = judged.lengths
        elif sort.startswith("relies") and sort[6:].isdigit() and int(sort[6:]) < shares.shape[1]:
            value = shares[:, int(sort[6:])]
        else:
            names = judged.user_ids
            return np.array(sorted(range(len(names)), key=lambda code: natural(str(names[code]))), np.int64)
        usual = self._order("users", "id")
        return usual[np.argsort(-value[usual], kind="stable")]

    def _ordered_items(self, sort: str) -> np.ndarray:
        judged = self.judged
        if sort == "title":
            return np.argsort(self._titles.to_numpy(zero_copy_only=False).astype(str), kind="stable")
        if sort.startswith("below") and sort[5:].isdigit() and int(sort[5:]) < len(judged.modalities):
            table = self.gatherer.table
            mine = table[table["modality"] == judged.modalities[int(sort[5:])]]
            value = np.full(len(judged.item_ids), -np.inf)
            value[[judged.item_code[str(name)] for name in mine["item_id"]]] = mine["below"]
        else:
            value = np.diff(judged.by_item[0])
        return np.argsort(-value, kind="stable")

    @cached_property
    def _user_ids(self) -> pa.Array:
        return pc.utf8_lower(pa.array(self.judged.user_ids, pa.string()))

    @cached_property
    def _item_ids(self) -> pa.Array:
        return pc.utf8_lower(pa.array(self.judged.item_ids, pa.string()))

    @cached_property
    def _titles(self) -> pa.Array:
        titles = self.source.titles
        return pc.utf8_lower(pa.array([titles.get(str(name), "") for name in self.judged.item_ids], pa.string()))

    @cached_property
    def _run(self) -> LoadedRun | None:
        from demure.runs.load import load_run

        try:
            return load_run(self.source.run)
        except DemureError:
            return None
