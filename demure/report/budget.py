"""As many users and items as a page of a given size holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from demure.diagnosis.reader import DiagnosisSource
from demure.diagnosis.recommended import HISTORY, suggestions
from demure.errors import DemureError
from demure.progress import Listener, Progress, silent
from demure.report.payload import Gatherer, Registry, natural, pack

RECOMMENDED = 5
_USERS_AT_ONCE = 2048


@dataclass(frozen=True)
class People:
    """``users``: heads of those on the page, in the order of their ids; ``packed``: their bodies; ``items``: codes of
    the items that they name. ``total``: users of the run; ``long``, ``drifted``: of those on the page, how many have a
    history long enough to tell a drift, and how many did."""

    users: list[list[Any]]
    packed: str
    items: Registry
    total: int
    long: int
    drifted: int


def people(
    gatherer: Gatherer,
    *,
    at_most_bytes: int,
    at_most_rows: int,
    recommend: bool = True,
    listener: Listener = silent,
) -> People:
    """All users, or users spread evenly over the sorted ids where they would not fit. A body has, after what
    ``Gatherer.body`` gives, the recommended items: ``[item, because, past item or null]``, where ``because`` counts the
    modalities and then the history; null where there are none."""
    judged = gatherer.judged
    order = np.array(sorted(range(len(judged.user_ids)), key=lambda user: natural(str(judged.user_ids[user]))))
    rows = len(judged.user) * len(judged.modalities)
    share = min(1.0, at_most_rows / max(rows, 1))
    bodies: dict[int, list[Any]] = {}
    items = Registry()
    while True:
        chosen = order
        if share < 1:
            places = np.linspace(0, len(order) - 1, max(1, int(share * len(order)))).astype(int)
            chosen = order[np.unique(places)]
        items = Registry()  # again, so that it names only the items of those who are chosen
        bodies = {}
        for done, code in enumerate(chosen.tolist()):
            bodies[code] = gatherer.body(code, items)
            if done % 100 == 0:
                listener(Progress("histories", done, len(chosen)))
        size = len(pack(list(bodies.values())))
        if size <= at_most_bytes or len(chosen) == 1:
            break
        share = len(chosen) / len(order) * 0.9 * at_most_bytes / size
    found = (
        _recommended(gatherer.source, [str(judged.user_ids[code]) for code in bodies], listener) if recommend else {}
    )
    for code, body in bodies.items():
        body.append(told(gatherer, found.get(str(judged.user_ids[code])), items))
    lengths = judged.lengths[list(bodies)]
    return People(
        users=[gatherer.user(code, drifted=body[1] is not None) for code, body in bodies.items()],
        packed=pack(list(bodies.values())),
        items=items,
        total=len(order),
        long=int((lengths >= 12).sum()) if gatherer.times is not None else 0,
        drifted=sum(body[1] is not None for body in bodies.values()),
    )


def told(gatherer: Gatherer, found: Any, items: Registry) -> list[list[Any]] | None:
    """Suggestions as the page reads them."""
    if found is None:
        return None
    judged = gatherer.judged
    lines: list[list[Any]] = []
    for one in found:
        code = judged.item_code.get(one.item_id)
        if code is None:  # nobody chose it in training, so nothing on the page tells of it
            continue
        because = len(judged.modalities) if one.because == HISTORY else judged.modalities.index(one.because)
        past = judged.item_code.get(one.past_item_id) if one.past_item_id is not None else None
        lines.append([items.place(code), because, None if past is None else items.place(past)])
    return lines


def _recommended(source: DiagnosisSource, users: list[str], listener: Listener) -> dict[str, Any]:
    """Suggestions for each user; none where the model is no longer there."""
    from demure.runs.load import load_run

    try:
        run = load_run(source.run)
    except DemureError:
        return {}
    found: dict[str, Any] = {}
    for at in range(0, len(users), _USERS_AT_ONCE):
        listener(Progress("recommend", at, len(users)))
        found |= suggestions(run, users[at : at + _USERS_AT_ONCE], RECOMMENDED)
    return found
