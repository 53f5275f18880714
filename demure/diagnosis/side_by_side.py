"""What several runs on one split list for a user, with the choices that were held out for validation.

Each run lists by the training history alone, so that a choice of the validation split can be in its list. The test
split has no part in it: whoever looks at lists to decide between runs would otherwise decide on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from demure.errors import DemureError
from demure.runs.load import LoadedRun, load_run

LISTED = 10


@dataclass(frozen=True)
class ListedItem:
    """An item of a list, best first. ``because``: a modality or ``history``; ``hit``: whether it is a choice that was
    held out for validation; ``also``: the other runs that list it."""

    item_id: str
    because: str
    hit: bool
    also: list[str]


@dataclass(frozen=True)
class UserLists:
    """The lists of a user by name of the run, the choices ``held_out`` for validation, and ``notes`` on runs that
    cannot list anything."""

    lists: dict[str, list[ListedItem]] = field(default_factory=dict)
    held_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """What the marks of the lists mean and how many there are, in sentences."""
        origin = "Made from the training choices alone, best first."
        number = len(self.held_out)
        if not number:
            return f"{origin} No choice of this user was held out for validation, so that nothing is marked as a hit."
        choices = "one choice" if number == 1 else f"{number} choices"
        hits = {name: sum(item.hit for item in items) for name, items in self.lists.items()}
        counts = ", ".join(f"{name} lists {count or 'none'}" for name, count in hits.items())
        return f"{origin} Of the {choices} held out for validation, {counts}."


class SideBySide:
    """Lists of ``runs`` (name -> folder) on one split; they are loaded at the first use."""

    def __init__(self, runs: Mapping[str, Path]) -> None:
        self.runs = dict(runs)

    def lists(self, users: Sequence[str], k: int = LISTED) -> dict[str, UserLists]:
        """Return the ``k`` best items of each run for each user. Raises ``RunError`` for an unknown user."""
        best: dict[str, dict[str, list[tuple[str, str]]]] = {user: {} for user in users}
        for name, run in self._loaded[0].items():
            frame = run.recommend(list(users), k, before="valid")
            for user, rows in frame.groupby("user_id", sort=False):
                best[str(user)][name] = list(zip(rows["item_id"].astype(str), rows["because"].astype(str), strict=True))
        return {user: self._user_lists(user, own) for user, own in best.items()}

    def _user_lists(self, user: str, best: Mapping[str, list[tuple[str, str]]]) -> UserLists:
        held_out = self._held_out.get(user, [])
        items = {name: {item for item, _ in own} for name, own in best.items()}
        lists = {
            name: [
                ListedItem(
                    item, because, item in held_out, [other for other in best if other != name and item in items[other]]
                )
                for item, because in own
            ]
            for name, own in best.items()
        }
        return UserLists(lists, held_out, self._loaded[1])

    @cached_property
    def _loaded(self) -> tuple[dict[str, LoadedRun], list[str]]:
        """The runs that can be loaded, and a sentence for each of the others."""
        loaded, notes = dict[str, LoadedRun](), list[str]()
        for name, path in self.runs.items():
            try:
                loaded[name] = load_run(path)
            except DemureError as error:
                notes.append(f"{name} has no list: {error}.")
        return loaded, notes

    @cached_property
    def _held_out(self) -> dict[str, list[str]]:
        """User -> the items of the validation split."""
        loaded = next(iter(self._loaded[0].values()), None)
        if loaded is None:
            return {}
        dataset, valid = loaded.dataset, loaded.dataset.histories("valid")
        return {
            str(user): [str(item) for item in dataset.item_ids[valid.of(code)]]
            for code, user in enumerate(dataset.user_ids)
            if valid.lengths[code]
        }
