"""Read the features of a dataset as latent spaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from demure.errors import FeatureError, RecipeError
from demure.features import store
from demure.features.constant import leave_out_constant
from demure.features.select import default_modalities
from demure.model.latent import Latent, project_features
from demure.suggest import did_you_mean

if TYPE_CHECKING:
    from demure.data.dataset import Dataset
    from demure.data.histories import Histories


def build_latents(
    dataset: Dataset, modalities: Sequence[str], max_dim: int, timed: Histories | None = None
) -> dict[str, Latent]:
    """Return the latent spaces of ``modalities`` by name, or where there are none, of the default ones.

    Of at most ``max_dim`` dimensions, without the modalities that are alike for all items (``leave_out_constant``).
    With ``timed`` training histories, features lose what they reveal about the time of choices. Raises
    ``FeatureError`` if the dataset has no features yet, hardly an item has them, or all are alike; ``RecipeError`` for
    a modality that the dataset does not have.
    """
    available = store.names(dataset.path)
    if not available:
        raise FeatureError(
            "has no features to diagnose",
            where=dataset.path,
            remedy=f"run `demure extract {dataset.path}`, or prepare it with --features NAME=FILE.npy",
        )
    for name in modalities:
        if name not in available:
            remedy = did_you_mean(name, available) or f"known: {', '.join(available)}"
            raise RecipeError(f"the dataset has no modality {name!r}", where="modalities", remedy=remedy)
    latents = {}
    for name in leave_out_constant(dataset.path, modalities or default_modalities(dataset.path)[0]):
        features = store.load(dataset.path, name)
        if features.present.sum() < 2:
            raise FeatureError(
                f"{int(features.present.sum())} of {len(features.present)} items have {name!r}",
                where=dataset.path / "features" / name,
                remedy="leave it out with --set modalities=[...]",
            )
        latents[name] = project_features(features, max_dim, timed)
    return latents
