"""The log of `demure images fetch`: the outcome of every image, a line each, so that the next run can continue."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from demure.errors import DemureError
from demure.files import cannot_write

LOG = "fetched.jsonl"
SUFFIXES = {  # of the formats that are kept
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "AVIF": ".avif",
}
IMAGE_SUFFIXES = {*SUFFIXES.values(), ".jpeg", ".tiff"}
_LONGEST = 80
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(1, 10))}  # on Windows


@dataclass(frozen=True)
class FetchOutcome:
    """The outcome of one image of one item.

    ``file``: the image's name in the folder; where None, ``reason`` says why, and ``final`` whether another request
    would not help.
    """

    item_id: str
    url: str
    file: str | None
    bytes: int = 0
    reason: str = ""
    final: bool = False


def image_stem(item_id: str) -> str:
    """Return the name of an item's image, without suffix: its id, or ``hashed_stem`` if the id is not a file name."""
    is_name = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", item_id) and len(item_id) <= _LONGEST
    return item_id if is_name and item_id.lower() not in _DEVICES else hashed_stem(item_id)


def hashed_stem(item_id: str) -> str:
    """Return a name that no other item's image has, on any system: the id, shortened, and a hash."""
    kept = re.sub(r"[^A-Za-z0-9_-]+", "-", item_id)[:40].strip("-")
    return f"{kept}-{hashlib.sha256(item_id.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def image_stems(item_ids: Iterable[str]) -> dict[str, str]:
    """Return the name of each item's image; names that differ in case alone are one file on some systems, so these
    items get a ``hashed_stem``."""
    stems = {item_id: image_stem(item_id) for item_id in item_ids}
    counts = Counter(stem.lower() for stem in stems.values())
    return {item_id: stem if counts[stem.lower()] == 1 else hashed_stem(item_id) for item_id, stem in stems.items()}


class FetchLog:
    """The log in a folder. Lines that a killed run left unfinished, or that demure cannot have written, are ignored."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG
        self._handle: IO[str] | None = None

    def read(self) -> dict[tuple[str, str], FetchOutcome]:
        """Return (item, URL) -> its last outcome; an image that another URL has replaced since is not among them."""
        outcomes: dict[tuple[str, str], FetchOutcome] = {}
        owners: dict[str, tuple[str, str]] = {}
        for outcome in self._outcomes():
            key = outcome.item_id, outcome.url
            outcomes[key] = outcome
            if outcome.file is not None:
                replaced = owners.get(outcome.file, key)
                if replaced != key:
                    outcomes.pop(replaced, None)
                owners[outcome.file] = key
        return outcomes

    def _outcomes(self) -> Iterator[FetchOutcome]:
        try:
            lines = self.path.read_bytes().split(b"\n")
        except (FileNotFoundError, IsADirectoryError):
            return
        except OSError as error:
            raise DemureError(f"cannot be read ({error.strerror})", where=self.path, remedy="check it") from error
        for line in lines:
            outcome = _parse(line)
            if outcome is not None:
                yield outcome

    def add(self, outcome: FetchOutcome) -> None:
        """Append a line. Raises ``DemureError`` if it cannot be written."""
        try:
            if self._handle is None:
                self._handle = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
                if self._handle.tell():
                    self._handle.write("\n")  # ends the unfinished line of a killed run
            self._handle.write(json.dumps(asdict(outcome)) + "\n")
            self._handle.flush()
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            self._handle.close()


def _parse(line: bytes) -> FetchOutcome | None:
    """Return the outcome that a line of the log states; None for anything else, which is as if it had never been."""
    try:
        values = json.loads(line)
        outcome = FetchOutcome(**values)
    except (ValueError, TypeError, RecursionError):
        return None
    right_types = {"item_id": str, "url": str, "file": str | None, "bytes": int, "reason": str, "final": bool}
    if not all(isinstance(getattr(outcome, name), kind) for name, kind in right_types.items()):
        return None
    return outcome if outcome.file is None or _is_image_of(outcome.file, outcome.item_id) else None


def _is_image_of(file: str, item_id: str) -> bool:
    """Return whether ``file`` is a name that demure gives to the image of an item; no path can be one."""
    stem, dot, suffix = file.rpartition(".")
    return dot + suffix in SUFFIXES.values() and stem in (image_stem(item_id), hashed_stem(item_id))
