"""What a training reads: the histories of a dataset and the latent space of each modality."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from demure.errors import FeatureError, RecipeError
from demure.features import store
from demure.features.normalize import robust
from demure.features.select import by_default
from demure.model.latent import Latent, fit_latent
from demure.model.popularity import without_time

if TYPE_CHECKING:
    from demure.data.dataset import Dataset
    from demure.data.histories import Histories


def latents(dataset: Dataset, wanted: Sequence[str], max_dim: int, timed: Histories | None = None) -> dict[str, Latent]:
    """The latent spaces of the ``wanted`` modalities, by name; see ``by_default`` where none is wanted.

    Raises ``FeatureError`` if the dataset has no features yet, ``RecipeError`` for a modality that it does not have.
    """
    known = store.names(dataset.path)
    if not known:
        raise FeatureError(
            "has no features to judge",
            where=dataset.path,
            remedy=f"run `demure extract {dataset.path}`, or prepare it with --features NAME=FILE.npy",
        )
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise RecipeError(f"the dataset has no modality {name!r}", where="modalities", remedy=remedy)
    spaces = {}
    for name in wanted or by_default(dataset.path)[0]:
        features = store.load(dataset.path, name)
        if features.present.sum() < 2:
            raise FeatureError(
                f"{int(features.present.sum())} of {len(features.present)} items have {name!r}",
                where=dataset.path / "features" / name,
                remedy="leave it out with --set modalities=[...]",
            )
        vectors = robust(features)
        if timed is not None:
            vectors = without_time(vectors, features.present, timed)
        spaces[name] = fit_latent(vectors, features.present, max_dim)
    return spaces
