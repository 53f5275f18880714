"""Load a finished run, ready to score and to recommend.

Shape suffixes: B users of a batch, T positions, I items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from demure.baselines.build import build_learned, build_task
from demure.baselines.learned import Learned
from demure.baselines.registry import BASELINES, LEARNED, learned_options, make_baseline
from demure.compute.device import pick_device
from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.data.splits import EARLIER
from demure.errors import RunError
from demure.evaluation.ranking import Scorer
from demure.evaluation.top_k import top_k
from demure.model.content_items import ContentItemModel, ContentItemParameters, from_tensors
from demure.model.denoiser import Denoiser
from demure.model.fusion import HISTORY, FusionWeights
from demure.model.item_item import build_item_item
from demure.model.item_item_density import ItemItemParameters
from demure.model.recommender import Recommender
from demure.recipe.load import load_recipe
from demure.recipe.schema import Recipe
from demure.runs.folder import MANIFEST, NEAREST_ITEMS, RECIPE, WEIGHTS
from demure.runs.manifest import RunManifest, read_manifest, recorded_dataset, verify_dataset
from demure.suggest import nearest_names

if TYPE_CHECKING:
    import pandas as pd

_USERS_AT_ONCE = 64
P = TypeVar("P")


@dataclass
class LoadedRun:
    """A run with its dataset and its model.

    ``recommender`` is set for demure models, ``learned`` for baselines with weights; both are None for closed-form
    baselines, which are fitted again where they are needed.
    """

    path: Path
    manifest: RunManifest
    recipe: Recipe
    dataset: Dataset
    recommender: Recommender | None
    learned: Learned | None = None

    def scorer(self, split: str) -> Scorer:
        """Return a scorer of users by their history before ``split`` (before ``test``: train and valid)."""
        return self.scorer_of(self.dataset.histories(*EARLIER[split]))

    def scorer_of(self, histories: Histories) -> Scorer:
        """Return a scorer of users by ``histories``."""
        if self.learned is not None:
            return self.learned.scorer(histories)
        if self.recommender is None:
            baseline = make_baseline(self.recipe.model, **self.recipe.baseline)
            baseline.fit(self.dataset.histories("train"), self.dataset.n_items)
            return baseline.scorer(histories)
        model = self.recommender

        def score(user_codes: np.ndarray) -> np.ndarray:
            starts = range(0, len(user_codes), _USERS_AT_ONCE)
            blocks = [user_codes[start : start + _USERS_AT_ONCE] for start in starts]
            return np.concatenate([model.score(model.terms(histories.padded(block))) for block in blocks])

        return score

    def recommend(self, users: list[str], k: int = 20) -> pd.DataFrame:
        """Return the ``k`` best items that each user has not chosen in any split.

        Columns user_id, rank (1 = best), item_id, score, because: the modality that contributes most to the score, or
        ``history`` if co-occurrence or popularity contributes more, or if the run is a baseline.
        Raises ``RunError`` for an unknown user.
        """
        codes = {str(user): code for code, user in enumerate(self.dataset.user_ids)}
        unknown = [user for user in users if user not in codes]
        if unknown:
            near = nearest_names(unknown[0], list(codes)[:20_000], 3)
            raise RunError(
                f"no user {unknown[0]!r} in the dataset of this run",
                where=self.path,
                remedy=f"nearest: {', '.join(near)}" if near else None,
            )
        user_codes = np.array([codes[user] for user in users], np.int64)
        return self._recommend(self.dataset.histories("train", "valid", "test"), user_codes, users, k)

    def recommend_to(self, user_ids: Sequence[str], histories: Histories, k: int = 20) -> pd.DataFrame:
        """Recommend to users (U,) with other ``histories`` over the items of the dataset; the users may be new.

        A user without a history gets popular items. Raises ``RunError`` for a model that knows users by their ids.
        """
        if self.learned is not None and not self.learned.by_history:
            raise RunError(
                f"{self.recipe.name} knows its users by their ids, not by what they had",
                where=self.path,
                remedy="use a run of another recipe",
            )
        return self._recommend(histories, np.arange(len(user_ids)), user_ids, k)

    def _recommend(self, histories: Histories, user_codes: np.ndarray, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """Return the ``k`` best new items of the users ``user_codes`` (U,) of ``histories``, with ids ``user_ids``."""
        import pandas as pd

        scorer = None if self.recommender is not None else self.scorer_of(histories)
        reasons = np.array([*self.manifest.modalities, HISTORY], dtype=object)
        frames = []
        for start in range(0, len(user_codes), _USERS_AT_ONCE):
            block = user_codes[start : start + _USERS_AT_ONCE]
            if self.recommender is not None:
                terms = self.recommender.terms(histories.padded(block))
                scores_BI, because_BI = self.recommender.score(terms), self.recommender.because(terms)
            else:
                assert scorer is not None
                scores_BI = np.array(scorer(block), dtype=np.float32)
                because_BI = np.full(scores_BI.shape, len(reasons) - 1)
            for row, user in enumerate(block):
                past_items = histories.of(int(user))
                scores_BI[row, past_items] = -np.inf
                if not len(past_items):
                    because_BI[row] = len(reasons) - 1
            best, values = top_k(scores_BI, min(k, scores_BI.shape[1]))
            for row in range(len(block)):
                listed = np.isfinite(values[row])
                items = best[row][listed]
                frames.append(
                    pd.DataFrame(
                        {
                            "user_id": str(user_ids[start + row]),
                            "rank": np.arange(1, len(items) + 1),
                            "item_id": self.dataset.item_ids[items],
                            "score": values[row][listed].astype(np.float64),
                            "because": reasons[because_BI[row, items]],
                        }
                    )
                )
        columns = ["user_id", "rank", "item_id", "score", "because"]
        return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def load_run(path: Path, device: str = "cpu") -> LoadedRun:
    """Open a finished run with its dataset.

    Raises ``RunError`` or ``DatasetError`` if either is damaged or gone, or if the dataset is no longer the one that
    the run was made from.
    """
    path = Path(path)
    manifest = read_manifest(path)
    dataset = Dataset.load(Path(recorded_dataset(path, manifest).path))
    verify_dataset(path, manifest, dataset.identity, dataset.path)
    recipe = load_recipe(path / RECIPE)
    if recipe.model in BASELINES:
        return LoadedRun(path, manifest, recipe, dataset, None)
    tensors = _load_tensors(path / WEIGHTS)
    if recipe.model in LEARNED:
        options = learned_options(recipe.model, recipe.baseline)
        task = build_task(dataset, recipe.model, tuple(manifest.modalities))
        learned = build_learned(recipe.model, options, task, seed=0, device=pick_device(device))
        learned.load_state_dict(tensors)
        return LoadedRun(path, manifest, recipe, dataset, None, learned)
    recommender = _build_recommender(path, manifest, recipe, dataset, tensors, device)
    return LoadedRun(path, manifest, recipe, dataset, recommender)


def _build_recommender(
    path: Path, manifest: RunManifest, recipe: Recipe, dataset: Dataset, tensors: dict[str, Tensor], device: str
) -> Recommender:
    try:
        denoiser = Denoiser.from_tensors(tensors, manifest.modalities, recipe.denoiser, ordered=manifest.ordered)
    except (KeyError, RuntimeError) as error:  # weights of an earlier demure, or of another recipe
        raise RunError("holds other weights", where=path / WEIGHTS, remedy="train the run again") from error
    denoiser.to(pick_device(device)).eval()
    train = dataset.histories("train")
    counts_I = train.count_items(dataset.n_items)
    fusion = _parameters(FusionWeights, path, "pool", manifest.pool)
    item_item = None
    if recipe.collaborative.enabled:
        parameters = _parameters(ItemItemParameters, path, "walk", manifest.walk)
        item_item = build_item_item(train, counts_I, parameters, recipe.collaborative.window)
    content_items = _load_content_items(path, manifest, fusion.expected_counts(counts_I))
    return Recommender(
        denoiser, item_item, fusion, counts_I, max_history=recipe.training.history, content_items=content_items
    )


def _load_content_items(path: Path, manifest: RunManifest, counts_I: np.ndarray) -> ContentItemModel | None:
    if manifest.content_items is None:
        return None
    parameters = _parameters(ContentItemParameters, path, "content_items", manifest.content_items)
    try:
        nearest = from_tensors(_load_tensors(path / NEAREST_ITEMS), manifest.modalities)
    except KeyError as error:
        raise RunError(f"does not hold {error}", where=path / NEAREST_ITEMS, remedy="train the run again") from error
    return ContentItemModel(nearest, counts_I, parameters)


def _load_tensors(path: Path) -> dict[str, Tensor]:
    """Raise ``RunError`` if the file is missing or damaged."""
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises a kind of its own, which is not a ValueError
        raise RunError(f"cannot be read ({error})", where=path, remedy="train the run again") from error


def _parameters(kind: Callable[..., P], path: Path, key: str, numbers: dict[str, float] | None) -> P:
    """Return the parameters stored in run.json as ``key``.

    Raises ``RunError`` if they are missing, or have names that ``kind`` does not know.
    """
    if numbers is None:
        raise RunError(f"lacks the key '{key}'", where=path / MANIFEST, remedy="train the run again")
    try:
        return kind(**numbers)
    except TypeError as error:
        problem = f"has parameters of another version of demure ({error})"
        raise RunError(problem, where=path / MANIFEST, remedy="train the run again") from error
