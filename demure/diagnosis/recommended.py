"""What a run would recommend, because of which modality, and the past choice with the largest effect on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from demure.model.fusion import HISTORY

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from demure.data.histories import Histories
    from demure.runs.load import LoadedRun
    from demure.runs.manifest import RunManifest

_BATCH = 128
MAX_PAST = 200


@dataclass(frozen=True)
class Suggestion:
    """A recommended item: ``because`` is a modality or ``history``; ``past_item_id`` the one of the user's choices that
    alone would give the item the largest term of that kind, None where no choice gives it a positive one;
    ``interest``: the interest of that modality to which the item belongs, empty for ``history`` and an earlier run."""

    rank: int
    item_id: str
    score: float
    because: str
    past_item_id: str | None
    interest: str = ""


def describe_scores(manifest: RunManifest) -> str:
    """Return what the score of a recommendation is made of, in one sentence, from the fusion weights in ``run.json``;
    empty for a baseline, which has no such weights."""
    fusion = manifest.pool
    if not fusion:
        return ""
    collaborative, content, scarce = (float(fusion.get(name, 0)) for name in ("collaborative", "content", "scarce"))
    source = "Validation gave" if manifest.valid else "Without a validation split, the defaults gave"
    similar = float((manifest.content_items or {}).get("share", 0))
    if similar and collaborative:
        rest = f"; the denoised content has a weight of {content:g} beside both" if content or scarce else ""
        shares = (
            f"a share of {100 * (1 - similar):.0f} % in this list, and items with similar content {100 * similar:.0f} %"
        )
        return f"{source} what is taken together {shares}{rest}."
    if not content and not scarce:
        rest = "what is taken together" if collaborative else "what is popular"
        return f"{source} the content no weight in this list: recommendations follow {rest}."
    if not collaborative:
        return f"{source} all weight in this list to the content: what is taken together has none."
    weights = f"{source} what is taken together a weight of {collaborative:g} in this list, the content {content:g}"
    return f"{weights} and more for items that few took." if scarce else f"{weights}."


class PastPairs(NamedTuple):
    """Past items of users who get a list, and its items; all (P,).

    ``row``: of the list's table; ``past``: an item of the user's history; ``cause`` counts the modalities, then the
    history: what contributes most to ``target``, the item of the row. ``past`` and ``target`` are codes.
    """

    row: np.ndarray
    past: np.ndarray
    cause: np.ndarray
    target: np.ndarray

    def select(self, pairs: np.ndarray) -> PastPairs:
        """Return some of the pairs."""
        return PastPairs(*(column[pairs] for column in self))


def suggestions(
    run: LoadedRun, users: Sequence[str], k: int, new: tuple[np.ndarray, Histories] | None = None
) -> dict[str, list[Suggestion]]:
    """Return the ``k`` best new items of each user. Raises ``RunError`` for a user that the dataset does not have.

    ``new``: the ids (U,) and histories of other users, of whom ``users`` are to be.

    The past choice: each of the user's last 200 is taken as a whole history of its own, and the one with the largest
    term for the item (of the modality that contributes most to it, or of the item-item model) is named. It shows which
    choice supports the item most, not how the choices add up.
    """
    user_ids, histories = new or (run.dataset.user_ids, run.dataset.histories("train", "valid", "test"))
    user_code = {str(user): code for code, user in enumerate(user_ids)}
    if new is None:
        frame = run.recommend(list(users), k)
    else:
        frame = run.recommend_to(users, histories.select_users(np.array([user_code[user] for user in users])), k)
    item_code = {str(item): code for code, item in enumerate(run.dataset.item_ids)}
    pairs = past_pairs(frame, histories, user_code, item_code, run.manifest.modalities)
    return with_past(users, frame, pairs, terms_alone(run, pairs), run.dataset.item_ids)


def past_pairs(
    frame: pd.DataFrame,
    histories: Histories,
    user_code: Mapping[str, int],
    item_code: Mapping[str, int],
    modalities: Sequence[str],
) -> PastPairs:
    """Return each row of a table of recommended items beside the last choices of its user."""
    cause_of = {name: code for code, name in enumerate([*modalities, HISTORY])}
    users, targets = (
        [code[str(name)] for name in frame[column]] for column, code in (("user_id", user_code), ("item_id", item_code))
    )
    pasts = [histories.of(user)[-MAX_PAST:] for user in users]
    count = np.array([len(items) for items in pasts], np.int64)
    causes = np.array([cause_of[name] for name in frame["because"]], np.int64)
    return PastPairs(
        np.repeat(np.arange(len(frame)), count),
        np.concatenate([np.zeros(0, np.int64), *pasts]).astype(np.int64),
        np.repeat(causes, count),
        np.repeat(np.array(targets, np.int64), count),
    )


def with_past(
    users: Sequence[str], frame: pd.DataFrame, pairs: PastPairs, terms: np.ndarray, item_ids: np.ndarray
) -> dict[str, list[Suggestion]]:
    """Return the rows of a table of recommended items by user, each with the past choice of the largest positive term;
    ``terms`` (P,) of ``pairs``."""
    order = np.lexsort((terms, pairs.row))
    largest = order[np.append(np.diff(pairs.row[order]) > 0, True)] if len(order) else order
    best_past = {int(pairs.row[k]): str(item_ids[pairs.past[k]]) for k in largest if terms[k] > 0}
    by_user: dict[str, list[Suggestion]] = {str(user): [] for user in users}
    columns = ["user_id", "rank", "item_id", "score", "because", "interest"]
    for row, (user, rank, item, score, because, interest) in enumerate(frame[columns].itertuples(index=False)):
        suggestion = Suggestion(int(rank), str(item), float(score), str(because), best_past.get(row), str(interest))
        by_user[str(user)].append(suggestion)
    return by_user


def terms_alone(run: LoadedRun, pairs: PastPairs) -> np.ndarray:
    """Return the term (P,) that each past item, as a history of its own, gives to the target.

    Log density ratios for the history, terms of the mixture for a modality; 0 or less is no support. All are 0 for a
    run that is not a demure model.
    """
    import torch

    model = run.recommender
    terms = np.zeros(len(pairs.past))
    if model is None:
        return terms
    past, cause, target = pairs.past, pairs.cause, pairs.target
    order = np.argsort(past, kind="stable")
    items, start = np.unique(past[order], return_index=True)
    stop = np.append(start[1:], len(order))
    history, device = len(run.manifest.modalities), model.denoiser.popularity_I.device
    log_popularity_I = torch.as_tensor(model.log_popularity).to(device)

    def places(pairs: np.ndarray, batch_items: np.ndarray) -> list[Tensor]:
        """Return the rows, causes and columns of these pairs in the terms of the batch."""
        parts = np.searchsorted(batch_items, past[pairs]), cause[pairs], target[pairs]
        return [torch.as_tensor(part).to(device) for part in parts]

    with torch.no_grad():
        views = model.denoiser.views()
        for first in range(0, len(items), _BATCH):
            batch_items = items[first : first + _BATCH]
            rows = order[start[first] : stop[min(first + _BATCH, len(items)) - 1]]
            by_history = cause[rows] == history
            if by_history.any():
                row, _, column = places(rows[by_history], batch_items)
                terms[rows[by_history]] = model.collaborative(batch_items[:, None])[row, column].cpu().numpy()
            if not by_history.all():
                row, modality, column = places(rows[~by_history], batch_items)
                batch = model.denoiser.make_batch(torch.as_tensor(batch_items[:, None], device=device))
                content_terms = model.denoiser.catalogue_ratios(batch, views)[1][row, modality, column].double()
                if model.content_items is not None:
                    # A modality contributes through both of its parts: of each past choice the larger counts.
                    ones = np.ones((len(batch_items), 1, history))
                    similar = model.content_items.density(batch_items[:, None], ones, ones[:, 0])
                    similar_to_popularity = similar[row, modality, column] / log_popularity_I[column].exp()
                    content_terms = torch.maximum(content_terms, similar_to_popularity)
                terms[rows[~by_history]] = content_terms.cpu().numpy()
    return terms
