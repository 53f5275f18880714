"""interests.json of a run: the name of each interest, and how far it lies above its placebo."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demure.files import write_json
from demure.runs.folder import INTERESTS
from demure.schema import SchemaError, build

if TYPE_CHECKING:
    from demure.integrity import CheckedFolder


@dataclass(frozen=True)
class InterestPlacebo:
    """One interest with the features of its modality permuted among the items.

    ``share`` of the choices that it then explains; ``excess`` of the share with the true features, with its 95 %
    interval ``low`` to ``high`` over users and permutations.
    """

    share: float = 0.0
    excess: float = 0.0
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class StoredInterest:
    """A cluster of one modality. ``cluster``: its number in the model; ``words``, ``colours`` and ``concepts``: what
    sets it apart (``concepts``: what its pictures show, by a CLIP model); ``placebo``: None for a modality that is not
    admitted."""

    cluster: int
    name: str
    words: list[str] = field(default_factory=list)
    colours: list[str] = field(default_factory=list)
    placebo: InterestPlacebo | None = None
    concepts: list[str] = field(default_factory=list)


def write_interests(folder: Path, interests: Mapping[str, Sequence[StoredInterest]]) -> None:
    """Write the interests of each modality, in the order of their clusters, into a run folder."""
    write_json(folder / INTERESTS, {name: [asdict(interest) for interest in own] for name, own in interests.items()})


def read_interests(files: CheckedFolder) -> dict[str, list[StoredInterest]] | None:
    """Return the interests of each modality; None for a run of an earlier version, which does not have any.

    Raises ``RunError`` if the file was changed or is damaged.
    """
    if not files.has(INTERESTS):
        return None
    try:
        content: Any = json.loads(files.text(INTERESTS))
        return {str(name): [build(StoredInterest, entry) for entry in own] for name, own in content.items()}
    except (ValueError, AttributeError, TypeError, SchemaError) as error:
        raise files.failed(INTERESTS, error) from error
