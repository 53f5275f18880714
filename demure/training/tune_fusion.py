"""Choose the parameters of the item-item model and the weights of the fusion on the validation split.

Shape suffixes: S users of the validation split, I items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from demure.evaluation.ranking import Evaluation, evaluate
from demure.model.content_items import ContentItemModel, ContentItemParameters, mix_content_items
from demure.model.fusion import FusionWeights
from demure.model.item_item import ItemItemModel, Pairs, build_item_item, count_pairs, linear_model
from demure.model.item_item_density import ItemItemParameters
from demure.model.recommender import Reading, Recommender
from demure.progress import Listener, Steps, silent
from demure.training.stages import FUSION

if TYPE_CHECKING:
    from demure.data.histories import Histories

Parameters = TypeVar("Parameters", bound=ItemItemParameters | ContentItemParameters)
ITEM_ITEM_GRID = {
    "nearness": (1.0, 0.5, 0.0),
    "fading": (1.0, 0.0, 0.5, 1.3),
    "shared": (0.0, 1.0),
    "exponent": (0.4, -0.2, 0.0, 0.2, 0.6, 0.8),
    "further": (0.0, 0.5, 1.0, 2.0),
    "linear": (0.0, 0.1, 0.25, 0.5),
}
CONTENT_ITEM_GRID = {
    "share": (0.0, 0.1, 0.2, 0.3, 0.5),
    "popularity": (1.0, 0.5, 0.0),
    "bandwidth": (0.1, 0.05, 0.2),
    "denoised": (0.0, 0.5, 1.0),
}
_FIRST_SHARE = 0.3  # from which the other parameters are tried
NEED_ORDER = ("nearness", "fading")
COLLABORATIVE = (0.0, 0.5, 0.75, 1.0)
CONTENT = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 1.0)
SCARCE = (0.0, 0.5, 1.0, 1.5)
LINEAR_ITEMS = 10_000
"""Most items for a linear model: its fit is cubic in them (a quarter of a minute for 7,000 on one core)."""
_ROUNDS = 2
_MAX_CELLS = 2_000_000  # users x longest x longest of a block
_MAX_USERS = 2000
_MAX_PAIRS = 50_000_000  # listed pairs up to which ordered histories are tried with walks of several steps
_MAX_SCORES = 50_000_000  # users x items held at once


def tune_fusion(
    recommender: Recommender,
    train: Histories,
    valid: Histories,
    window: int | None,
    *,
    seed: int,
    max_users: int = _MAX_USERS,
    listener: Listener = silent,
) -> dict[str, float]:
    """Build the item-item model of ``recommender`` and choose its fusion weights; return the metrics on validation.

    The prior of new items comes from how often they are chosen in the validation split. The goal of the rest is the
    mean of recall@20 and NDCG@20 on at most ``max_users`` users of the validation split. First the
    parameters of the item-item model, alone, one at a time; then those of ``recommender.content_items`` mixed with it
    (None afterwards if its share is 0); then the weights of the mixture and of the denoised content, together; then the
    additional content for items that few users chose, with the content's weight again, if that gains more than its
    standard error over users. Ties go to more content. ``window``: see ``count_pairs``; None leaves the item-item model
    out. Without a validation split the defaults stay, and no metrics are returned.
    """
    parameters = ItemItemParameters() if recommender.denoiser.ordered else ItemItemParameters(nearness=0.0, fading=0.0)
    users = np.flatnonzero(valid.lengths > 0)
    if not len(users):
        if window is not None:
            counts_I, device = recommender.train_counts_I, recommender.device
            recommender.item_item = build_item_item(train, counts_I, parameters, window, device)
            recommender.fusion = FusionWeights()
        recommender.content_items = None
        return {}
    max_users = max(1, min(max_users, _MAX_SCORES // len(recommender.log_popularity)))
    if len(users) > max_users:
        users = np.sort(np.random.default_rng(seed).choice(users, max_users, replace=False))
    new_items = _expected_count_of_new_items(recommender, train, valid)
    recommender.fusion = replace(recommender.fusion, new_items=new_items)
    if recommender.content_items is not None:
        counts_I = recommender.fusion.expected_counts(recommender.train_counts_I)
        recommender.content_items = recommender.content_items.with_counts(counts_I)
    tuner = _Tuner(recommender, train, valid, users, Steps(listener, FUSION))
    if window is not None:
        recommender.item_item = tuner.tune_item_item(parameters, window)
    recommender.fusion, evaluation = tuner.tune_weights()
    return evaluation.means()


def _expected_count_of_new_items(recommender: Recommender, train: Histories, valid: Histories) -> float:
    """Return n_0: how often an item without training interactions is chosen in the validation split, times the ratio
    of the splits' sizes; 0 without content, since new items are then all alike."""
    new_I = recommender.train_counts_I == 0
    if not new_I.any() or not any(recommender.denoiser.admitted_modalities()):
        return 0.0
    chosen_I = valid.count_items(len(new_I))
    return round(float(chosen_I[new_I].mean()) * len(train.items) / len(valid.items), 6)


