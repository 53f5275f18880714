"""Select as many users, and their items, as a page of a given size holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demure.cluster.executor import LOCAL, Executor
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.recommended import Suggestion
from demure.diagnosis.suggest_many import suggest_many
from demure.diagnosis.verdict import DRIFT_MIN_CHOICES
from demure.progress import Listener, Notice, silent
from demure.report.item_numbers import ItemRegistry, place_items
from demure.report.payload import PayloadBuilder, RecommendationRow, UserRow, natural_order, pack
from demure.report.user_bodies import user_bodies

RECOMMENDED = 5
_MAX_SCORES = 100_000_000  # users x items that are scored for a page: minutes
_TRIED = 256  # users whose details tell how many fit
_MARGIN = 1.15


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
    executor: Executor = LOCAL,
) -> UserSample:
    """Return all users, or users spread evenly over the sorted ids where not all would fit.

    ``at_most_bytes`` of packed details, ``at_most_rows`` of verdicts; ``recommend``: whether to add recommendations;
    ``executor``: where the details are made.
    """
    table = builder.table
    order = np.array(sorted(range(len(table.user_ids)), key=lambda user: natural_order(str(table.user_ids[user]))))
    rows = len(table.user) * len(table.modalities)
    selected = _spread(order, min(1.0, at_most_rows / max(rows, 1)))
    tried = _spread(selected, _TRIED / len(selected))
    if len(tried) < len(selected):  # so that no more are made than about fit
        size = len(pack(user_bodies(builder, tried, executor, listener))) / len(tried)
        selected = _spread(selected, _MARGIN * at_most_bytes / (size * len(selected)))
    made = user_bodies(builder, selected, executor, listener)
    while True:
        items = ItemRegistry()  # anew, so that it has only the items of the selected users
        bodies = [place_items(body, items) for body in made]
        packed = pack(bodies)
        if len(packed) <= at_most_bytes or len(selected) == 1:
            break
        fewer = _spread(np.arange(len(made)), min(0.97 * at_most_bytes / len(packed), 1 - 1 / len(made)))
        selected, made = selected[fewer], [made[place] for place in fewer]
    if recommend:
        by_user = _recommend(builder.reader, [str(table.user_ids[code]) for code in selected], listener, executor)
        for code, body in zip(selected, bodies, strict=True):
            user_items = by_user.get(str(table.user_ids[code]))
            body["recommended"] = None if user_items is None else recommendation_rows(builder, user_items, items)
        packed = pack(bodies)
    drifted = [body["drift"] is not None for body in bodies]
    return UserSample(
        users=[builder.user(code, drifted=own) for code, own in zip(selected.tolist(), drifted, strict=True)],
        packed=packed,
        items=items,
        total=len(order),
        drift_tested=int((table.lengths[selected] >= DRIFT_MIN_CHOICES).sum()) if builder.times is not None else 0,
        drifted=sum(drifted),
    )


def _spread(values: np.ndarray, share: float) -> np.ndarray:
    """Return about this share of ``values``, evenly spaced, the first and the last among them; at least one."""
    if share >= 1:
        return values
    places = np.linspace(0, len(values) - 1, max(1, int(share * len(values)))).astype(int)
    spread: np.ndarray = values[np.unique(places)]
    return spread


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


def _recommend(
    reader: DiagnosisReader, users: list[str], listener: Listener, executor: Executor
) -> dict[str, list[Suggestion]]:
    """Return suggestions for each user, or for some of them, evenly spread, where users x items are many.

    Empty if the model cannot be loaded.
    """
    most = max(1, _MAX_SCORES // max(len(reader.items), 1))
    if len(users) > most:
        text = f"what would come next is shown for {most:,} of the {len(users):,} users: `demure recommend` has all"
        listener(Notice("recommend", 0, len(users), text=text))
        users = [users[place] for place in np.linspace(0, len(users) - 1, most).astype(int)]
    return suggest_many(reader.run, users, RECOMMENDED, executor, listener)
