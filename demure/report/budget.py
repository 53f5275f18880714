"""Select as many users, and their items, as a page of a given size holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.recommended import Suggestion, suggestions
from demure.diagnosis.verdict import DRIFT_MIN_CHOICES
from demure.errors import DemureError
from demure.progress import Listener, Notice, Progress, silent
from demure.report.payload import (
    ItemRegistry,
    PayloadBuilder,
    RecommendationRow,
    UserBody,
    UserRow,
    natural_order,
    pack,
)

RECOMMENDED = 5
_USERS_PER_CALL = 2048
_MAX_SCORES = 100_000_000  # users x items that are scored for a page: minutes


@dataclass(frozen=True)
class UserSample:
    """The users of a page: ``users`` in the order of their ids, their ``packed`` details, and the ``items`` of these.

    ``total``: users of the run; ``drift_tested``: users on the page with a history long enough to test for drift,
    ``drifted``: how many of these drifted.
    """

    users: list[UserRow]
    packed: str
    items: ItemRegistry
    total: int
    drift_tested: int
    drifted: int

    @property
    def note(self) -> str:
        """Which users the page holds, why, and how to see the others, in sentences."""
        return (
            f"This page holds {len(self.users):,} of {self.total:,} users, so that it stays small. They are evenly "
            "spaced in the order of the ids, so that they stand for all. `demure ui RUN` shows every user, "
            "`demure inspect RUN --user ID` any one."
        )


def select_users(
    builder: PayloadBuilder,
    *,
    at_most_bytes: int,
    at_most_rows: int,
    recommend: bool = True,
    listener: Listener = silent,
) -> UserSample:
    """Return all users, or users spread evenly over the sorted ids where not all would fit.

    ``at_most_bytes`` of packed details, ``at_most_rows`` of verdicts; ``recommend``: whether to add recommendations.
    """
    table = builder.table
    order = np.array(sorted(range(len(table.user_ids)), key=lambda user: natural_order(str(table.user_ids[user]))))
    rows = len(table.user) * len(table.modalities)
    share = min(1.0, at_most_rows / max(rows, 1))
    while True:
        selected = order
        if share < 1:
            spread = np.linspace(0, len(order) - 1, max(1, int(share * len(order)))).astype(int)
            selected = order[np.unique(spread)]
        items = ItemRegistry()  # anew, so that it has only the items of the selected users
        bodies: dict[int, UserBody] = {}
        for done, code in enumerate(selected.tolist()):
            bodies[code] = builder.body(code, items)
            if done % 100 == 0:
                listener(Progress("histories", done, len(selected)))
        packed = pack(list(bodies.values()))
        if len(packed) <= at_most_bytes or len(selected) == 1:
            break
        share = len(selected) / len(order) * 0.9 * at_most_bytes / len(packed)
    if recommend:
        by_user = _recommend(builder.reader, [str(table.user_ids[code]) for code in bodies], listener)
        for code, body in bodies.items():
            user_items = by_user.get(str(table.user_ids[code]))
            body["recommended"] = None if user_items is None else recommendation_rows(builder, user_items, items)
        packed = pack(list(bodies.values()))
    lengths = table.lengths[list(bodies)]
    drifted = {code: body["drift"] is not None for code, body in bodies.items()}
    return UserSample(
        users=[builder.user(code, drifted=drifted[code]) for code in bodies],
        packed=packed,
        items=items,
        total=len(order),
        drift_tested=int((lengths >= DRIFT_MIN_CHOICES).sum()) if builder.times is not None else 0,
        drifted=sum(drifted.values()),
    )


def recommendation_rows(
    builder: PayloadBuilder, recommended: Sequence[Suggestion], items: ItemRegistry
) -> list[RecommendationRow]:
    """Return recommendations as the page reads them; adds their items to ``items``.

    An item without training interactions is left out, since the page has no row for it.
    """
    item_code = builder.table.item_code
    rows: list[RecommendationRow] = []
    for suggestion in recommended:
        code = item_code.get(suggestion.item_id)
        if code is None:
            continue
        past = None if suggestion.past_item_id is None else item_code.get(suggestion.past_item_id)
        place = items.place(code)
        past_place = None if past is None else items.place(past)
        rows.append({"item": place, "because": suggestion.because, "past": past_place})
    return rows


def _recommend(reader: DiagnosisReader, users: list[str], listener: Listener) -> dict[str, list[Suggestion]]:
    """Return suggestions for each user, or for some of them, evenly spread, where users x items are many.

    None if the model cannot be loaded.
    """
    from demure.runs.load import load_run

    try:
        run = load_run(reader.run)
    except DemureError:
        return {}
    most = max(1, _MAX_SCORES // max(run.dataset.n_items, 1))
    if len(users) > most:
        text = f"what would come next is shown for {most:,} of the {len(users):,} users: `demure recommend` has all"
        listener(Notice("recommend", 0, len(users), text=text))
        users = [users[place] for place in np.linspace(0, len(users) - 1, most).astype(int)]
    by_user: dict[str, list[Suggestion]] = {}
    for start in range(0, len(users), _USERS_PER_CALL):
        listener(Progress("recommend", start, len(users)))
        by_user |= suggestions(run, users[start : start + _USERS_PER_CALL], RECOMMENDED)
    return by_user
