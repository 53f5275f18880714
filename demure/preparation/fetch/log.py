"""The log of `demure images fetch`: the outcome of every image, a line each, so that the next run can continue."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from demure.files import cannot_write

LOG = "fetched.jsonl"
_LONGEST = 80


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
    """Return the name of an item's image, without suffix: its id, or a shortened id and a hash if it is not a name."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", item_id) and len(item_id) <= _LONGEST and "." not in item_id:
        return item_id
    kept = re.sub(r"[^A-Za-z0-9_-]+", "-", item_id)[:40].strip("-")
    return f"{kept}-{hashlib.sha256(item_id.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


class FetchLog:
    """The log in a folder. A line that a killed run left unfinished is ignored."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG
        self._handle: IO[str] | None = None

    def read(self) -> dict[tuple[str, str], FetchOutcome]:
        """Return (item, URL) -> its last outcome."""
        outcomes: dict[tuple[str, str], FetchOutcome] = {}
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    outcome = FetchOutcome(**json.loads(line))
                except (ValueError, TypeError):
                    continue
                outcomes[outcome.item_id, outcome.url] = outcome
        return outcomes

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
