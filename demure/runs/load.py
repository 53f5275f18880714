"""Load a finished run, ready to score and to recommend.

Shape suffixes: B users of a batch, T positions, I items.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from demure.baselines.build import build_learned, build_task
from demure.baselines.learned import Learned
from demure.baselines.protocol import Baseline
from demure.baselines.registry import is_closed_form, is_learned, learned_options, make_baseline
from demure.compute.device import pick_device
from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.data.splits import EARLIER, SPLIT_NAMES
from demure.errors import RunError
from demure.evaluation.ranking import ArrayScorer, Scorer, as_array
from demure.evaluation.top_k import top_k_tensor
from demure.features import store
from demure.integrity import CheckedFolder, all_finite
from demure.model.content_items import ContentItemModel, ContentItemParameters, from_tensors
from demure.model.denoiser import Denoiser
from demure.model.fusion import HISTORY, FusionWeights
from demure.model.item_item import ItemItemFit, build_item_item
from demure.model.item_item_density import ItemItemParameters
from demure.model.recommender import Recommender
from demure.recipe.load import load_recipe
from demure.recipe.schema import Recipe
from demure.runs.fit import RunFit, parameters_of
from demure.runs.folder import NEAREST_ITEMS, RECIPE, WEIGHTS
from demure.runs.interest_names import InterestNames
from demure.runs.manifest import RunManifest, dataset_folder, read_manifest, run_files, verify_dataset
from demure.suggest import nearest_names

if TYPE_CHECKING:
    import pandas as pd

_USERS_AT_ONCE = 64
_USERS_AT_ONCE_ON_ACCELERATOR = 512  # every block costs its launches
logger = logging.getLogger(__name__)


@dataclass
class LoadedRun:
    """A run with its dataset and its model.

    ``recommender`` is set for demure models, ``learned`` for baselines with weights; both are None for closed-form
    baselines, which are fitted again where they are needed, unless their ``fit`` is there. ``new_item_ids``: items of
    the recommender that follow the dataset's (``demure.runs.new_items``).
    """

    path: Path
    manifest: RunManifest
    recipe: Recipe
    dataset: Dataset
    recommender: Recommender | None
    learned: Learned | None = None
    new_item_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, object))
    fit: RunFit | None = None
    _last_histories: tuple[tuple[str, ...], Histories] | None = field(default=None, init=False, repr=False)
    _last_scorer: tuple[Histories, Scorer] | None = field(default=None, init=False, repr=False)

    @property
    def item_ids(self) -> np.ndarray:
        """The ids of the items that are scored (I,): the dataset's, then the new ones."""
        return np.concatenate([self.dataset.item_ids, self.new_item_ids])

    @cached_property
    def _interest_names(self) -> InterestNames:
        return InterestNames(self.path, self.manifest, self.recommender)

    @cached_property
    def _user_codes(self) -> dict[str, int]:
        return {str(user): code for code, user in enumerate(self.dataset.user_ids)}

    def _histories(self, *splits: str) -> Histories:
        """Return the histories of all users, those of the last call if it was of the same splits: callers come with a
        block of users at a time."""
        if self._last_histories is None or self._last_histories[0] != splits:
            self._last_histories = splits, self.dataset.histories(*splits)
        return self._last_histories[1]

    def _scorer_by(self, histories: Histories) -> Scorer:
        """Return what ``scorer_of`` returns, that of the last call if it was of the same histories: making it may take
        all of them."""
        if self._last_scorer is None or self._last_scorer[0] is not histories:
            self._last_scorer = histories, self.scorer_of(histories)
        return self._last_scorer[1]

    def scorer(self, split: str) -> Scorer:
        """Return a scorer of users by their history before ``split`` (before ``test``: train and valid)."""
        return self.scorer_of(self.dataset.histories(*EARLIER[split]))

    def scorer_of(self, histories: Histories) -> Scorer:
        """Return a scorer of users by ``histories``."""
        if self.learned is not None:
            return self.learned.scorer(histories)
        if self.recommender is None:
            return self._fitted_baseline.scorer(histories)
        model = self.recommender

        def score(user_codes: np.ndarray) -> Tensor:
            scores_BI = torch.empty(len(user_codes), len(self.item_ids), device=model.device)
            for rows in _blocks(histories, user_codes, model.device):
                scores_B = model.score(model.terms(histories.padded(user_codes[rows])))
                scores_BI[torch.as_tensor(rows).to(model.device)] = scores_B
            return scores_BI

        return score

    @cached_property
    def _fitted_baseline(self) -> Baseline:
        if self.fit is not None and self.fit.baseline is not None:
            return self.fit.baseline
        baseline = make_baseline(self.recipe.model, **self.recipe.baseline)
        baseline.fit(self.dataset.histories("train"), self.dataset.n_items)
        return baseline

    def array_scorer_of(self, histories: Histories) -> ArrayScorer:
        """Return the same, whose scores are NumPy arrays."""
        score = self.scorer_of(histories)
        return lambda users: as_array(score(users))

    def recommend(
        self, users: list[str], k: int = 20, *, only_new: bool = False, before: str | None = None
    ) -> pd.DataFrame:
        """Return the ``k`` best items that each user has not chosen in any split; ``before``: in none before this one,
        by the history until then, so that the choices of the split may be listed.

        Columns user_id, rank (1 = best), item_id, score, because: the modality that contributes most to the score, or
        ``history`` if co-occurrence or popularity contributes more, or if the run is a baseline; interest: the name of
        the item's interest in that modality, empty for ``history``. With ``only_new``, of the new items alone. Items
        that nobody chose in training have equal scores if nothing like them is in the history; these are in the order
        of the denoiser's content ratio.
        Raises ``RunError`` for an unknown user.
        """
        codes = self._user_codes
        unknown = [user for user in users if user not in codes]
        if unknown:
            near = nearest_names(unknown[0], list(codes)[:20_000], 3)
            raise RunError(
                f"no user {unknown[0]!r} in the dataset of this run",
                where=self.path,
                remedy=f"nearest: {', '.join(near)}" if near else None,
            )
        user_codes = np.array([codes[user] for user in users], np.int64)
        splits = SPLIT_NAMES if before is None else EARLIER[before]
        return self._recommend(self._histories(*splits), user_codes, users, k, only_new)

    def recommend_to(
        self, user_ids: Sequence[str], histories: Histories, k: int = 20, *, only_new: bool = False
    ) -> pd.DataFrame:
        """Recommend to users (U,) with other ``histories`` over the items of the dataset; the users may be new.

        A user without a history gets popular items. Raises ``RunError`` for a model that knows users by their ids.
        """
        if self.learned is not None and not self.learned.by_history:
            raise RunError(
                f"{self.recipe.name} knows its users by their ids, not by what they had",
                where=self.path,
                remedy="use a run of another recipe",
            )
        return self._recommend(histories, np.arange(len(user_ids)), user_ids, k, only_new)

    def _recommend(
        self, histories: Histories, user_codes: np.ndarray, user_ids: Sequence[str], k: int, only_new: bool
    ) -> pd.DataFrame:
        """Return the ``k`` best new items of the users ``user_codes`` (U,) of ``histories``, with ids ``user_ids``."""
        import pandas as pd

        model, item_ids = self.recommender, self.item_ids
        scorer = self._scorer_by(histories) if model is None else None
        reasons = np.array([*self.manifest.modalities, HISTORY], dtype=object)
        k = min(k, len(item_ids))
        item_UK, value_UK = np.zeros((len(user_codes), k), np.int64), np.zeros((len(user_codes), k))
        because_UK = np.full(item_UK.shape, len(reasons) - 1)
        for rows in _blocks(histories, user_codes, None if model is None else model.device):
            block, terms = user_codes[rows], None
            if model is not None:
                terms = model.terms(histories.padded(block))
                scores_BI = model.score(terms)
            else:
                assert scorer is not None
                scores_BI = torch.as_tensor(scorer(block)).clone()
            past = histories.select_users(block)
            past_cells = torch.as_tensor(past.owners * len(item_ids) + past.items).to(scores_BI.device)
            scores_BI.view(-1).index_fill_(0, past_cells, -np.inf)
            if only_new:
                scores_BI[:, : self.dataset.n_items] = -np.inf
            if model is None or terms is None:
                best_BK, value_BK = top_k_tensor(scores_BI, k)
            else:
                best_BK, value_BK = _top_k_with_ties_by_content(scores_BI, terms.content, model.train_counts_I, k)
                has_past_B1 = past.lengths[:, None] > 0
                because_BK = model.because(terms, best_BK).cpu().numpy()
                because_UK[rows] = np.where(has_past_B1, because_BK, len(reasons) - 1)
            item_UK[rows], value_UK[rows] = best_BK.cpu().numpy(), value_BK.cpu().numpy()
        listed_UK = np.isfinite(value_UK)
        user_N, place_N = np.nonzero(listed_UK)
        item_N, because_N = item_UK[listed_UK], reasons[because_UK[listed_UK]]
        return pd.DataFrame(
            {
                "user_id": np.array([str(user) for user in user_ids], dtype=object)[user_N],
                "rank": place_N + 1,
                "item_id": item_ids[item_N],
                "score": value_UK[listed_UK],
                "because": because_N,
                "interest": self._interest_names.of(item_N, because_N),
            }
        )


