"""Name the interests at the end of a training, from the texts and pictures of the items that they explain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demure.diagnosis.interests.colours import distinctive_colours
from demure.diagnosis.interests.naming import compose_names, distinctive_terms, item_texts
from demure.diagnosis.interests.stored import StoredInterest, write_interests
from demure.diagnosis.table import DiagnosisTable
from demure.errors import RunError
from demure.images.files import ImageFolder
from demure.integrity import CheckedFolder

if TYPE_CHECKING:
    from demure.data.dataset import Dataset
    from demure.training.placebo import Placebo

_IMAGE = "image"


def describe_interests(
    dataset: Dataset, folder: Path, kinds: Mapping[str, str], sizes: Mapping[str, int], placebos: Mapping[str, Placebo]
) -> None:
    """Write interests.json into ``folder``, which has the diagnosis already.

    ``kinds``: modality -> image, text or another kind; ``sizes``: modality -> number of its clusters.
    """
    table = DiagnosisTable.read(CheckedFolder(folder, None, RunError, "train again"))
    code = {str(item): row for row, item in enumerate(dataset.item_ids)}
    row_of_item = np.array([code[str(item)] for item in table.item_ids])
    texts = item_texts(dataset.items, [*dataset.text_columns, *dataset.attribute_columns])
    interests = {}
    for m, name in enumerate(table.modalities):
        weight_CI = np.zeros((sizes[name], dataset.n_items))
        present = table.present[:, m]
        items = row_of_item[table.item[present]]
        np.add.at(weight_CI, (table.interest[present, m], items), table.probability[present, m])
        terms = distinctive_terms(weight_CI, texts)
        colours = distinctive_colours(weight_CI, _pictures(dataset)) if kinds.get(name) == _IMAGE else None
        names = compose_names(terms, colours)
        measured = placebos[name].interests
        interests[name] = [
            StoredInterest(
                c,
                names[c],
                [term.term for term in terms[c]],
                [] if colours is None else colours[c],
                measured[c] if measured else None,
            )
            for c in range(sizes[name])
        ]
    write_interests(folder, interests)


def _pictures(dataset: Dataset) -> list[Path | None]:
    if dataset.images_root is None or "image" not in dataset.items.columns:
        return [None] * dataset.n_items
    images = ImageFolder(dataset.images_root)
    return [images.find(name) for name in dataset.items["image"]]
