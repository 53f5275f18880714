"""Search users and items of a run, and return one at a time, with the rows of ``report.payload``."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demure.data.dataset import Dataset
from demure.diagnosis.attribution import ChoiceExplainer
from demure.diagnosis.content_map import content_map
from demure.diagnosis.interests.sentences import describe_profile
from demure.diagnosis.interests.view import measured_interests
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.recommended import Suggestion, suggestions
from demure.diagnosis.search import ContentSearch, SearchResult
from demure.diagnosis.side_by_side import ListedItem, SideBySide
from demure.diagnosis.similar_items import nearest_items
from demure.errors import DemureError
from demure.report.budget import RECOMMENDED, recommendation_rows
from demure.report.item_numbers import ItemRegistry
from demure.report.payload import Columns, ItemRow, PayloadBuilder, natural_order, to_columns
from demure.report.thumbnails import small
from demure.runs.folder import WEIGHTS
from demure.web.explanations import explain

if TYPE_CHECKING:
    from demure.runs.load import LoadedRun

SHOWN = 200
CHOOSERS = 100
MATCHES = 24  # items of each modality that a search by words lists
NEAREST = 6  # similar items of each modality
_PICTURE = (256, 288)  # pixels


class Lookup:
    """Answer queries about one run, one at a time. Its tables stay in memory (some 60 bytes per interaction).

    ``profiles`` as of ``PageInterests``, ``findings`` as of ``PageWork``, ``compared`` as ``paths`` of
    ``ComparedRuns``: this run and those that it is compared with; ``interests`` as ``details`` of ``PageInterests``;
    ``usual_noise`` as of ``render_page``.
    """

    def __init__(
        self,
        reader: DiagnosisReader,
        profiles: Sequence[list[tuple[int, int]]] | None = None,
        findings: Mapping[str, list[str]] | None = None,
        compared: Mapping[str, Path] | None = None,
        interests: Sequence[Mapping[str, Any]] = (),
        usual_noise: Mapping[str, int] | None = None,
    ) -> None:
        self.reader = reader
        self.interests, self.usual_noise = interests, usual_noise or {}
        self._side_by_side = SideBySide(compared or {})
        self.builder = PayloadBuilder(reader, profiles)
        self._findings = findings or {}
        self.table = reader.table
        self._lock = threading.RLock()
        self._orders: dict[tuple[str, str], np.ndarray] = {}
        names = self.reader.reliance_names, self.table.modalities
        self._sorts = {
            "users": {"id", "choices", *(f"reliance:{name}" for name in names[0])},
            "items": {"choices", "title", *(f"below:{name}" for name in names[1])},
        }

    def warm(self) -> None:
        """Read and sort in advance, so that the first queries do not wait."""
        with self._lock:
            self.users("", "id")
            self.items("", "choices")
            _ = (self.builder.supports, self.table.by_item, self.builder.deviation_rows, self.reader.reliance_shares)

    def users(self, wanted: str, sort: str) -> dict[str, Any]:
        """Return the first users whose id contains ``wanted`` in any case, and the ``total`` of matches.

        Exact matches come first, then beginnings, then the rest, each by ``sort``: ``id``, ``choices``, or
        ``reliance:`` and a modality or ``none``.
        """
        with self._lock:
            codes, total = self._search("users", wanted.lower(), sort, [self._user_ids])
            return {"total": total, "rows": [self.builder.user(code) for code in codes.tolist()]}

    def items(self, wanted: str, sort: str) -> dict[str, Any]:
        """Return the same for items, by id or title; ``sort``: ``choices``, ``title``, or ``below:`` and a modality."""
        with self._lock:
            codes, total = self._search("items", wanted.lower(), sort, [self._item_ids, self._titles])
            return {"total": total, "rows": self._item_rows(codes.tolist())}

    def user(self, name: str) -> dict[str, Any] | None:
        """Return one user with the items of the history; None if there is no such user.

        ``explains`` of the ``body``: whether the run has a model, by which choices can be explained.
        """
        with self._lock:
            code = self.table.user_code.get(name)
            if code is None:
                return None
            items = ItemRegistry()
            body = {**self.builder.body(code, items), "explains": self.reader.files.has(WEIGHTS)}
            return {"user": self.builder.user(code), "body": body, "items": self._item_columns(items)}

    def item(self, name: str) -> dict[str, Any] | None:
        """Return one item with the users who chose it, its findings, items to compare with (``similar``), the
        ``nearest`` items by each modality, and its audio and video (``media``); None if there is no such item.
        """
        with self._lock:
            code = self.table.item_code.get(name)
            if code is None:
                return None
            items = ItemRegistry()
            similar = self.builder.similar([code], items).get(code, {})
            nearest = {
                modality: [self._nearness(other, cosine, items) for other, cosine in matches]
                for modality, matches in nearest_items(self.reader, name, self.table.item_code, NEAREST).items()
            }
            return {
                "item": self._item_rows([code])[0],
                "items": self._item_columns(items),
                "similar": similar,
                "nearest": nearest,
                "findings": self._findings.get(name, []),
                "choosers": self.builder.choosers(code, CHOOSERS),
                "total": len(self.table.rows_of_item(code)),
                "media": [
                    {"kind": kind, "name": file.name, "address": f"/media?kind={kind}&id={quote(name, safe='')}"}
                    for kind, file in self.reader.media(name).items()
                ],
            }

    def recommended(self, names: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        """Return what users would be recommended; None for one that the model does not have, or without a model.

        Not more than one thread may call this at a time; the first call loads the model, in which other queries go on.
        """
        recommended = self._suggest(names)
        answers: dict[str, dict[str, Any] | None] = dict.fromkeys(names)
        for name, suggested in recommended.items():
            with self._lock:
                items = ItemRegistry()
                rows = recommendation_rows(self.builder, suggested, items)
                answers[name] = {"items": self._item_columns(items), "recommended": rows}
        return answers

    def has_choice(self, user: str, item: str) -> bool:
        """Return whether the user chose the item in training."""
        user_code, item_code = self.table.user_code.get(user), self.table.item_code.get(item)
        if user_code is None or item_code is None:
            return False
        return bool((self.table.user[self.table.rows_of_item(item_code)] == user_code).any())

    def explained(self, user: str, item: str) -> dict[str, Any]:
        """Return what mattered in a choice, as of :func:`demure.web.explanations.explain`.

        Not more than one thread may call this at a time; the first call loads the model and the encoders, in which
        other queries go on.
        """
        return explain(self._explainer, user, item)

    def compared(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the lists of the compared runs for users of the run: ``lists`` (``run`` and ``rows``), the items
        ``held_out`` for validation, and ``notes``.

        Not more than one thread may call this at a time; the first call loads the models, in which other queries go on.
        """
        answers = {}
        for name, own in self._side_by_side.lists(names).items():
            with self._lock:
                lists = [
                    {"run": run, "rows": [self._listed(item) for item in items]} for run, items in own.lists.items()
                ]
                held_out = [self._reference(item) for item in own.held_out]
            answers[name] = {"lists": lists, "held_out": held_out, "notes": [own.summary, *own.notes]}
        return answers

    def mapped(self, kind: str, modality: str) -> dict[str, Any]:
        """Return a map for the page's script: ``points`` as columns, ``groups`` and a ``note``; or the ``problem``.

        Not more than one thread may call this at a time; other queries go on.
        """
        try:
            content = content_map(self.reader, kind, modality)
        except DemureError as error:
            return {"problem": f"{error.problem[0].upper()}{error.problem[1:]}."}
        table = self.table
        ids = [str(name) for name in (table.item_ids if kind == "items" else table.user_ids)[content.codes]]
        counts = (table.item_counts if kind == "items" else table.lengths)[content.codes]
        places = np.rint(content.places).astype(int)
        points: Columns = {
            "id": ids,
            "title": [self.reader.titles.get(name, "") if kind == "items" else "" for name in ids],
            "picture": [self._address(name) if kind == "items" else "" for name in ids],
            "choices": counts.astype(int).tolist(),
            "x": places[:, 0].tolist(),
            "y": places[:, 1].tolist(),
            "group": content.group.tolist(),
        }
        groups = [{"name": group.name, "key": group.key, "points": group.points} for group in content.groups]
        return {"points": points, "groups": groups, "note": content.note}

    def interests_of(self, name: str) -> str:
        """Return the interests that explain most choices of an item, with their shares, in words; often none."""
        if self.reader.interests is None or not self.table.item_counts[self.table.item_code[name]]:
            return ""
        own = measured_interests(self.reader)
        code = self.table.item_code[name]
        shares = np.where(own.shown, own.shares.by_item_IK[code] / self.table.item_counts[code], 0.0)
        best = [k for k in np.argsort(-shares, kind="stable").tolist()[:3] if shares[k] >= 0.05]
        return describe_profile(
            [{"name": own.columns[k][1].name, "modality": own.columns[k][0], "share": shares[k]} for k in best]
        )

    def searched(self, words: str) -> dict[str, Any]:
        """Return the items whose content is nearest to words: ``matches`` by modality, ``items`` and ``notes``.

        Not more than one thread may call this at a time; the first call loads the encoders, in which other queries go
        on.
        """
        try:
            result = self._content_search.nearest(words, top=MATCHES, among=self.table.item_code)
        except DemureError as error:
            result = SearchResult(notes=[f"{error.problem[0].upper()}{error.problem[1:]}."])
        with self._lock:
            items = ItemRegistry()
            matches = [
                {"modality": name, "rows": [self._nearness(match.item_id, match.similarity, items) for match in own]}
                for name, own in result.matches.items()
            ]
            return {"matches": matches, "items": self._item_columns(items), "notes": result.notes}

    def _listed(self, item: ListedItem) -> dict[str, Any]:
        return {**self._reference(item.item_id), "hit": item.hit, "also": item.also}

    def _reference(self, item_id: str) -> dict[str, Any]:
        """Return what the page shows of any item of the dataset; ``page``: whether it has a page of its own."""
        return {
            "id": item_id,
            "title": self.reader.titles.get(item_id, "") or item_id,
            "picture": self._address(item_id),
            "page": item_id in self.table.item_code,
        }

    def _address(self, item_id: str) -> str:
        return f"/picture?id={quote(item_id, safe='')}" if self.reader.has_picture(item_id) else ""

    def _nearness(self, item_id: str, cosine: float, items: ItemRegistry) -> dict[str, int]:
        return {"item": items.place(self.table.item_code[item_id]), "similarity": round(100 * cosine)}

    def _suggest(self, names: Sequence[str]) -> dict[str, list[Suggestion]]:
        if not names or self._run is None:
            return {}
        try:
            return suggestions(self._run, names, RECOMMENDED)
        except DemureError:  # one of them is not in the dataset
            return {} if len(names) == 1 else {k: rows for name in names for k, rows in self._suggest([name]).items()}

    def media(self, kind: str, name: str) -> Path | None:
        """Return the item's file of a kind, audio or video; None if it has none."""
        return self.reader.media(name).get(kind)

    def picture(self, name: str) -> bytes | None:
        """Return a small JPEG of the item's picture; None if it has none or it cannot be read."""
        path = self.reader.pictures([name])[0]
        image = None if path is None else small(path, *_PICTURE)
        if image is None:
            return None
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=80)
        return buffer.getvalue()

    def _item_rows(self, codes: Sequence[int]) -> list[ItemRow]:
        names = [str(self.table.item_ids[code]) for code in codes]
        return [
            self.builder.item(code, text, self._address(name))
            for code, text, name in zip(codes, self.builder.texts(codes), names, strict=True)
        ]

    def _item_columns(self, items: ItemRegistry) -> Columns:
        return to_columns(self._item_rows(items.codes))

    def _search(self, kind: str, wanted: str, sort: str, columns: Sequence[pa.Array]) -> tuple[np.ndarray, int]:
        order = self._order(kind, sort)
        if not wanted:
            return order[:SHOWN], len(order)
        rank = np.full(len(order), 3, np.int8)  # 0 exact, 1 beginning, 2 contained, 3 no match
        for column in columns:
            for k, matches in enumerate((pc.equal, pc.starts_with, pc.match_substring)):
                matched = matches(column, wanted).to_numpy(zero_copy_only=False)
                rank[matched & (rank > k)] = k
        ranked = rank[order]
        best = [order[ranked == k][:SHOWN] for k in range(3)]
        return np.concatenate(best)[:SHOWN], int((rank < 3).sum())

    def _order(self, kind: str, sort: str) -> np.ndarray:
        """Return codes in the order of ``sort``, sorted at its first use; an unknown sort is the default order."""
        if sort not in self._sorts[kind]:  # nothing is kept for it: anyone can ask for any number of them
            sort = "id" if kind == "users" else "choices"
        if (kind, sort) not in self._orders:
            self._orders[kind, sort] = self._ordered_users(sort) if kind == "users" else self._ordered_items(sort)
        return self._orders[kind, sort]

    def _ordered_users(self, sort: str) -> np.ndarray:
        field, _, modality = sort.partition(":")
        if sort == "choices":
            values = self.table.lengths
        elif field == "reliance":
            values = self.reader.reliance_shares[:, self.reader.reliance_names.index(modality)]
        else:
            names = self.table.user_ids
            return np.array(sorted(range(len(names)), key=lambda code: natural_order(str(names[code]))), np.int64)
        by_id = self._order("users", "id")
        return by_id[np.argsort(-values[by_id], kind="stable")]

    def _ordered_items(self, sort: str) -> np.ndarray:
        field, _, modality = sort.partition(":")
        if sort == "title":
            return np.argsort(self._titles.to_numpy(zero_copy_only=False).astype(str), kind="stable")
        values = self.table.item_counts
        if field == "below":
            deviations = self.builder.deviations[self.builder.deviations["modality"] == modality]
            values = np.full(len(self.table.item_ids), -np.inf)
            values[[self.table.item_code[str(name)] for name in deviations["item_id"]]] = deviations["below"]
        return np.argsort(-values, kind="stable")

    @cached_property
    def _explainer(self) -> ChoiceExplainer:
        return ChoiceExplainer(self.reader, loaded=self._run)

    @cached_property
    def _content_search(self) -> ContentSearch:
        dataset = Dataset.load(self.reader.dataset)
        return ContentSearch(dataset, self.reader.modalities, "cpu", self.reader.unit_features)

    @cached_property
    def _user_ids(self) -> pa.Array:
        return pc.utf8_lower(pa.array(self.table.user_ids, pa.string()))

    @cached_property
    def _item_ids(self) -> pa.Array:
        return pc.utf8_lower(pa.array(self.table.item_ids, pa.string()))

    @cached_property
    def _titles(self) -> pa.Array:
        titles = self.reader.titles
        return pc.utf8_lower(pa.array([titles.get(str(name), "") for name in self.table.item_ids], pa.string()))

    @cached_property
    def _run(self) -> LoadedRun | None:
        from demure.runs.load import load_run

        try:
            return load_run(self.reader.run)
        except DemureError:
            return None
