"""Words for what the pictures of an interest show, by a CLIP model: the nearest of a shipped list of concept words.

Texts and pictures of CLIP lie apart, and some words are near to every picture (Liang et al., "Mind the Gap", NeurIPS
2022). So a word counts by how much nearer it is to the pictures of an interest than to those of the other interests.

Shape suffixes: C interests, I items, D dimensions of the encoder, W concept words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from demure.errors import DemureError
from demure.extraction.loading import load_encoder, resolve_encoder, without_download
from demure.extraction.protocol import TextEncoder

_FAMILY = "clip"
_PROMPT = "a picture of {}"
_SAME_MODEL = ("files_sha256", "architecture", "tag", "revision")
_MIN_Z = 2.0  # standard deviations over all words
_NAMED = 2
_BATCH = 64


def concept_words() -> list[str]:
    """Return the shipped list, in its order."""
    lines = resources.files(__package__).joinpath("concepts.txt").read_text(encoding="utf-8").splitlines()
    return [word.strip() for line in lines if not line.startswith("#") for word in line.split(",")]


def is_clip(manifest: Mapping[str, Any]) -> bool:
    """Return whether a CLIP model made the features of this manifest."""
    return str((manifest.get("provenance") or {}).get("encoder", "")).startswith(f"{_FAMILY}:")


def load_text_tower(manifest: Mapping[str, Any]) -> TextEncoder:
    """Return the text tower of the CLIP model that made the features of this manifest.

    Raises ``DemureError`` if the model cannot be loaded here without a download, or is not the same any more.
    """
    provenance = manifest["provenance"]
    spec, family = resolve_encoder(provenance["encoder"], "text")
    with without_download():
        encoder: TextEncoder = load_encoder(spec, family, "text", "cpu")
    identity = encoder.identity()
    other = next((key for key in _SAME_MODEL if identity.get(key) != provenance.get(key)), None)
    if other is not None:
        raise DemureError(f"is not the model that made the features ({other} differs)", where=str(spec))
    return encoder


def encode_phrases(text_tower: TextEncoder, phrases: Sequence[str]) -> np.ndarray:
    """Return what pictures of these ``phrases`` (W,) would be for the model, (W, D) with rows of length 1."""
    prompts = [_PROMPT.format(phrase) for phrase in phrases]
    parts = [text_tower.encode(prompts[start : start + _BATCH]) for start in range(0, len(prompts), _BATCH)]
    vectors: np.ndarray = np.concatenate(parts)
    return vectors


def encode_concepts(manifest: Mapping[str, Any]) -> np.ndarray:
    """Return the concept words (W, D) as :func:`encode_phrases`; raises as :func:`load_text_tower`."""
    return encode_phrases(load_text_tower(manifest), concept_words())


def nearest_concepts(
    weight_CI: np.ndarray, vectors_ID: np.ndarray, present_I: np.ndarray, word_WD: np.ndarray
) -> list[list[str]]:
    """Return up to two concept words for each interest, nearest first.

    ``weight_CI`` as in :func:`demure.diagnosis.interests.naming.distinctive_terms`; ``vectors_ID``: the features of the
    items, of length 1, where they are ``present_I``.
    """
    damped_CI = np.log1p(weight_CI) * present_I
    total_C = damped_CI.sum(1)
    shown = total_C > 0
    words: list[list[str]] = [[] for _ in weight_CI]
    if shown.sum() < 2:  # nothing to compare with
        return words
    centroid_CD = damped_CI[shown] @ vectors_ID / total_C[shown, None]
    nearness_CW = (centroid_CD - centroid_CD.mean(0)) @ word_WD.T
    nearness_CW -= nearness_CW.mean(1, keepdims=True)
    z_CW = nearness_CW / np.maximum(nearness_CW.std(1, keepdims=True), 1e-9)
    names = concept_words()
    for c, own_W in zip(np.flatnonzero(shown), z_CW, strict=True):
        words[c] = [names[w] for w in np.argsort(-own_W, kind="stable")[:_NAMED] if own_W[w] >= _MIN_Z]
    return words
