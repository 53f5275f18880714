"""Which features a training takes where it is not told: one encoder of the texts, one of the images, and all others."""

from __future__ import annotations

from pathlib import Path

from demure.errors import FeatureError
from demure.features import store
from demure.features.protocol import BUILT_IN


def by_default(dataset_path: Path) -> tuple[list[str], list[str]]:
    """The modalities to take, sorted, and those to leave out.

    Of several that encode the items' texts (or images) only the one that is called ``text`` (``image``) is taken: two
    encodings of one text are not two reasons to choose an item. Raises ``FeatureError`` where none is called so.
    """
    names = store.names(dataset_path)
    kinds: dict[str, list[str]] = {}
    for name in names:
        kind = store.manifest(dataset_path, name).get("provenance", {}).get("kind")
        kinds.setdefault(kind or name, []).append(name)
    left_out: list[str] = []
    for kind, several in kinds.items():
        if kind not in BUILT_IN or len(several) == 1:
            continue
        if kind not in several:
            raise FeatureError(
                f"the {kind}s are encoded {len(several)} times ({', '.join(several)})",
                where=Path(dataset_path) / "features",
                remedy=f"choose: --set modalities=[{', '.join(_pick(names, kinds))}]",
            )
        left_out += [name for name in several if name != kind]
    return [name for name in names if name not in left_out], sorted(left_out)


def _pick(names: list[str], kinds: dict[str, list[str]]) -> list[str]:
    """One of each kind, as an example."""
    taken = {kind if kind in several else several[0] for kind, several in kinds.items()}
    return [name for name in names if name in taken]