def _top_k_with_ties_by_content(
    scores_BI: Tensor, content_BI: Tensor, train_counts_I: np.ndarray, k: int
) -> tuple[Tensor, Tensor]:
    """Return the ``k`` best items of each row and their scores (B, k).

    Items that nobody has chosen can have equal scores; then those with the larger ``content_BI`` are first.
    """
    never = np.flatnonzero(train_counts_I == 0)
    if not len(never):
        return top_k_tensor(scores_BI, k)
    # Of equal scores the first column is the best: these items swap their columns.
    column_S = torch.as_tensor(never).to(scores_BI.device)
    order_BS = content_BI[:, column_S].argsort(dim=1, descending=True, stable=True)
    scores_BI[:, column_S] = scores_BI[:, column_S].gather(1, order_BS)
    best_BK, value_BK = top_k_tensor(scores_BI, k)
    number_I = torch.as_tensor(np.cumsum(train_counts_I == 0) - 1).to(scores_BI.device)
    swapped_BK = column_S[order_BS.gather(1, number_I[best_BK].clamp(min=0))]
    is_never_I = torch.as_tensor(train_counts_I == 0).to(scores_BI.device)
    return swapped_BK.where(is_never_I[best_BK], best_BK), value_BK


def _blocks(histories: Histories, user_codes: np.ndarray, device: torch.device | None) -> list[np.ndarray]:
    """Return the positions of the users in blocks with histories of similar length, so that little is padded."""
    order = np.argsort(histories.lengths_of(user_codes), kind="stable")
    size = _USERS_AT_ONCE if device is None or device.type == "cpu" else _USERS_AT_ONCE_ON_ACCELERATOR
    return [order[start : start + size] for start in range(0, len(order), size)]


