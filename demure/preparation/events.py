"""What the rows of a file say of their event (click, purchase, not clicked), and which events count as interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from demure.data.nested import normalize_name
from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import FLAG_NAMES, find_column
from demure.preparation.reading.parsing import encode_column
from demure.preparation.reading.raw_table import RawTable
from demure.suggest import did_you_mean

_MOST_EVENTS = 50  # a column with more distinct values says something else
_YES, _NO = {"1", "true"}, {"0", "-1", "false"}
# Events after which the user does not have the item, or has only seen that it exists.
_NOT_CHOSEN = {
    "impression", "impressions", "exposure", "exposed", "shown", "show", "display", "skip", "skipped", "noclick",
    "notclicked", "nonclick", "dislike", "disliked", "downvote", "hate", "report", "removefromcart", "removedfromcart",
    "cartremove", "removefromwishlist", "removedfromwishlist", "remove", "removed", "refund", "refunded", "return",
    "returned", "cancel", "cancelled", "canceled", "unlike", "unfollow",
}  # fmt: skip


@dataclass(frozen=True)
class Events:
    """The events of N rows.

    Attributes:
        column: the name of the column in the file, or ``event``.
        codes: (N,) int32 into ``names``; the last name, ``(none)``, is that of rows without an event.
        is_counted: (n,) bool by code: such a row is an interaction.
        weights: (n,) float64 by code, which become ratings; None if none were given.
    """

    column: str
    codes: np.ndarray
    names: list[str]
    is_counted: np.ndarray
    weights: np.ndarray | None

    @property
    def left_out(self) -> list[str]:
        """The names of the events that are not interactions."""
        return [name for name, counted in zip(self.names, self.is_counted, strict=True) if not counted]

    def step_name(self, counts: np.ndarray) -> str:
        """Return the name of the step that leaves out events, of those that have ``counts`` (n,)."""
        names = [name or "(blank)" for name, n, kept in zip(self.names, counts, self.is_counted, strict=True)
                 if n and not kept]  # fmt: skip
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        return f"{self.column} {shown}: not an interaction"


def read_events(raw: RawTable, wanted: Mapping[str, float | None], findings: Findings) -> Events | None:
    """Return the events of the rows; None without a column of them.

    ``wanted``: event -> weight, or None; other events are then left out. Where it is empty, all events count but those
    by which the user did not choose the item: 0 of a flag (``label``, ``is_click``), impressions, skips, and the like.
    Raises ``DataError`` for wanted events that the file does not have.
    """
    column = find_column(raw.column_names, "event", raw.path, Findings())
    if column is None:
        if wanted:
            remedy = "name its column by --columns event=NAME"
            raise DataError("has no column of events, which --events needs", where=raw.path, remedy=remedy)
        return None
    values = encode_column(raw.table[column], column, raw.path)
    texts = values.values.to_pylist()
    codes = np.where(values.codes < 0, len(texts), values.codes).astype(np.int32)
    counts = np.bincount(codes, minlength=len(texts) + 1)
    events = choose_events(column, texts, counts, raw.path, wanted, findings)
    return None if events is None else replace(events, codes=codes)


def choose_events(
    column: str,
    texts: Sequence[str],
    counts: np.ndarray,
    path: Path,
    wanted: Mapping[str, float | None],
    findings: Findings,
) -> Events | None:
    """Return the events of a column without codes, as ``read_events``.

    ``texts`` (n,): the distinct values in order of appearance; ``counts`` (n + 1,): the rows of each, and of no value.
    """
    names = [*(name.strip() for name in texts), "(none)"]
    keys = [_key(name) for name in names[:-1]]
    is_flag = bool(keys) and set(keys) <= _YES | _NO | {""}
    if not wanted and column != "event":
        named_as_flag = normalize_name(column) in FLAG_NAMES
        if not keys or len(keys) > _MOST_EVENTS or (named_as_flag and not is_flag):
            findings.note(f"{path.name}: column {column!r} is not taken as events: {_reason(names, named_as_flag)}")
            return None
    named_by_user = column == "event" and is_flag
    if wanted:
        is_counted, weights = _wanted(path, column, keys, names, counts, wanted)
    else:
        refused = _NO if is_flag and (named_by_user or normalize_name(column) in FLAG_NAMES) else _NOT_CHOSEN
        is_counted = np.array([key not in refused and normalize_name(key) not in refused for key in keys] + [True])
        weights = None
    events = Events(column, np.empty(0, np.int32), names, is_counted, weights)
    findings.note(f"{path.name}: {_describe(events, counts)}")
    return events


def _key(name: str) -> str:
    """Return an event's name in the form that is compared: ``View`` is ``view``, and ``1.0`` is ``1``."""
    try:
        return f"{float(name):g}"
    except ValueError:
        return name.strip().casefold()


def _reason(names: list[str], named_as_flag: bool) -> str:
    other = next((name for name in names if _key(name) not in _YES | _NO | {""}), "")
    return f"it holds {other!r} besides 0 and 1" if named_as_flag else f"it has {len(names) - 1} different values"


def _counts(numbers: np.ndarray, names: list[str]) -> dict[str, int]:
    return {names[k]: int(numbers[k]) for k in np.argsort(-numbers, kind="stable") if numbers[k]}


def _shown(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or '(blank)'} ({count:,})" for name, count in list(counts.items())[:12])


def _wanted(
    path: Path,
    column: str,
    keys: list[str],
    names: list[str],
    numbers: np.ndarray,
    wanted: Mapping[str, float | None],
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return which events count (n,) and their weights (n,). Raises ``DataError`` for an event that is not there."""
    by_key = {_key(event): weight for event, weight in wanted.items()}
    missing = next((event for event in wanted if _key(event) not in keys), None)
    if missing is not None:
        suggestion = did_you_mean(missing, names[:-1])
        hint = f"; {suggestion}" if suggestion else ""
        problem = f"no row has the event {missing!r} in column {column!r}{hint}"
        remedy = f"there are: {_shown(_counts(numbers, names))}"
        raise DataError(problem, where=path, remedy=remedy)
    is_counted = np.array([key in by_key for key in keys] + [False])
    weights = [by_key.get(key) for key in keys]
    if all(weight is None for weight in weights):
        return is_counted, None
    return is_counted, np.array([np.nan if weight is None else weight for weight in weights] + [np.nan])


def _describe(events: Events, numbers: np.ndarray) -> str:
    counts = _counts(numbers, events.names)
    counted = {name: counts[name] for name in counts if name not in events.left_out}
    left_out = {name: counts[name] for name in counts if name in events.left_out}
    if not left_out:
        choice = "; --events chooses among them" if len(counts) > 1 else ""
        return f"column {events.column!r} names the event: {_shown(counted)}: all are taken as interactions{choice}"
    return (
        f"column {events.column!r} names the event: {_shown(counted) or 'none'} are taken as interactions, "
        f"{_shown(left_out)} are left out; --events chooses"
    )
