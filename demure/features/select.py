"""Which features a training takes where it is not told: one encoding of each of the items' contents."""

from __future__ import annotations

from pathlib import Path

from demure.errors import FeatureError
from demure.features import store
from demure.features.kinds import BUILT_IN, plural


def by_default(dataset_path: Path) -> tuple[list[str], list[str]]:
    """The modalities to take, sorted, and those to leave out.

    Encodings of different columns are all taken. Of several that encode the same texts (attributes, images), or share
    a column, only the one that is called ``text`` (``attributes``, ``image``) is: two encodings of one text are not two
    reasons to choose an item. Raises ``FeatureError`` where none is called so.
    """
    names = store.names(dataset_path)
    kinds: dict[str, list[str]] = {}
    columns: dict[str, set[str]] = {}
    for name in names:
        provenance = store.manifest(dataset_path, name).get("provenance", {})
        kinds.setdefault(provenance.get("kind") or name, []).append(name)
        columns[name] = set((provenance.get("input") or {}).get("columns") or ())
    groups = {
        kind: _overlapping(several, columns) if kind in BUILT_IN else [[name] for name in several]
        for kind, several in kinds.items()
    }
    left_out: list[str] = []
    for kind, of_kind in groups.items():
        for group in of_kind:
            if len(group) == 1:
                continue
            if kind not in group:
                raise FeatureError(
                    f"the {plural(kind)} are encoded {len(group)} times ({', '.join(group)})",
                    where=Path(dataset_path) / "features",
                    remedy=f"choose: --set modalities=[{', '.join(_pick(groups))}]",
                )
            left_out += [name for name in group if name != kind]
    return [name for name in names if name not in left_out], sorted(left_out)


def _overlapping(names: list[str], columns: dict[str, set[str]]) -> list[list[str]]:
    """Groups of names that share columns, directly or through others. One without columns (an image, an imported text)
    may be of anything, so that all are in its group."""
    if any(not columns[name] for name in names):
        return [names]
    groups: list[list[str]] = []
    for name in names:
        near = [group for group in groups if any(columns[name] & columns[other] for other in group)]
        groups = [group for group in groups if group not in near]
        groups.append(sorted([name, *(other for group in near for other in group)]))
    return groups


def _pick(groups: dict[str, list[list[str]]]) -> list[str]:
    """One of each group, as an example."""
    return sorted(kind if kind in group else group[0] for kind, of_kind in groups.items() for group in of_kind)
