"""A finished run, ready to score and to recommend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import load_file

from demure.baselines.learned import Learned
from demure.baselines.registry import BASELINES, LEARNED, learned_options, make_baseline
from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.data.splits import EARLIER
from demure.errors import DatasetError, RunError
from demure.evaluation.ranking import Scorer, top_k
from demure.model.denoiser import Denoiser, Shape
from demure.model.item_item import Walk
from demure.model.recommender import Pool, Recommender
from demure.recipe.load import load_recipe
from demure.recipe.schema import Recipe
from demure.runs.folder import MANIFEST, read_manifest
from demure.compute.device import pick_device
from demure.baselines.build import build_learned
from demure.baselines.build import build_task
from demure.model.item_item import neighbours_of

if TYPE_CHECKING:
    import pandas as pd

WEIGHTS = "model.safetensors"
_USERS_AT_ONCE = 64


def shape_of(recipe: Recipe) -> Shape:
    """The fixed part of the model that a recipe asks for."""
    asked = recipe.denoiser
    names = {one.name for one in fields(Shape)}
    return Shape(**{name: value for name, value in asdict(asked).items() if name in names})


@dataclass
class LoadedRun:
    """A run and its dataset. ``recommender`` is None for a baseline, ``learned`` for all that is not learned so."""

    path: Path
    manifest: dict[str, Any]
    recipe: Recipe
    dataset: Dataset
    recommender: Recommender | None
    learned: Learned | None = None

    def scorer(self, split: str) -> Scorer:
        """Scores (B, I) of users (B,) by what they had before ``split`` (all parts but the last for ``test``)."""
        return self.scorer_of(self.dataset.histories(*EARLIER[split]))

    def scorer_of(self, histories: Histories) -> Scorer:
        """Scores of users by ``histories``."""
        if self.learned is not None:
            return self.learned.scorer(histories)
        if self.recommender is None:
            baseline = make_baseline(self.recipe.model, **self.recipe.baseline)
            baseline.fit(self.dataset.histories("train"), self.dataset.n_items)
            return baseline.scorer(histories)
        model = self.recommender

        def score(users: np.ndarray) -> np.ndarray:
            blocks = [users[at : at + _USERS_AT_ONCE] for at in range(0, len(users), _USERS_AT_ONCE)]
            return np.concatenate([model.score(model.terms(histories.padded(block))) for block in blocks])

        return score

    def recommend(self, users: list[str], k: int = 20) -> pd.DataFrame:
        """The ``k`` best items that each user has not had in any split: user_id, rank, item_id, score, because.

        ``because`` names the modality that carries the item, or ``history``. Raises ``RunError`` for an unknown user.
        """
        index = {str(user): at for at, user in enumerate(self.dataset.user_ids)}
        unknown = [user for user in users if user not in index]
        if unknown:
            import difflib

            near = difflib.get_close_matches(unknown[0], list(index)[:20_000], n=3)
            raise RunError(
                f"no user {unknown[0]!r} in the dataset of this run",
                where=self.path,
                remedy=f"nearest: {', '.join(near)}" if near else None,
            )
        codes = np.array([index[user] for user in users], np.int64)
        return self._best(self.dataset.histories("train", "valid", "test"), codes, users, k)

    def recommend_to(self, user_ids: Sequence[str], histories: Histories, k: int = 20) -> pd.DataFrame:
        """As ``recommend``, but for users (U,) with other ``histories`` over the dataset's items, known or new; one
        without a history gets what is popular. Raises ``RunError`` for a model of the users themselves."""
        if self.learned is not None and not self.learned.by_history:
            raise RunError(
                f"{self.recipe.name} knows its users by their ids, not by what they had",
                where=self.path,
                remedy="use a run of another recipe",
            )
        return self._best(histories, np.arange(len(user_ids)), user_ids, k)

    def _best(self, histories: Histories, codes: np.ndarray, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """The ``k`` best new items of the users ``codes`` of ``histories``, who are called ``user_ids``."""
        import pandas as pd

        scorer = None if self.recommender is not None else self.scorer_of(histories)
        names = np.array([*self.manifest["modalities"], "history"], dtype=object)
        frames = []
        for at in range(0, len(codes), _USERS_AT_ONCE):
            block = codes[at : at + _USERS_AT_ONCE]
            if self.recommender is not None:
                terms = self.recommender.terms(histories.padded(block))
                scores, because = self.recommender.score(terms), self.recommender.because(terms)
            else:
                assert scorer is not None
                scores = np.array(scorer(block), dtype=np.float32)
                because = np.full(scores.shape, len(names) - 1)
            for row, user in enumerate(block):
                had = histories.of(int(user))
                scores[row, had] = -np.inf
                if not len(had):
                    because[row] = len(names) - 1
            best, values = top_k(scores, min(k, scores.shape[1]))
            for row in range(len(block)):
                good = np.isfinite(values[row])
                chosen = best[row][good]
                frames.append(
                    pd.DataFrame(
                        {
                            "user_id": str(user_ids[at + row]),
                            "rank": np.arange(1, len(chosen) + 1),
                            "item_id": self.dataset.item_ids[chosen],
                            "score": values[row][good].astype(np.float64),
                            "because": names[because[row, chosen]],
                        }
                    )
                )
        columns = ["user_id", "rank", "item_id", "score", "because"]
        return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def load_run(path: Path, device: str = "cpu") -> LoadedRun:
    """Open a finished run with its dataset. Raises ``RunError`` or ``DatasetError`` if either is damaged or gone, or if
    the dataset is no longer the one that the run was made from."""
    path = Path(path)
    manifest = read_manifest(path)
    where = Path(manifest["dataset"]["path"])
    dataset = Dataset.load(where)
    recorded = manifest["dataset"]["identity"]
    changed = [name for name, value in recorded.items() if dataset.identity.get(name) != value]
    if changed:
        raise DatasetError(
            f"is not what {path} was made from ({', '.join(changed)} changed)",
            where=where,
            remedy="train again, or prepare the dataset as it was",
        )
    recipe = load_recipe(path / "recipe.yaml")
    if recipe.model in BASELINES:
        return LoadedRun(path, manifest, recipe, dataset, None)
    try:
        tensors = load_file(path / WEIGHTS)
    except Exception as error:  # safetensors raises its own kind, which is no ValueError
        raise RunError(f"cannot be read ({error})", where=path / WEIGHTS, remedy="train the run again") from error
    if recipe.model in LEARNED:
        options = learned_options(recipe.model, recipe.baseline)
        task = build_task(dataset, recipe.model, tuple(manifest["modalities"]))
        learned = build_learned(recipe.model, options, task, 0, pick_device(device))
        learned.load_state_dict(tensors)
        return LoadedRun(path, manifest, recipe, dataset, None, learned)
    ordered = bool(manifest["ordered"])
    try:
        denoiser = Denoiser.restore(tensors, manifest["modalities"], shape_of(recipe), ordered=ordered)
    except (KeyError, RuntimeError) as error:  # of an earlier demure, or of another recipe
        raise RunError("holds other weights", where=path / WEIGHTS, remedy="train the run again") from error
    denoiser.to(pick_device(device)).eval()
    train = dataset.histories("train")
    try:
        pool = Pool(**manifest["pool"])
        walk = Walk(**manifest["walk"]) if recipe.collaborative.enabled else None
    except (KeyError, TypeError) as error:
        raise RunError(f"does not say {error}", where=path / MANIFEST, remedy="train the run again") from error
    neighbours, taken_I = None, train.count_items(dataset.n_items)
    if walk is not None:
        neighbours = neighbours_of(train, taken_I, walk, recipe.collaborative.window)
    recommender = Recommender(denoiser, neighbours, pool, taken_I, longest=recipe.training.history)
    return LoadedRun(path, manifest, recipe, dataset, recommender)
