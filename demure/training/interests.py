"""Name the interests at the end of a training, from the texts and pictures of the items that they explain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from demure.diagnosis.interests.colours import distinctive_colours
from demure.diagnosis.interests.concepts import encode_concepts, is_clip, nearest_concepts
from demure.diagnosis.interests.naming import (
    NO_DESCRIPTION,
    are_without_description,
    compose_names,
    distinctive_terms,
    item_texts,
)
from demure.diagnosis.interests.stored import StoredInterest, write_interests
from demure.diagnosis.table import DiagnosisTable
from demure.diagnosis.worklist.item_texts import ItemTexts
from demure.errors import DemureError, RunError
from demure.features import store
from demure.features.kinds import recorded_kind
from demure.images.files import ImageFolder
from demure.integrity import CheckedFolder
from demure.progress import Listener, Notice, silent

if TYPE_CHECKING:
    from demure.data.dataset import Dataset
    from demure.training.placebo import Placebo

_IMAGE, _TEXT = "image", "text"


def describe_interests(
    dataset: Dataset,
    folder: Path,
    manifests: Mapping[str, Mapping[str, Any]],
    sizes: Mapping[str, int],
    placebos: Mapping[str, Placebo],
    listener: Listener = silent,
) -> None:
    """Write interests.json into ``folder``, which has the diagnosis already.

    ``manifests`` of the features of every modality; ``sizes``: modality -> number of its clusters.
    """
    table = DiagnosisTable.read(CheckedFolder(folder, None, RunError, "train again"))
    code = {str(item): row for row, item in enumerate(dataset.item_ids)}
    row_of_item = np.array([code[str(item)] for item in table.item_ids])
    texts = item_texts(dataset.items, [*dataset.text_columns, *dataset.attribute_columns])
    has_placeholder = ItemTexts.of(dataset.items, dataset.text_columns).placeholders()
    if not len(has_placeholder):  # no texts at all
        has_placeholder = np.zeros(dataset.n_items, bool)
    interests = {}
    for m, name in enumerate(table.modalities):
        weight_CI = np.zeros((sizes[name], dataset.n_items))
        present = table.present[:, m]
        items = row_of_item[table.item[present]]
        np.add.at(weight_CI, (table.interest[present, m], items), table.probability[present, m])
        terms = distinctive_terms(weight_CI, texts)
        kind = recorded_kind(name, manifests[name])
        bare = are_without_description(weight_CI, has_placeholder) if kind == _TEXT else [False] * sizes[name]
        terms = [[] if is_bare else own for is_bare, own in zip(bare, terms, strict=True)]
        is_image = kind == _IMAGE
        colours = distinctive_colours(weight_CI, _pictures(dataset)) if is_image else None
        concepts = _concepts(dataset, name, manifests[name], weight_CI, listener) if is_image else None
        composed = zip(bare, compose_names(terms, colours, concepts), strict=True)
        names = [NO_DESCRIPTION if is_bare else own for is_bare, own in composed]
        measured = placebos[name].interests
        interests[name] = [
            StoredInterest(
                c,
                names[c],
                [term.term for term in terms[c]],
                [] if colours is None else colours[c],
                measured[c] if measured else None,
                [] if concepts is None else concepts[c],
            )
            for c in range(sizes[name])
        ]
    write_interests(folder, interests)


def _concepts(
    dataset: Dataset, name: str, manifest: Mapping[str, Any], weight_CI: np.ndarray, listener: Listener
) -> list[list[str]] | None:
    """Return concept words for each interest; None unless a CLIP model that is here made the features."""
    if not is_clip(manifest):
        return None
    try:
        words = encode_concepts(manifest)
    except DemureError as error:
        text = f"interests in {name!r} are named by colours and words, not by what pictures show: {error}"
        listener(Notice("name the interests", 0, text=text))
        return None
    features = store.load(dataset.path, name)
    return nearest_concepts(weight_CI, features.vectors.astype(np.float64), features.present, words)


def _pictures(dataset: Dataset) -> list[Path | None]:
    if dataset.images_root is None or "image" not in dataset.items.columns:
        return [None] * dataset.n_items
    images = ImageFolder(dataset.images_root)
    return [images.find(name) for name in dataset.items["image"]]
