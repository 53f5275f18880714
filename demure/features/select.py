"""The features that a training takes by default: one encoding of each of the items' contents."""

from __future__ import annotations

from pathlib import Path

from demure.errors import FeatureError
from demure.features import store
from demure.features.kinds import KINDS, plural


def default_modalities(dataset_path: Path) -> tuple[list[str], list[str]]:
    """Return the modalities to take, sorted, and the modalities to leave out.

    Encodings of different columns are all taken. Where several encode the same texts (attributes, images), or share a
    column, only the one called ``text`` (``attributes``, ``image``) is taken: two encodings of one text are not two
    reasons to choose an item. Raises ``FeatureError`` where none has that name.
    """
    names = store.names(dataset_path)
    kinds: dict[str, list[str]] = {}
    columns: dict[str, set[str]] = {}
    for name in names:
        manifest = store.read_manifest(dataset_path, name)
        kinds.setdefault(manifest.kind or name, []).append(name)
        columns[name] = set(manifest.columns)
    groups = {
        kind: _overlapping(members, columns) if kind in KINDS else [[name] for name in members]
        for kind, members in kinds.items()
    }
    left_out: list[str] = []
    for kind, kind_groups in groups.items():
        for group in kind_groups:
            if len(group) == 1:
                continue
            if kind not in group:
                raise FeatureError(
                    f"the {plural(kind)} are encoded {len(group)} times ({', '.join(group)})",
                    where=Path(dataset_path) / "features",
                    remedy=f"choose: --set modalities=[{', '.join(_example(groups))}]",
                )
            left_out += [name for name in group if name != kind]
    return [name for name in names if name not in left_out], sorted(left_out)


def _overlapping(names: list[str], columns: dict[str, set[str]]) -> list[list[str]]:
    """Group the names that share columns, directly or through others.

    A modality without columns (an image, audio, an imported text) may encode any content, so that all are in its group.
    """
    if any(not columns[name] for name in names):
        return [names]
    groups: list[list[str]] = []
    for name in names:
        near = [group for group in groups if any(columns[name] & columns[other] for other in group)]
        groups = [group for group in groups if group not in near]
        groups.append(sorted([name, *(other for group in near for other in group)]))
    return groups


def _example(groups: dict[str, list[list[str]]]) -> list[str]:
    """Return one modality of each group."""
    return sorted(kind if kind in group else group[0] for kind, members in groups.items() for group in members)
