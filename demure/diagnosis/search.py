"""Items whose content is nearest to words: a text search by vector.

The words are encoded as new content is, by the encoder of each modality of texts. Pictures that a CLIP model encoded
are searched by the model's text tower. The cosines are those of ``DiagnosisReader.unit_features``, the features scaled
as for training, by which the items of a page are similar: the coordinates of a run are whitened, which makes the
directions large about which a few words say nothing (benchmarks/LOG.md).

Shapes: I items, D dimensions of the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from demure.data.dataset import Dataset
from demure.data.feature_manifest import FeatureManifest
from demure.diagnosis.interests.concepts import concept_words, encode_phrases, is_clip, load_text_tower
from demure.errors import DemureError, FeatureError
from demure.extraction.cleaning import clean
from demure.extraction.new_content import ModalityEncoder
from demure.features import store
from demure.features.normalize import fit_robust_scale

Encode = Callable[[Sequence[str]], np.ndarray]
"""Phrases (n,) -> rows of length 1 among the scaled features (n, D); zero where the encoder knows nothing in one."""
_MOST_WORDS = 50  # that are looked at one by one
_NONE_KNOWN = "the encoder knows none of these words: few of the items have them, or most do."


@dataclass(frozen=True)
class Match:
    """An item and the cosine between its content and the words."""

    item_id: str
    similarity: float


@dataclass(frozen=True)
class SearchResult:
    """``matches``: modality -> items, nearest first; ``notes``: what could not be searched, and unknown words."""

    matches: dict[str, list[Match]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class ContentSearch:
    """Searches the content of a dataset in the ``modalities``; encoders are loaded at their first use and kept.

    ``unit_features``: modality -> (I, D) as of ``DiagnosisReader``, where they are in memory already.
    """

    def __init__(
        self,
        dataset: Dataset,
        modalities: Sequence[str],
        device: str = "auto",
        unit_features: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.dataset, self.modalities, self.device = dataset, list(modalities), device
        self._unit = dict(unit_features or {})
        self._encoders: dict[str, Encode | str] = {}

    def nearest(
        self, words: str, modality: str = "", top: int = 20, among: Collection[str] | None = None
    ) -> SearchResult:
        """Return up to ``top`` items of each modality, or of one, whose content is nearest to the words.

        ``among``: ids of the items to search, all by default. Raises ``DemureError`` for words that are empty, ``top``
        below 1, and an unknown modality.
        """
        if not isinstance(words, str) or not (words := clean(words)):
            raise DemureError("there are no words to search for", where="search", remedy="give some words, as a text")
        if not isinstance(top, int) or top < 1:
            raise DemureError(f"{top} items cannot be listed", where="top", remedy="give 1 or more")
        if modality and modality not in self.modalities:
            remedy = f"there are: {', '.join(self.modalities) or 'none'}"
            raise DemureError(f"there is no modality {modality!r}", where="search", remedy=remedy)
        result = SearchResult()
        names = [modality] if modality else self.modalities
        encoders = {name: self._encoder(name) for name in names}
        for name, encode in encoders.items():
            if isinstance(encode, str):
                # Pictures that nothing can search by words are mentioned where there is nothing else.
                if self._reads_words(name) or all(isinstance(other, str) for other in encoders.values()):
                    result.notes.append(encode)
                continue
            vector, *of_words = encode([words, *list(dict.fromkeys(words.split()))[:_MOST_WORDS]])
            unknown = [word for word, own in zip(dict.fromkeys(words.split()), of_words, strict=False) if not own.any()]
            if not vector.any():
                result.notes.append(f"{name}: {_NONE_KNOWN}")
            elif unknown:
                listed = ", ".join(f"“{word}”" for word in unknown)
                result.notes.append(f"{name}: the encoder does not know {listed}, which the search leaves out.")
            result.matches[name] = self._matches(name, vector, top, among)
        if not names:
            result.notes.append("The run has no content to search.")
        return result

    def _matches(self, name: str, vector: np.ndarray, top: int, among: Collection[str] | None) -> list[Match]:
        cosine = self._unit[name] @ vector
        ids = self.dataset.item_ids
        rows = np.arange(len(ids)) if among is None else np.flatnonzero([str(item) in among for item in ids])
        best = rows[np.argsort(-cosine[rows], kind="stable")[:top]]
        return [Match(str(ids[k]), min(float(cosine[k]), 1.0)) for k in best if cosine[k] > 0]

    def _reads_words(self, name: str) -> bool:
        try:
            manifest = store.read_manifest(self.dataset.path, name)
        except FeatureError:
            return False
        return manifest.kind == "text" or is_clip(manifest.to_dict())

    def _encoder(self, name: str) -> Encode | str:
        """Return what encodes words for a modality, or the sentence that says why nothing does."""
        if name not in self._encoders:
            try:
                self._encoders[name] = self._load(name, store.read_manifest(self.dataset.path, name))
            except DemureError as error:
                self._encoders[name] = f"{name}: it cannot be searched, since its encoder is not available ({error})."
        return self._encoders[name]

    def _load(self, name: str, manifest: FeatureManifest) -> Encode | str:
        if manifest.kind is None:
            return f"{name}: it cannot be searched, since it was imported as vectors, without an encoder for words."
        if manifest.kind != "text" and not is_clip(manifest.to_dict()):
            remedy = "; a CLIP model would (`demure extract DATASET --image clip:MODEL`)"
            return (
                f"{name}: it cannot be searched, since its encoder ({manifest.encoder}) does not read words"
                f"{remedy if manifest.kind == 'image' else ''}."
            )
        features = store.load(self.dataset.path, name)
        scale = fit_robust_scale(features)
        if name not in self._unit:
            self._unit[name] = _unit(scale.apply(features.vectors, features.present))
        if manifest.kind == "text":
            encoder = ModalityEncoder.open(self.dataset, name, self.device)

            def encode(phrases: Sequence[str]) -> np.ndarray:
                new = encoder.encode_texts(phrases)
                return _unit(scale.apply(new.vectors, new.present))

            return encode
        tower = load_text_tower(manifest.to_dict())
        # Texts of CLIP lie apart from pictures, so a phrase counts by how it differs from phrases in general.
        usual = encode_phrases(tower, concept_words()).mean(0)
        return lambda phrases: _unit((encode_phrases(tower, phrases) - usual) / scale.scale)


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: np.ndarray = np.where(lengths > 1e-9, rows / np.maximum(lengths, 1e-9), 0.0).astype(np.float32)
    return scaled
