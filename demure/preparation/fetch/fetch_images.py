"""`demure images fetch`: the images of an items file with URLs, into a folder that `--images` takes."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from demure.errors import DataError
from demure.files import atomic_file, cannot_write, write_csv
from demure.preparation.fetch.leftovers import sweep_unless_in_use
from demure.preparation.fetch.log import FetchLog, FetchOutcome, image_stems
from demure.preparation.item_columns import absolute_url, first_files
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection, columns_by_role, find_column, require_column
from demure.preparation.reading.formats import read_raw
from demure.preparation.reading.parsing import to_text
from demure.progress import Listener, Progress, silent

DEAD = "dead.csv"


@dataclass(frozen=True)
class FetchOptions:
    """Where to fetch from and to, and how fast.

    Attributes:
        rate: requests per second to one host.
        per_host, parallel: requests at a time, to one host and in all.
        tries: requests for one image, if it cannot be had for the moment.
        timeout: seconds without a byte; one image may take 20 times as long in all.
        pause: seconds before the second try, doubled before each further one.
        retry_dead: request also images that an earlier run found dead.
        allow_private: request also private addresses that the items file does not name: see ``addresses``.
    """

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
    allow_private: bool = False


@dataclass(frozen=True)
class FetchReport:
    """Numbers of items.

    Attributes:
        wanted: items with a URL.
        fetched: their image was fetched now; ``there``: by an earlier run.
        dead: there is no image, and another request would not help; ``failed``: it may help.
        bytes: fetched now.
        reasons: reason why there is no image -> number of items.
        report: dead.csv, with all of these items; None if every image is there.
    """

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
        """Return the report as JSON has it."""
        return {**vars(self), "out": str(self.out), "report": None if self.report is None else str(self.report)}


def fetch_images(options: FetchOptions, listener: Listener = silent) -> FetchReport:
    """Download the images that are not there yet, and report the images that are not available.

    Images are written whole or not at all; the next run continues after one that was stopped. Raises ``DataError`` for
    options and an items file that cannot be used, ``DemureError`` if nothing can be written.
    """
    _check(options)
    findings = Findings()
    urls = _read_urls(options, findings)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(options.out, error) from error
    with sweep_unless_in_use(options.out):
        return _fetch(urls, options, findings, listener)


def _fetch(urls: dict[str, str], options: FetchOptions, findings: Findings, listener: Listener) -> FetchReport:
    stems = image_stems(urls)
    log = FetchLog(options.out)
    previous = log.read()
    missing: list[FetchOutcome] = []
    n_there = 0
    items_of: dict[str, list[str]] = {}  # of each URL to fetch
    for item, url in urls.items():
        outcome = previous.get((item, url))
        if outcome is not None and outcome.file is not None and (options.out / outcome.file).is_file():
            n_there += 1
        elif outcome is not None and outcome.file is None and outcome.final and not options.retry_dead:
            missing.append(outcome)
        else:
            items_of.setdefault(url, []).append(item)
    n_fetched = size = n_done = 0
    listener(Progress("fetch", 0, len(items_of)))

    def done(url: str, file: str | None, n_bytes: int, reason: str, final: bool) -> None:
        nonlocal n_fetched, size, n_done
        for item in items_of[url]:
            # An image of several items is requested once, and copied.
            name = file if file is None or item == items_of[url][0] else _copy(options.out, file, stems[item])
            outcome = FetchOutcome(item, url, name, n_bytes, reason, final)
            log.add(outcome)
            if name is None:
                missing.append(outcome)
            else:
                n_fetched += 1
        size, n_done = size + n_bytes, n_done + 1
        listener(Progress("fetch", n_done, len(items_of), {"not had": len(missing)}))

    try:
        if items_of:
            from demure.preparation.fetch.download import download

            named = download({url: stems[items[0]] for url, items in items_of.items()}, options, done)
            if named:
                hosts = ", ".join(f"{host}:{port}" for host, port in sorted(named)[:5])
                findings.note(f"{options.items.name} names private addresses, which were requested: {hosts}")
    finally:
        log.close()
    n_dead = sum(outcome.final for outcome in missing)
    return FetchReport(
        out=options.out,
        wanted=len(urls),
        fetched=n_fetched,
        there=n_there,
        dead=n_dead,
        failed=len(missing) - n_dead,
        bytes=size,
        reasons=dict(Counter(outcome.reason.split(":")[0] for outcome in missing).most_common()),
        report=_write_dead(options.out, missing),
        notes=findings.notes,
    )


def _check(options: FetchOptions) -> None:
    for name in ("rate", "timeout", "max_megabytes", "per_host", "parallel", "tries"):
        value = getattr(options, name)
        if not value > 0:
            raise DataError(f"must be above 0, got {value}", where="--" + name.replace("_", "-"), remedy="use more")


def _read_urls(options: FetchOptions, findings: Findings) -> dict[str, str]:
    """Return item -> URL. Raises ``DataError`` if no item has one."""
    selection = ColumnSelection(columns_by_role(options.columns), items=True)
    raw, _ = read_raw(options.items, "auto", findings, selection)
    id_column = require_column(raw.column_names, "item_id", raw.path, findings, items=True)
    image_column = find_column(raw.column_names, "image", raw.path, findings, items=True)
    if image_column is None:
        remedy = "say --columns image=NAME"
        raise DataError("has no column image", where=options.items, remedy=remedy)
    ids = to_text(raw.table[id_column], id_column, raw.path).to_pylist()
    cells = np.array(to_text(raw.table[image_column], image_column, raw.path).to_pylist(), dtype=object)
    values = first_files(cells, "image", raw.path, findings).tolist()
    urls: dict[str, str] = {}
    for item, value in zip(ids, values, strict=True):
        url = absolute_url(value or "")
        if item and item.strip() and item not in urls and host_of(url):
            urls[item] = url
    if not urls:
        example = next((value for value in values if value), None)
        problem = f"no item has a URL in column {image_column!r} (the first value is {example!r})"
        raise DataError(problem, where=options.items, remedy="give http or https addresses")
    n_ignored = sum(bool(value and value.strip()) for value in values) - len(urls)
    if n_ignored:
        findings.note(
            f"{options.items.name}: {n_ignored} images are not http or https URLs, or of an item of an earlier row"
        )
    return urls


def host_of(url: str) -> str | None:
    """Return the host of an http or https URL; None for anything else."""
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.scheme in ("http", "https") else None
        return f"{host}:{parts.port}" if host else None
    except ValueError:
        return None


def _copy(folder: Path, file: str, stem: str) -> str:
    name = stem + Path(file).suffix
    try:
        with atomic_file(folder / name) as part:
            shutil.copyfile(folder / file, part)
    except OSError as error:
        raise cannot_write(folder / name, error) from error
    return name


def _write_dead(folder: Path, missing: list[FetchOutcome]) -> Path | None:
    """Write dead.csv: item_id, url, reason, final; remove it if no image is missing."""
    path = folder / DEAD
    if not missing:
        path.unlink(missing_ok=True)
        return None
    with atomic_file(path) as part:
        rows = ((outcome.item_id, outcome.url, outcome.reason, str(outcome.final).lower()) for outcome in missing)
        write_csv(part, ["item_id", "url", "reason", "final"], rows)
    return path
