"""The options of ``demure prepare``, and the checks that need no data."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from demure.data.splits import RATIO_BY, STRATEGIES
from demure.errors import DataError
from demure.files import refuse_existing
from demure.preparation.duplicates import DUPLICATES
from demure.preparation.interactions import CleaningRules
from demure.preparation.reading.columns import ColumnSelection, columns_by_role
from demure.preparation.reading.formats import format_names
from demure.preparation.reading.numeric_times import CALENDARS
from demure.preparation.reading.quoting import QUOTES
from demure.preparation.reading.times import EARLIEST, FUTURE, check_time_format
from demure.suggest import check_choice

BARE_ITEMS = ("keep", "drop")
BAD_ROWS = ("refuse", "skip")


@dataclass(frozen=True)
class PrepareOptions:
    """How to read, clean, filter and split raw files.

    Attributes:
        images, audio, video: the folder of the items' files of this kind.
        features: modality -> ``.npy`` or Parquet file.
        columns: role -> the name of its column in the file.
        encoding: of text files; detected where None.
        quotes: what quotation marks mean in delimited text, of ``QUOTES``; decided by each file where ``auto``.
        bad_rows: whether rows of another length are refused, or skipped and counted, of ``BAD_ROWS``.
        time_format: the notation of the times, such as ``day-first`` or ``%d.%m.%Y``; recognised where None.
        events: the events that count as interactions -> the weight that becomes the rating, or None; empty for the
            usual ones (see ``demure.preparation.events.read_events``).
        ratio: percent of train, valid and test, for the splits by ratio and by time.
        ratio_by: whether a user's last interactions are held out (``time``), or drawn ones with ``seed``
            (``random``); ``auto`` is ``time`` where there are timestamps.
        k_core: minimum number of interactions of every user and item; ``user_core`` and ``item_core`` override it.
        min_history: users with fewer interactions are dropped, after ``max_history``.
        max_history: only the last so many interactions of a user are kept; 0 keeps all.
        since, until: ISO 8601 or seconds since 1970; rows from ``since`` to before ``until`` are kept.
        min_rating: rows with a lower rating, or without one, are left out.
        duplicates: which of several rows of the same user and item is kept, of ``DUPLICATES``.
        bare_items: whether items without any content are kept, of ``BARE_ITEMS``.
    """

    interactions: Path
    out: Path
    items: Path | None = None
    images: Path | None = None
    features: dict[str, Path] = field(default_factory=dict)
    split: str = "leave-one-out"
    k_core: int = 0
    format: str = "auto"
    seed: int = 0
    overwrite: bool = False
    columns: dict[str, str] = field(default_factory=dict)
    encoding: str | None = None
    quotes: str = "auto"
    bad_rows: str = "refuse"
    time_format: str | None = None
    events: dict[str, float | None] = field(default_factory=dict)
    ratio: tuple[int, int, int] = (80, 10, 10)
    ratio_by: str = "auto"
    user_core: int | None = None
    item_core: int | None = None
    min_history: int = 0
    max_history: int = 0
    since: str | None = None
    until: str | None = None
    min_rating: float | None = None
    duplicates: str = "latest"
    bare_items: str = "keep"
    dry_run: bool = False
    audio: Path | None = None
    video: Path | None = None

    @property
    def media(self) -> dict[str, Path]:
        """Kind of content, ``audio`` or ``video`` -> the folder of its files, where one is given."""
        folders = {"audio": self.audio, "video": self.video}
        return {kind: folder for kind, folder in folders.items() if folder is not None}

    @property
    def cores(self) -> tuple[int, int]:
        """The minimum numbers of interactions of a user and of an item."""
        return (
            self.k_core if self.user_core is None else self.user_core,
            self.k_core if self.item_core is None else self.item_core,
        )

    def rules(self) -> CleaningRules:
        """Return the rules for single rows. Raises ``DataError`` for a malformed date."""
        since, until = _parse_moment(self.since, "--since"), _parse_moment(self.until, "--until")
        if since is not None and until is not None and since >= until:
            raise DataError(f"{self.since} is not before --until {self.until}", where="--since", remedy="swap them")
        return CleaningRules(self.split, since, until, self.duplicates, self.min_rating, self.time_format, self.events)

    def selection(self, *, items: bool = False) -> ColumnSelection:
        """Return the columns to read of the interactions or the items. Raises ``DataError`` for an unknown role."""
        skips_rows = self.bad_rows == "skip"
        files = ("image", *self.media)
        return ColumnSelection(
            columns_by_role(self.columns), items, self.encoding, self.quotes, skips_rows, files=files
        )


def check_options(options: PrepareOptions) -> None:
    """Raise ``DataError`` for options that cannot be used, before anything is read."""
    check_choice(options.format, format_names(), "--format")
    check_choice(options.split, STRATEGIES, "--split")
    check_choice(options.ratio_by, RATIO_BY, "--ratio-by")
    check_choice(options.duplicates, tuple(DUPLICATES), "--duplicates")
    check_choice(options.bare_items, BARE_ITEMS, "--bare-items")
    check_choice(options.quotes, QUOTES, "--quotes")
    check_choice(options.bad_rows, BAD_ROWS, "--bad-rows")
    for name in ("k_core", "user_core", "item_core", "min_history", "max_history", "seed"):
        value = getattr(options, name)
        if value is not None and value < 0:
            where = "--" + name.replace("_", "-")
            remedy = f"use {'0' if name == 'seed' else '5'}, for example"
            raise DataError(f"must be 0 or more, got {value}", where=where, remedy=remedy)
    if len(options.ratio) != 3 or sum(options.ratio) != 100 or min(options.ratio) < 0 or not options.ratio[0]:
        shown = "/".join(map(str, options.ratio))
        raise DataError(f"{shown} is not three parts of 100", where="--ratio", remedy="use 80/10/10, for example")
    if 0 < options.max_history < options.min_history:
        problem = f"{options.max_history} is less than --min-history {options.min_history}"
        raise DataError(problem, where="--max-history", remedy="no user could have both")
    check_time_format(options.time_format)
    options.rules()
    options.selection()
    if not options.dry_run:
        refuse_existing(options.out, overwrite=options.overwrite)
        _refuse_unsafe_overwrite(options)
    for name, path in options.features.items():
        if not path.is_file():
            raise DataError("no such file", where=path, remedy=f"check --features {name}=FILE")


def _refuse_unsafe_overwrite(options: PrepareOptions) -> None:
    """Raise ``DataError`` if ``out`` is a folder but not a dataset folder, or has one of the inputs in it."""
    out = Path(os.path.realpath(options.out))
    is_dataset = any((out / name).is_file() for name in ("dataset.json", "splits.json"))
    if options.out.is_dir() and any(out.iterdir()) and not is_dataset:
        remedy = "choose another --out"
        raise DataError("is not a dataset folder, so --overwrite does not replace it", where=options.out, remedy=remedy)
    folders = (options.images, *options.media.values())
    paths = [options.interactions, options.items, *folders, *options.features.values()]
    inputs = [path for path in paths if path is not None]
    inside = next((path for path in inputs if Path(os.path.realpath(path)).is_relative_to(out)), None)
    if inside is not None:
        raise DataError(f"--out would replace {inside}", where=options.out, remedy="choose another --out")


def _parse_moment(text: str | None, where: str) -> float | None:
    """Return seconds since 1970 of ISO 8601 (UTC where it names no zone), of a number, or of a date in digits."""
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        number = float(text)
        if math.isfinite(number):
            date = float(CALENDARS["digits"][1](np.array([number]))[0])  # 2020, 20200131
            return date if EARLIEST <= date <= FUTURE else number
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        remedy = "use 2020-01-31, for example, or seconds since 1970"
        raise DataError(f"{text!r} is not a date", where=where, remedy=remedy) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