class _Tuner:
    """Scores histories of ``users`` (S,) with parts of a recommender, on the validation split."""

    def __init__(
        self, recommender: Recommender, train: Histories, valid: Histories, users: np.ndarray, report: Steps
    ) -> None:
        self.recommender, self.train, self.users, self._report = recommender, train, users, report
        self.n_items = len(recommender.log_popularity)
        self._relevant, self._past = valid.select_users(users), train.select_users(users)
        self._log_popularity_I = torch.as_tensor(recommender.log_popularity).to(recommender.device)

    def tune_item_item(self, start: ItemItemParameters, window: int) -> ItemItemModel:
        """Return the item-item model with the best parameters of the grid, alone with the popularity."""
        train, recommender, ordered = self.train, self.recommender, self.recommender.denoiser.ordered
        device = recommender.device
        linear = linear_model(train, self.n_items, device) if self.n_items <= LINEAR_ITEMS else None

        @lru_cache(maxsize=1)  # most models tried one after the other need the same counts
        def pairs(nearness: float, shared: float) -> Pairs:
            options = {"nearness": nearness, "shared": shared}
            return count_pairs(train.indptr, train.items, self.n_items, window, **options, device=device)

        def build(parameters: ItemItemParameters) -> ItemItemModel:
            counts = pairs(parameters.nearness, parameters.shared)
            return ItemItemModel(counts, recommender.train_counts_I, parameters, linear)

        def goal(parameters: ItemItemParameters) -> float:
            recommender.item_item = build(parameters)
            return _goal(self._evaluate(self._scores(self._collaborative)))

        fixed = [*(() if ordered else NEED_ORDER), *(() if linear is not None else ("linear",))]
        if ordered and len(train.items) * window > _MAX_PAIRS:
            fixed.append("further")
        grid = {name: values for name, values in ITEM_ITEM_GRID.items() if name not in fixed}
        return build(_search_lines(start, grid, goal))

    def tune_weights(self) -> tuple[FusionWeights, Evaluation]:
        """Mix similar content into the item-item model; return the best fusion weights, and what they reach."""
        recommender = self.recommender
        denoiser, has_item_item = recommender.denoiser, recommender.item_item is not None
        collaborative_SI = self._scores(recommender.collaborative)
        content_SI, readings = self._read()
        new_items = recommender.fusion.new_items
        if recommender.content_items is not None:
            collaborative_SI = self._tune_content_items(recommender.content_items, collaborative_SI, readings)
        evaluations: dict[FusionWeights, Evaluation] = {}

        def best(candidates: Sequence[FusionWeights]) -> FusionWeights:
            for weights in candidates:
                content_weight_I = torch.as_tensor(weights.content_weights(recommender.train_counts_I))
                scores_SI = torch.addcmul(self._log_popularity_I, content_weight_I.to(recommender.device), content_SI)
                scores_SI.add_(collaborative_SI, alpha=weights.collaborative)
                evaluations[weights] = self._evaluate(scores_SI)
            return max(candidates, key=lambda weights: (_goal(evaluations[weights]), -weights.scarce, weights.content))

        admitted = any(denoiser.admitted_modalities())
        contents = CONTENT if admitted else (0.0,)
        collaboratives = COLLABORATIVE if has_item_item else (0.0,)
        chosen = best([FusionWeights(v, w, 0.0, new_items) for v, w in product(collaboratives, contents)])
        if has_item_item and len(contents) > 1:
            scarce = best([replace(chosen, content=w, scarce=s) for w, s in product(contents, SCARCE[1:])])
            gain = _goals(evaluations[scarce]) - _goals(evaluations[chosen])
            if gain.mean() > gain.std() / np.sqrt(len(gain)):
                chosen = scarce
        return chosen, evaluations[chosen]

    def _tune_content_items(
        self, model: ContentItemModel, collaborative_SI: Tensor, readings: Sequence[tuple[Tensor, Reading]]
    ) -> Tensor:
        """Give the recommender similar content with the best parameters; return the mixture's log ratios (S, I)."""
        popularity_I, ratio_SI = self._log_popularity_I.exp(), collaborative_SI.exp()

        @lru_cache(maxsize=1)  # shares tried one after the other mix the same density
        def density(parameters: ContentItemParameters) -> Tensor:
            density_SI, changed = torch.empty_like(collaborative_SI), model.with_parameters(parameters)
            for rows, reading in readings:
                parts_BMI = changed.density(reading.items_BT, reading.weight_BTM, reading.modality_share_BM)
                density_SI[rows] = parts_BMI.sum(1).float()
            return density_SI

        def mix(parameters: ContentItemParameters) -> Tensor:
            content_SI = density(replace(parameters, share=0.0))
            return mix_content_items(ratio_SI, content_SI, parameters.share, popularity_I).log()

        def goal(parameters: ContentItemParameters) -> float:
            return _goal(self._evaluate(mix(parameters).add_(self._log_popularity_I)))

        start = ContentItemParameters(share=_FIRST_SHARE)
        denoiser = self.recommender.denoiser
        admitted = any(denoiser.admitted_modalities())
        parameters = _search_lines(start, CONTENT_ITEM_GRID, goal) if admitted else ContentItemParameters()
        self.recommender.content_items = model.with_parameters(parameters) if parameters.share else None
        return mix(parameters) if parameters.share else collaborative_SI

    def _read(self) -> tuple[Tensor, list[tuple[Tensor, Reading]]]:
        """Return log rho_content (S, I) of the users, and the denoiser's reading of blocks of them, with their rows."""
        content_SI, readings = self._empty_scores(), []
        empty = content_SI[:0]
        for rows, items_BT in self._blocks():
            reading = self.recommender.read(items_BT)
            content_SI[rows] = reading.content_BI
            readings.append((rows, replace(reading, content_BI=empty, modality_BI=empty)))
        return content_SI, readings

    def _collaborative(self, items_BT: np.ndarray) -> Tensor:
        return self.recommender.collaborative(items_BT).add_(self._log_popularity_I)

    def _evaluate(self, scores_SI: Tensor) -> Evaluation:
        self._report()
        return evaluate(lambda rows: scores_SI[rows], self._relevant, self._past, (20,), self.n_items)

    def _scores(self, score: Callable[[np.ndarray], Tensor]) -> Tensor:
        """Return the scores (S, I) float32 of the users' histories, in blocks of similar length."""
        scores_SI = self._empty_scores()
        for rows, items_BT in self._blocks():
            scores_SI[rows] = score(items_BT)
        return scores_SI

    def _empty_scores(self) -> Tensor:
        return torch.empty(len(self.users), self.n_items, device=self.recommender.device)

    def _blocks(self) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Yield the rows (B,) and the padded histories (B, T) of users with histories of similar length."""
        for block in self.train.group_by_length(self.users, _MAX_CELLS, 500, max_users=64):
            rows = torch.as_tensor(np.searchsorted(self.users, block)).to(self.recommender.device)
            yield rows, self.train.padded(block)


def _goals(evaluation: Evaluation) -> np.ndarray:
    """Return the goal of each user."""
    values: np.ndarray = (evaluation.per_user["recall@20"] + evaluation.per_user["ndcg@20"]) / 2
    return values


def _goal(evaluation: Evaluation) -> float:
    return round(float(_goals(evaluation).mean()), 6)


def _search_lines(
    start: Parameters, grid: dict[str, tuple[float, ...]], goal: Callable[[Parameters], float]
) -> Parameters:
    """Return the best parameters found by trying the values of each in turn, twice; ties go to the earlier value."""
    goals: dict[Parameters, float] = {}
    best = start
    for _ in range(_ROUNDS):
        for name, values in grid.items():
            changes: list[dict[str, Any]] = [{name: value} for value in values]
            candidates = [best, *(replace(best, **change) for change in changes)]
            for parameters in candidates:
                if parameters not in goals:
                    goals[parameters] = goal(parameters)
            best = max(candidates, key=goals.__getitem__)
    return best
