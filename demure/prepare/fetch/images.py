"""`demure images fetch`: the images that an items file gives as URLs, into a folder that `--images` takes."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from demure.errors import DataError
from demure.files import atomic_file, cannot_write
from demure.prepare.fetch.log import FetchLog, Outcome, stem
from demure.prepare.problems import Findings
from demure.prepare.reading.columns import Wanted, asked_columns, find, require
from demure.prepare.reading.formats import read
from demure.prepare.reading.parsing import as_text
from demure.progress import Listener, Progress, silent

DEAD = "dead.csv"


@dataclass(frozen=True)
class FetchOptions:
    """``rate``: requests per second to one host; ``per_host`` and ``parallel``: at a time, to one host and in all;
    ``tries`` per image; ``timeout``: seconds without a byte, and a twentieth of what one image may take; ``pause``:
    seconds before the second try, doubled before each further one; ``retry_dead``: ask again for what was given up."""

    items: Path
    out: Path
    columns: dict[str, str] = field(default_factory=dict)
    rate: float = 5.0
    per_host: int = 4
    parallel: int = 32
    tries: int = 4
    timeout: float = 20.0
    pause: float = 1.0
    max_megabytes: float = 20.0
    retry_dead: bool = False


@dataclass(frozen=True)
class Fetched:
    """Items with a URL are ``wanted``; their image was ``fetched`` now or ``there`` before, is ``dead`` (asking again
    would not help) or ``failed`` (it may). ``reasons``: why not -> how many; ``report``: dead.csv, with all of them."""

    out: Path
    wanted: int
    fetched: int
    there: int
    dead: int
    failed: int
    bytes: int
    reasons: dict[str, int]
    report: Path | None
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "out": str(self.out), "report": None if self.report is None else str(self.report)}


def fetch(options: FetchOptions, listener: Listener = silent) -> Fetched:
    """Download what is not there yet; what could not be had is reported, and told by ``Fetched``.

    Images are written whole or not at all; a run that is ended goes on where it was. Raises ``DataError`` for options
    and an items file that cannot be used, ``DemureError`` if nothing can be written.
    """
    _check(options)
    findings = Findings()
    urls = _urls(options, findings)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(options.out, error) from error
    log = FetchLog(options.out)
    before = log.read()
    outcomes: list[Outcome] = []
    there = 0
    todo: dict[str, list[str]] = {}
    for item, url in urls.items():
        known = before.get((item, url))
        if known is not None and known.file is not None and (options.out / known.file).is_file():
            there += 1
        elif known is not None and known.file is None and known.final and not options.retry_dead:
            outcomes.append(known)
        else:
            todo.setdefault(url, []).append(item)
    fetched = size = finished = 0
    listener(Progress("fetch", 0, len(todo)))

    def done(url: str, file: str | None, n_bytes: int, reason: str, final: bool) -> None:
        nonlocal fetched, size, finished
        for item in todo[url]:
            # One picture of several items is asked for once.
            name = file if file is None or item == todo[url][0] else _copy(options.out, file, item)
            one = Outcome(item, url, name, n_bytes, reason, final)
            log.add(one)
            if name is None:
                outcomes.append(one)
            else:
                fetched += 1
        size, finished = size + n_bytes, finished + 1
        listener(Progress("fetch", finished, len(todo), {"not had": len(outcomes)}))

    try:
        if todo:
            from demure.prepare.fetch.download import download

            download({url: items[0] for url, items in todo.items()}, options, done)
    finally:
        log.close()
    report = _report(options.out, outcomes)
    dead = sum(one.final for one in outcomes)
    reasons = dict(Counter(one.reason.split(":")[0] for one in outcomes).most_common())
    return Fetched(
        options.out, len(urls), fetched, there, dead, len(outcomes) - dead, size, reasons, report, findings.notes
    )


def _check(options: FetchOptions) -> None:
    least = {"rate": 0.0, "timeout": 0.0, "max_megabytes": 0.0, "per_host": 0, "parallel": 0, "tries": 0}
    for name, above in least.items():
        value = getattr(options, name)
        if not value > above:
            raise DataError(f"must be above 0, got {value}", where="--" + name.replace("_", "-"), remedy="use more")


def _urls(options: FetchOptions, findings: Findings) -> dict[str, str]:
    """Item -> URL; raises ``DataError`` if no item has one."""
    raw, _ = read(options.items, "auto", findings, Wanted(asked_columns(options.columns), items=True))
    id_column = require(raw.columns, "item_id", raw.path, findings, items=True)
    image_column = find(raw.columns, "image", raw.path, findings, items=True)
    if image_column is None:
        remedy = "say --columns image=NAME"
        raise DataError("has no column image", where=options.items, remedy=remedy)
    ids, values = (as_text(raw.table[name], name, raw.path).to_pylist() for name in (id_column, image_column))
    urls: dict[str, str] = {}
    for item, value in zip(ids, values, strict=True):
        url = (value or "").strip()
        if item and item.strip() and item not in urls and host_of(url):
            urls[item] = url
    if not urls:
        example = next((value for value in values if value), None)
        reason = f"no item has a URL in column {image_column!r} (the first value is {example!r})"
        raise DataError(reason, where=options.items, remedy="give http or https addresses")
    left = sum(bool(value and value.strip()) for value in values) - len(urls)
    if left:
        findings.note(f"{options.items.name}: {left} images are no http or https URLs, or of an item seen before")
    return urls


def host_of(url: str) -> str | None:
    """The host of an http or https URL; None for anything else."""
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.scheme in ("http", "https") else None
        return f"{host}:{parts.port}" if host else None
    except ValueError:
        return None


def _copy(folder: Path, file: str, item: str) -> str:
    name = stem(item) + Path(file).suffix
    try:
        with atomic_file(folder / name) as part:
            shutil.copyfile(folder / file, part)
    except OSError as error:
        raise cannot_write(folder / name, error) from error
    return name


def _report(folder: Path, outcomes: list[Outcome]) -> Path | None:
    """dead.csv: item_id, url, reason, final; absent where all was had."""
    path = folder / DEAD
    if not outcomes:
        path.unlink(missing_ok=True)
        return None
    with atomic_file(path) as part, open(part, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["item_id", "url", "reason", "final"])
        for one in outcomes:
            writer.writerow([one.item_id, one.url, one.reason, str(one.final).lower()])
    return path