def load_run(
    path: Path, device: str = "cpu", *, fit: RunFit | None = None, dataset: Dataset | None = None
) -> LoadedRun:
    """Open a finished run with its dataset.

    ``fit``: what ``fit_for_workers`` computed; ``dataset``: that of the run, if it is open. Raises ``RunError`` or
    ``DatasetError`` if either is damaged or gone, or if the dataset is no longer the one that the run was made from.
    """
    path = Path(path)
    manifest, dataset = load_run_dataset(path, dataset)
    files = run_files(path, manifest)
    recipe = load_recipe(files.file(RECIPE))
    logger.debug("open %s, %s on %s", path, recipe.name, dataset.path)
    if is_closed_form(recipe.model):
        return LoadedRun(path, manifest, recipe, dataset, None, fit=fit)
    if is_learned(recipe.model):
        tensors = load_tensors(files, WEIGHTS)
        options = learned_options(recipe.model, recipe.baseline)
        task = build_task(dataset, recipe.model, tuple(manifest.modalities))
        verify_features(path, manifest, dataset, list(task.content))
        if recipe.denoise:  # what the verdicts gave is among the tensors; their run may be gone
            task = replace(task, weights={})
        learned = build_learned(recipe.model, options, task, seed=0, device=pick_device(device))
        try:
            learned.load_state_dict(tensors)
        except RuntimeError as error:
            raise _other_weights(path) from error
        return LoadedRun(path, manifest, recipe, dataset, None, learned)
    item_item = None if fit is None else fit.item_item
    recommender = _build_recommender(path, manifest, recipe, dataset, device, item_item)
    return LoadedRun(path, manifest, recipe, dataset, recommender)


def load_run_dataset(path: Path, dataset: Dataset | None = None) -> tuple[RunManifest, Dataset]:
    """Return run.json and the ``dataset`` of a finished run, without its model. Raises as :func:`load_run`."""
    manifest = read_manifest(path)
    dataset = dataset or Dataset.load(dataset_folder(path, manifest))
    verify_dataset(path, manifest, dataset.identity, dataset.path)
    return manifest, dataset


