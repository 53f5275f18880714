"""Content that came after a training, in the latent coordinates of the run.

Open a :class:`ContentEncoder` once per run and call it many times, also for many variants of one item::

    encoder = ContentEncoder(loaded)                    # loaded: demure.runs.load.LoadedRun
    encoder.encode_texts("text", texts)                 # (N) texts as they are, cleaned and joined
    encoder.encode_images("image", images)              # (N) decoded RGB images (PIL)
    encoder.encode_items(frame, images_root)            # modality -> content, from a table like Dataset.items
    encoder.project("audio", vectors, present)          # raw vectors of any origin

Each gives an :class:`EncodedContent`: raw vectors, coordinates and presence. For a variant of an item of the dataset,
``of_items`` (N,) names the items: their coordinates then lose what the item's features tell of the time of its
choices, as in training.

Shapes: N inputs, d columns of the raw features, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demure.errors import FeatureError, RunError
from demure.extraction.inputs import ItemProblem
from demure.extraction.new_content import NO_ROOTS, ModalityEncoder, NewVectors
from demure.features import store
from demure.model.latent import Projection, project_features, projections_from
from demure.model.popularity import fit_periods
from demure.runs.folder import PROJECTION
from demure.runs.load import load_tensors, verify_features
from demure.runs.manifest import run_files

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from demure.model.denoiser import Denoiser
    from demure.runs.load import LoadedRun

_SAME = 1e-3  # of coordinates of unit variance that were computed again


@dataclass(frozen=True)
class EncodedContent:
    """New content of one modality.

    ``vectors`` (N, d) raw, as the feature store keeps them; ``coordinates`` (N, D) latent; ``present`` (N,) bool;
    ``problems``: why a row is not present.
    """

    vectors: np.ndarray
    coordinates: np.ndarray
    present: np.ndarray
    problems: list[ItemProblem]


class ContentEncoder:
    """Encodes new content for the run ``loaded``; encoders are loaded when they are first needed, on ``device``.

    Raises ``RunError`` for a baseline, ``FeatureError`` if the dataset's features are not those of the training.
    """

    def __init__(self, loaded: LoadedRun, device: str = "auto") -> None:
        if loaded.recommender is None:
            raise RunError(
                f"was made by {loaded.recipe.name}, which cannot take new content",
                where=loaded.path,
                remedy="train with the recipe default",
            )
        self.loaded, self.device = loaded, device
        self.denoiser: Denoiser = loaded.recommender.denoiser
        self.modalities = list(loaded.manifest.modalities)
        verify_features(loaded.path, loaded.manifest, loaded.dataset, self.modalities)
        self._encoders: dict[str, ModalityEncoder] = {}
        self._stored: dict[str, store.Features] = {}

    @cached_property
    def projections(self) -> dict[str, Projection]:
        """Modality -> projection; of a run of an early version, computed again from the dataset's features."""
        loaded = self.loaded
        files = run_files(loaded.path, loaded.manifest)
        if files.has(PROJECTION):
            try:
                return projections_from(load_tensors(files, PROJECTION), self.modalities)
            except KeyError as error:
                raise RunError(f"does not hold {error}", where=loaded.path / PROJECTION) from error
        train, max_dim = loaded.dataset.histories("train"), loaded.recipe.denoiser.max_dim
        has_periods = loaded.recipe.denoiser.rivals and len(
            fit_periods(train.items, train.times, loaded.dataset.n_items).starts
        )
        projections = {}
        for name, expert in zip(self.modalities, self.denoiser.experts(), strict=True):
            latent = project_features(self.stored(name), max_dim, train if has_periods else None)
            trained = expert.coordinates_ID.cpu().numpy()
            if latent.coordinates.shape != trained.shape or np.abs(latent.coordinates - trained).max() > _SAME:
                raise RunError(
                    f"is of an earlier demure, and its coordinates of {name!r} cannot be computed again",
                    where=loaded.path,
                    remedy="train the run again",
                )
            assert latent.projection is not None
            projections[name] = latent.projection
        return projections

    def stored(self, name: str) -> store.Features:
        """Return the raw features of the catalogue."""
        if name not in self._stored:
            self._stored[name] = store.load(self.loaded.dataset.path, name)
        return self._stored[name]

    def encoder(self, name: str) -> ModalityEncoder:
        """Return the encoder of a modality. Raises as :meth:`ModalityEncoder.open`, and for an unknown modality."""
        if name not in self.modalities:
            names = ", ".join(self.modalities)
            raise RunError(f"has no modality {name!r}", where=self.loaded.path, remedy=f"there are: {names}")
        if name not in self._encoders:
            self._encoders[name] = ModalityEncoder.open(self.loaded.dataset, name, self.device)
        return self._encoders[name]

    def of_kind(self, kind: str) -> list[str]:
        """Return the modalities of the run that encode a kind of content: ``"text"``, ``"image"``, ``"attributes"``."""
        manifests = {name: store.read_manifest(self.loaded.dataset.path, name) for name in self.modalities}
        return [name for name, manifest in manifests.items() if manifest.kind == kind]

    def encode_items(
        self,
        items: pd.DataFrame,
        images_root: Path | None = None,
        vectors: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
        of_items: np.ndarray | None = None,
        media_roots: Mapping[str, Path] = NO_ROOTS,
    ) -> dict[str, EncodedContent]:
        """Encode the rows (N) of a table with the columns of ``Dataset.items``, in every modality of the run.

        The columns ``audio`` and ``video`` name files below the folder of that kind in ``media_roots``.
        ``vectors``: modality -> raw vectors (N, d) and presence (N,) that are given. A modality whose features were
        imported, and that ``vectors`` does not have, is missing for all rows.
        """
        raw = vectors or {}
        unknown = next((name for name in raw if name not in self.modalities), None)
        if unknown is not None:
            names = ", ".join(self.modalities)
            raise FeatureError(f"the run has no modality {unknown!r}", where="--features", remedy=f"there are: {names}")
        content = {}
        for name in self.modalities:
            if name in raw:
                content[name] = self.project(name, *raw[name], of_items=of_items)
            elif store.read_manifest(self.loaded.dataset.path, name).kind is None:
                dim = self.stored(name).vectors.shape[1]
                nothing = np.zeros((len(items), dim), np.float32), np.zeros(len(items), bool)
                problems = [ItemProblem(k, "no vector given", "") for k in range(len(items))]
                content[name] = self._project(name, NewVectors(*nothing, problems), of_items)
            else:
                encoded = self.encoder(name).encode_items(items, images_root, media_roots)
                content[name] = self._project(name, encoded, of_items)
        return content

    def encode_pictures(
        self, name: str, items: pd.DataFrame, images_root: Path, of_items: np.ndarray | None = None
    ) -> EncodedContent:
        """Encode the files that the column ``image`` of the rows (N) names, below ``images_root``, in one modality."""
        return self._project(name, self.encoder(name).encode_items(items, images_root), of_items)

    def encode_texts(self, name: str, texts: Sequence[str], of_items: np.ndarray | None = None) -> EncodedContent:
        """Encode texts (N) as they are: one line per column, cleaned."""
        return self._project(name, self.encoder(name).encode_texts(texts), of_items)

    def encode_images(
        self, name: str, images: Sequence[Image.Image], of_items: np.ndarray | None = None
    ) -> EncodedContent:
        """Encode decoded RGB images (N)."""
        return self._project(name, self.encoder(name).encode_images(images), of_items)

    def project(
        self, name: str, vectors: np.ndarray, present: np.ndarray, of_items: np.ndarray | None = None
    ) -> EncodedContent:
        """Return raw ``vectors`` (N, d) with their coordinates. Raises ``FeatureError`` for another d."""
        columns = len(self.projections[name].scale.centre)
        if vectors.shape[1] != columns:
            raise FeatureError(
                f"the vectors of {name!r} have {vectors.shape[1]} numbers, those of the dataset {columns}",
                where="--features",
                remedy="make them with the encoder that made those of the dataset",
            )
        return self._project(name, NewVectors(vectors, present, []), of_items)

    def _project(self, name: str, new: NewVectors, of_items: np.ndarray | None) -> EncodedContent:
        coordinates = self.projections[name].apply(new.vectors, new.present)
        if of_items is not None:
            coordinates = coordinates - self._time_trend(name, of_items) * new.present[:, None]
        return EncodedContent(new.vectors, coordinates, new.present, new.problems)

    def _time_trend(self, name: str, items: np.ndarray) -> np.ndarray:
        """Return the coordinates (N, D) that training took from these items as telling the time of their choices.

        The projection is affine, so this is the difference between the item's projected features and its coordinates.
        """
        features, trained = self.stored(name), self._trained(name)
        vectors, present = features.vectors[items], features.present[items]
        trend: np.ndarray = (self.projections[name].apply(vectors, present) - trained[items]) * present[:, None]
        return trend

    def _trained(self, name: str) -> np.ndarray:
        expert = self.denoiser.experts()[self.modalities.index(name)]
        return expert.coordinates_ID.cpu().numpy()
