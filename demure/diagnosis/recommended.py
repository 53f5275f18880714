"""What a run would recommend, because of which modality, and which past choice speaks loudest for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from demure.runs.load import LoadedRun

HISTORY = "history"
_AT_ONCE = 128
_RECENT = 200


@dataclass(frozen=True)
class Suggestion:
    """A recommended item: ``because`` is a modality or ``history``; ``past_item_id`` the one of the user's choices that
    alone would put the item highest through that, None where the model cannot tell."""

    rank: int
    item_id: str
    score: float
    because: str
    past_item_id: str | None


def made_of(manifest: Mapping[str, Any]) -> str:
    """What the score of a recommendation is made of, in one sentence, from the weights in ``run.json``; empty for a
    baseline, which has no such weights."""
    pool = manifest.get("pool")
    if not pool:
        return ""
    together, content, scarce = (float(pool.get(name, 0)) for name in ("collaborative", "content", "scarce"))
    gave = "Validation gave" if manifest.get("valid") else "Without a validation split, the defaults gave"
    if not content and not scarce:
        rest = "what is taken together" if together else "what is popular"
        return f"{gave} the content no weight in this list: recommendations follow {rest}."
    if not together:
        return f"{gave} all weight in this list to the content: what is taken together has none."
    weights = f"{gave} what is taken together a weight of {together:g} in this list, the content {content:g}"
    return f"{weights} and more for items that few took." if scarce else f"{weights}."


def suggestions(run: LoadedRun, users: Sequence[str], k: int) -> dict[str, list[Suggestion]]:
    """The ``k`` best new items of each user. Raises ``RunError`` for a user that the dataset does not have.

    Which past choice: each of the user's last 200 is taken for a whole history of its own, and the one with the largest
    term for the item (of the modality that carries it, or of what is taken together) is named. It tells what speaks for
    the item, not how the choices add up.
    """
    frame = run.recommend(list(users), k)
    item_code = {str(item): code for code, item in enumerate(run.dataset.item_ids)}
    user_code = {str(user): code for code, user in enumerate(run.dataset.user_ids)}
    histories = run.dataset.histories("train", "valid", "test")
    names = [*run.manifest["modalities"], HISTORY]
    owner, past, channel, target = [], [], [], []
    for at, (user, item, because) in enumerate(frame[["user_id", "item_id", "because"]].itertuples(index=False)):
        had = histories.of(user_code[str(user)])[-_RECENT:]
        past.append(had)
        owner.append(np.full(len(had), at))
        channel.append(np.full(len(had), names.index(because)))
        target.append(np.full(len(had), item_code[str(item)]))
    loudest: dict[int, str] = {}
    if run.recommender is not None and past:
        asked = [np.concatenate(part).astype(np.int64) for part in (owner, past, channel, target)]
        said = _alone(run, *asked[1:])
        order = np.lexsort((said, asked[0]))
        last = order[np.append(np.diff(asked[0][order]) > 0, True)]
        loudest = {int(asked[0][row]): str(run.dataset.item_ids[asked[1][row]]) for row in last if said[row] > 0}
    found: dict[str, list[Suggestion]] = {str(user): [] for user in users}
    columns = ["user_id", "rank", "item_id", "score", "because"]
    for at, (user, rank, item, score, because) in enumerate(frame[columns].itertuples(index=False)):
        one = Suggestion(int(rank), str(item), float(score), str(because), loudest.get(at))
        found[str(user)].append(one)
    return found


def _alone(run: LoadedRun, past: np.ndarray, channel: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What ``past`` (n,) items, each a history of its own, say through ``channel`` (n,) for ``target`` (n,): log
    density ratios for the history, the terms of the mixture for a modality; 0 or less: nothing."""
    import torch

    assert run.recommender is not None
    model = run.recommender
    said = np.zeros(len(past))
    order = np.argsort(past, kind="stable")
    items, start = np.unique(past[order], return_index=True)
    stop = np.append(start[1:], len(order))
    together = len(run.manifest["modalities"])
    with torch.no_grad():
        views = model.denoiser.views()
        device = model.denoiser.popularity_I.device
        for at in range(0, len(items), _AT_ONCE):
            block = items[at : at + _AT_ONCE, None]
            rows = order[start[at] : stop[min(at + _AT_ONCE, len(items)) - 1]]
            row = np.searchsorted(items[at : at + _AT_ONCE], past[rows])
            value = np.empty(len(rows))
            by_history = channel[rows] == together
            if by_history.any():
                value[by_history] = model.collaborative(block)[row[by_history], target[rows][by_history]]
            if not by_history.all():
                context = model.denoiser.context(torch.as_tensor(block, device=device))
                terms = model.denoiser.over_catalogue(context, views)[1].cpu().numpy()
                content = ~by_history
                value[content] = terms[row[content], channel[rows][content], target[rows][content]]
            said[rows] = value
    return said