def build_denoiser(
    path: Path,
    manifest: RunManifest,
    recipe: Recipe,
    n_items: int,
    device: str,
    popularity_factor_IP: np.ndarray | None = None,
) -> Denoiser:
    """Return the trained denoiser of a run; ``popularity_factor_IP`` as in :class:`Denoiser`.

    Raises ``RunError`` if the weights are damaged or those of another run.
    """
    tensors = load_tensors(run_files(path, manifest), WEIGHTS)
    try:
        denoiser = Denoiser.from_tensors(
            tensors,
            manifest.modalities,
            recipe.denoiser,
            ordered=manifest.ordered,
            popularity_factor_IP=popularity_factor_IP,
        )
    except (
        IndexError,
        KeyError,
        RuntimeError,
        ZeroDivisionError,
    ) as error:  # weights of an earlier demure, or of another recipe
        raise _other_weights(path) from error
    if not manifest.modalities or len(denoiser.popularity_I) != n_items:
        raise _other_weights(path)
    return denoiser.to(pick_device(device)).eval()


def _build_recommender(
    path: Path, manifest: RunManifest, recipe: Recipe, dataset: Dataset, device: str, fit: ItemItemFit | None
) -> Recommender:
    denoiser = build_denoiser(path, manifest, recipe, dataset.n_items, device)
    train = dataset.histories("train")
    counts_I = train.count_items(dataset.n_items) if fit is None else fit.popularity
    fusion = parameters_of(FusionWeights, path, "pool", manifest.pool)
    item_item = None
    if recipe.collaborative.enabled:
        parameters = parameters_of(ItemItemParameters, path, "walk", manifest.walk)
        window, on = recipe.collaborative.window, denoiser.popularity_I.device
        item_item = build_item_item(train, counts_I, parameters, window, on, fit)
    counts = fusion.expected_counts(counts_I)
    content_items = _load_content_items(path, manifest, counts, denoiser.popularity_I.device)
    return Recommender(
        denoiser, item_item, fusion, counts_I, max_history=recipe.training.history, content_items=content_items
    )


def _load_content_items(
    path: Path, manifest: RunManifest, counts_I: np.ndarray, device: torch.device
) -> ContentItemModel | None:
    if manifest.content_items is None:
        return None
    parameters = parameters_of(ContentItemParameters, path, "content_items", manifest.content_items)
    try:
        tensors = load_tensors(run_files(path, manifest), NEAREST_ITEMS)
        nearest = from_tensors(tensors, manifest.modalities)
    except KeyError as error:
        raise RunError(f"does not hold {error}", where=path / NEAREST_ITEMS, remedy="train the run again") from error
    for neighbors in nearest.values():
        items = neighbors.items_IN
        if items.shape != neighbors.cosine_IN.shape or items.ndim != 2 or len(items) != len(counts_I):
            raise RunError("is of other items", where=path / NEAREST_ITEMS, remedy="train the run again")
        if items.size and not (items.min() >= 0 and items.max() < len(counts_I)):
            raise RunError("names an item that there is not", where=path / NEAREST_ITEMS, remedy="train the run again")
    return ContentItemModel(nearest, counts_I, parameters, device)


def load_tensors(files: CheckedFolder, name: str) -> dict[str, Tensor]:
    """Raise ``RunError`` if the file is missing, changed or damaged, or holds a value that is not finite."""
    tensors: dict[str, Tensor] = files.tensors(name, framework="pt")
    broken = next((key for key, tensor in tensors.items() if not all_finite(tensor)), None)
    if broken is not None:
        raise files.failed(name, f"{broken} holds a value that is not finite")
    return tensors


def verify_features(path: Path, manifest: RunManifest, dataset: Dataset, names: Sequence[str]) -> None:
    """Raise ``RunError`` if the features of a baseline that reads them again are not the ones it was trained on."""
    for name in names:
        recorded = (manifest.features or {}).get(name, {}).get("features_sha256")
        if recorded is not None and recorded != store.read_manifest(dataset.path, name).features_sha256:
            raise RunError(
                f"was trained on other features {name!r} than the dataset now has",
                where=path,
                remedy="train again, or extract the features as they were",
            )


def _other_weights(path: Path) -> RunError:
    return RunError("holds other weights", where=path / WEIGHTS, remedy="train the run again")
