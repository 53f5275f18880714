"""Encode content that came after `demure extract` exactly as the catalogue's content was encoded.

:class:`ModalityEncoder` is opened once per modality and called many times; it keeps the loaded encoder. The encoder,
its columns and the cleaning of texts are those that ``features.json`` records. An encoder that is fitted on the
catalogue is fitted again on the catalogue, which is deterministic. In every case a few stored vectors are made again
and compared: another model under the same name, or a changed catalogue, does not go unnoticed.

Shapes: N inputs, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from demure.data.dataset import Dataset
from demure.data.feature_manifest import FeatureManifest, read_arrays
from demure.errors import DemureError, FeatureError
from demure.extraction.encoding import inputs_to_fit
from demure.extraction.images import image_inputs
from demure.extraction.inputs import Inputs, ItemProblem, attribute_inputs, text_inputs
from demure.extraction.loading import load_encoder, resolve_encoder
from demure.extraction.media import blank, media_inputs
from demure.extraction.oom import HalvingEncoder
from demure.extraction.protocol import FittedEncoder
from demure.extraction.workers import PreparedFiles, open_decoders
from demure.features import store
from demure.features.kinds import FILES

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

NO_ROOTS: Mapping[str, Path] = MappingProxyType({})
_CHECKED = 4  # stored vectors that are made again
_LEAST_COSINE = 0.99  # between a stored vector and the same made again: 16 bits on a GPU lose less
_WORKERS = 2
_IMAGE_SECONDS = 20.0


@dataclass(frozen=True)
class NewVectors:
    """Raw ``vectors`` (N, D) float32, zero where not ``present`` (N,) bool; ``problems`` say why a row is not."""

    vectors: np.ndarray
    present: np.ndarray
    problems: list[ItemProblem]


class ModalityEncoder:
    """The encoder of one modality of a dataset; make one with :meth:`open`.

    Attributes:
        name: the modality.
        kind: one of ``KINDS``.
        columns: the columns of the items that make the input; empty for files.
    """

    def __init__(self, manifest: FeatureManifest, encoder: Any) -> None:
        self.name, self.kind, self.columns = manifest.name, str(manifest.kind), manifest.columns
        self.dim: int = encoder.dim
        self._side: int | None = getattr(encoder, "pixels_of_a_side", None)
        self._encoder = HalvingEncoder(encoder)

    @classmethod
    def open(cls, dataset: Dataset, name: str, device: str = "auto") -> ModalityEncoder:
        """Load the encoder that made the features ``name`` of ``dataset``, and make a few stored vectors again.

        Raises ``FeatureError`` for features that were imported, or that the encoder does not give again;
        ``ExtractorError`` or ``MachineError`` if it cannot be loaded.
        """
        manifest = store.read_manifest(dataset.path, name)
        if manifest.kind is None:
            raise FeatureError(
                "was imported as vectors, so that no encoder for new content is known",
                where=dataset.path / "features" / name,
                remedy=f"give the vectors: --features {name}=FILE",
            )
        spec, family = resolve_encoder(manifest.encoder, manifest.kind)
        recorded = manifest.provenance.get("preprocessing")
        keywords = {"prompt_text": recorded.get("prompt")} if isinstance(recorded, dict) else {}  # `extract --prompt`
        encoder = load_encoder(spec, family, manifest.kind, "cpu" if family.built_in else device, keywords=keywords)
        if isinstance(encoder, FittedEncoder):
            inputs = _inputs(manifest.kind, dataset.items, manifest.columns, {})
            encoder.fit([inputs.load(k) for k in inputs_to_fit(manifest.kind, inputs).tolist()])
        opened = cls(manifest, encoder)
        opened._verify(dataset, manifest, encoder.identity())
        return opened

    def encode_items(
        self, items: pd.DataFrame, images_root: Path | None = None, media_roots: Mapping[str, Path] = NO_ROOTS
    ) -> NewVectors:
        """Encode the rows of ``items`` (N), a table with the columns of ``Dataset.items``.

        A column that is absent counts as empty. ``image`` names files below ``images_root``, ``audio`` and ``video``
        below the folder of that kind in ``media_roots``, as in the dataset.
        """
        roots = {**media_roots, **({} if images_root is None else {"image": images_root})}
        if self.kind in FILES and (self.kind not in items.columns or self.kind not in roots):
            problems = [ItemProblem(k, f"no {self.kind} given", "") for k in range(len(items))]
            return NewVectors(np.zeros((len(items), self.dim), np.float32), np.zeros(len(items), bool), problems)
        inputs = _inputs(self.kind, items, self.columns, roots)
        if self._side is not None and inputs.reduced is not None:
            inputs = inputs.reduced(self._side)
        vectors, unusable = self._encode_distinct(inputs)
        usable = inputs.index >= 0
        of_items = np.where(usable[:, None], vectors[inputs.index], 0) if len(vectors) else self._nothing(len(items))
        problems = [*inputs.problems]
        problems += [ItemProblem(k, *unusable[i]) for k, i in enumerate(inputs.index.tolist()) if i in unusable]
        return self._with_presence(of_items, problems)

    def encode_texts(self, texts: Sequence[str]) -> NewVectors:
        """Encode texts (N) as they are: one line per column, cleaned (``demure.extraction.inputs.text_inputs``)."""
        return self._encode_each(texts, list)

    def encode_images(self, images: Sequence[Image.Image]) -> NewVectors:
        """Encode decoded RGB images (N)."""
        return self._encode_each(images, lambda batch: [self._encoder.prepare(image) for image in batch])

    def _encode_each(self, inputs: Sequence[Any], prepare: Callable[[Sequence[Any]], list[Any]]) -> NewVectors:
        batch = self._encoder.batch
        parts = [self._encoder.encode(prepare(inputs[start : start + batch])) for start in range(0, len(inputs), batch)]
        return self._with_presence(np.concatenate(parts) if parts else self._nothing(0), [])

    def _encode_distinct(self, inputs: Inputs) -> tuple[np.ndarray, dict[int, tuple[str, str]]]:
        """Return the vectors of the distinct inputs, and number -> problem of those that cannot be used."""
        number, batch = len(inputs.keys), self._encoder.batch
        vectors, unusable = self._nothing(number), dict[int, tuple[str, str]]()
        batches = [(None, list(range(number))[start : start + batch]) for start in range(0, number, batch)]
        if self.kind not in FILES:
            for _, rows in batches:
                vectors[rows] = self._encoder.encode([inputs.load(k) for k in rows])
            return vectors, unusable
        if not batches:
            return vectors, unusable
        decode = PreparedFiles(inputs.load, self._encoder)
        template = np.asarray(self._encoder.prepare(blank(self.kind)))
        decoders = open_decoders(decode, template, batch, min(_WORKERS, number), _IMAGE_SECONDS)
        for _, rows, arrays, problems in decoders.run(iter(batches)):
            unusable |= {k: (kind, value) for k, kind, value in problems}
            if rows:
                vectors[rows] = self._encoder.encode(arrays)
        return vectors, unusable

    def _nothing(self, number: int) -> np.ndarray:
        return np.zeros((number, self.dim), np.float32)

    def _with_presence(self, vectors: np.ndarray, problems: list[ItemProblem]) -> NewVectors:
        finite = np.isfinite(vectors).all(axis=1)
        present = finite & vectors.any(axis=1)
        explained = {problem.item for problem in problems}
        for k in np.flatnonzero(~present).tolist():
            if k not in explained:
                kind = "the encoder knows nothing in it" if finite[k] else "the encoder's vector is not finite"
                problems.append(ItemProblem(k, kind, ""))
        return NewVectors(np.where(present[:, None], vectors, 0).astype(np.float32), present, sorted(problems))

    def _verify(self, dataset: Dataset, manifest: FeatureManifest, identity: dict[str, Any]) -> None:
        """Raise ``FeatureError`` if the encoder does not give a few stored vectors again.

        Where none of them can be made again, as their images are gone, the encoder's identity decides.
        """
        where = dataset.path / "features" / self.name
        arrays = read_arrays(dataset.path, self.name)
        rows = np.flatnonzero(arrays["present"])
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, _CHECKED).astype(np.int64))]
        try:
            few = dataset.items.iloc[rows].reset_index(drop=True)
            again = self.encode_items(few, dataset.images_root, dataset.media_roots)
        except DemureError:  # the folder of files is gone
            again = NewVectors(self._nothing(len(rows)), np.zeros(len(rows), bool), [])
        problem = None
        stored = arrays["vectors"][rows].astype(np.float64)
        if again.vectors.shape != stored.shape:
            problem = f"gives vectors of {again.vectors.shape[1]} dimensions, not {stored.shape[1]}"
        elif again.present.any():
            length = np.linalg.norm(stored, axis=1) * np.linalg.norm(again.vectors, axis=1)
            cosine = (stored * again.vectors).sum(1)[again.present] / length[again.present]
            if cosine.min() < _LEAST_COSINE:
                item = dataset.item_ids[rows[again.present][cosine.argmin()]]
                problem = f"gives item {item!r} another vector than is stored (cosine {cosine.min():.2f})"
        elif any(manifest.provenance.get(key) != value for key, value in identity.items()):
            problem = "is not the one that made these features, or of another version"
        if problem is not None:
            remedy = f"extract again with `demure extract {dataset.path}`, and train again"
            raise FeatureError(f"the encoder {manifest.encoder!r} {problem}", where=where, remedy=remedy)


def _inputs(kind: str, items: pd.DataFrame, columns: list[str], roots: Mapping[str, Path]) -> Inputs:
    if kind == "image":
        return image_inputs(items, roots.get(kind))
    if kind in FILES:
        return media_inputs(kind, items, roots.get(kind))
    items = items.reindex(columns=columns, fill_value=None)
    return attribute_inputs(items, columns) if kind == "attributes" else text_inputs(items, columns)
