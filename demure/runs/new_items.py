"""Items that came after a training, scored by their content among the items of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demure.extraction.inputs import ItemProblem
from demure.features import store
from demure.model.new_items import NewContent, add_items
from demure.preparation.new_items import NewItems, read_new_items
from demure.runs.new_content import ContentEncoder, EncodedContent

if TYPE_CHECKING:
    import pandas as pd

    from demure.runs.load import LoadedRun

_SHOWN = 3  # items that a note names


@dataclass(frozen=True)
class ExtendedRun:
    """A run ``loaded`` with the new items ``frame`` after its own; ``notes`` say what they lack, a sentence each."""

    loaded: LoadedRun
    frame: pd.DataFrame
    notes: list[str]


def with_new_items(
    loaded: LoadedRun,
    items: Path | pd.DataFrame,
    images: Path | None = None,
    features: Mapping[str, Path] | None = None,
    device: str = "auto",
) -> ExtendedRun:
    """Return the run with the items of a file or frame that its dataset does not have; nothing is trained.

    The arguments are those of :func:`demure.preparation.new_items.read_new_items`. Raises ``RunError`` for a baseline,
    and for what the encoders and the file can lack.
    """
    encoder = ContentEncoder(loaded, device)
    new = read_new_items(items, loaded.dataset, images, features)
    content = encoder.encode_items(new.frame, new.images_root, new.vectors, media_roots=new.media_roots)
    return ExtendedRun(extend(encoder, new.ids, content), new.frame, [*new.notes, *_notes(encoder, new, content)])


def extend(encoder: ContentEncoder, item_ids: np.ndarray, content: Mapping[str, EncodedContent]) -> LoadedRun:
    """Return the run of ``encoder`` with new items of this ``content`` (N rows for every modality)."""
    model = encoder.loaded.recommender
    assert model is not None
    by_modality = {}
    for name, part in content.items():
        projection = encoder.projections[name]
        spread = projection.axes.spread.astype(np.float32)
        new = NewContent(part.coordinates, part.present, spread)
        if model.content_items is not None:
            features = encoder.stored(name)
            new = replace(
                new,
                vectors_Id=projection.scale.apply(features.vectors, features.present),
                present_I=features.present,
                new_vectors_Nd=projection.scale.apply(part.vectors, part.present),
            )
        by_modality[name] = new
    return replace(encoder.loaded, recommender=add_items(model, by_modality), new_item_ids=item_ids)


def _notes(encoder: ContentEncoder, new: NewItems, content: Mapping[str, EncodedContent]) -> list[str]:
    """Return what the new items lack, a sentence for each modality."""
    notes, number = [], len(new.ids)
    for name, part in content.items():
        manifest = store.read_manifest(encoder.loaded.dataset.path, name)
        absent = [column for column in manifest.columns if column not in new.frame.columns]
        if absent and manifest.kind is not None:
            notes.append(f"{name}: the items have no column {', '.join(absent)}, which counts as empty")
        missing = int((~part.present).sum())
        if not missing:
            continue
        if manifest.kind is None and name not in new.vectors:
            reason = f"it was imported as vectors: give --features {name}=FILE"
        else:
            reason = _reasons(part.problems, new.ids) or "the vectors are zero or not finite"
        notes.append(f"{name}: {missing} of {number} new items lack it ({reason})")
    bare = new.ids[~np.any([part.present for part in content.values()], axis=0)]
    if len(bare):
        more = f" and {len(bare) - _SHOWN} more" if len(bare) > _SHOWN else ""
        notes.append(
            f"{', '.join(bare[:_SHOWN])}{more}: no content that the run can use, so that only the popularity of "
            "new items counts"
        )
    return notes


def _reasons(problems: list[ItemProblem], ids: np.ndarray) -> str:
    """Return the kinds of problems with their numbers, and the first value of each."""
    counts = Counter(problem.kind for problem in problems)
    first = {problem.kind: problem for problem in reversed(problems)}
    return ", ".join(
        f"{kind}: {count}, first {ids[first[kind].item]}" + (f" ({first[kind].value})" if first[kind].value else "")
        for kind, count in counts.most_common()
    )
