"""What became of every image that was asked for: a line each, so that a run that was ended goes on where it was."""

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
class Outcome:
    """``file``: the image's name in the folder, or None; then ``reason`` says why, and ``final`` that another try would
    not help."""

    item_id: str
    url: str
    file: str | None
    bytes: int = 0
    reason: str = ""
    final: bool = False


def stem(item_id: str) -> str:
    """The name of an item's image, without suffix: its id, made a file name where it is none."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", item_id) and len(item_id) <= _LONGEST and "." not in item_id:
        return item_id
    kept = re.sub(r"[^A-Za-z0-9_-]+", "-", item_id)[:40].strip("-")
    return f"{kept}-{hashlib.sha256(item_id.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


class FetchLog:
    """The folder's log. A line that a killed run left unfinished is forgotten."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG
        self._handle: IO[str] | None = None

    def read(self) -> dict[tuple[str, str], Outcome]:
        """(item, URL) -> the last that became of it."""
        found: dict[tuple[str, str], Outcome] = {}
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    one = Outcome(**json.loads(line))
                except (ValueError, TypeError):
                    continue
                found[one.item_id, one.url] = one
        return found

    def add(self, one: Outcome) -> None:
        """Write a line; raises ``DemureError`` for a full disk and its like."""
        try:
            if self._handle is None:
                self._handle = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
                if self._handle.tell():
                    self._handle.write("\n")  # ends what a killed run left
            self._handle.write(json.dumps(asdict(one)) + "\n")
            self._handle.flush()
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()
