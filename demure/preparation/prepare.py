"""Raw files into a dataset folder: read, clean, filter, split, write; whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from demure.cluster.executor import LOCAL, Executor
from demure.leftovers import folder_lock
from demure.locks import hold_folder
from demure.preparation.assemble import (
    STAGES,
    DatasetSizes,
    FileRoots,
    Finish,
    ReadLog,
    locate_files,
    make_report,
    write_dataset,
)
from demure.preparation.cleaning import clean_interactions
from demure.preparation.content_presence import without_content
from demure.preparation.filters import apply_filters
from demure.preparation.interactions import read_interactions
from demure.preparation.item_columns import ItemIds
from demure.preparation.item_sources import find_mmrec_features, read_described_items
from demure.preparation.items import Items
from demure.preparation.options import PrepareOptions, check_options
from demure.preparation.problems import Findings
from demure.preparation.reading.formats import read_raw
from demure.preparation.report import PreparedReport
from demure.preparation.split import PreparedSplit, make_splits
from demure.preparation.write import columns_in_memory, identity, write_tables
from demure.progress import Listener, Progress, silent

__all__ = ["PrepareOptions", "PreparedReport", "prepare"]

logger = logging.getLogger(__name__)


def prepare(
    options: PrepareOptions, listener: Listener = silent, finish: Finish | None = None, executor: Executor = LOCAL
) -> PreparedReport:
    """Write the dataset folder ``options.out``; ``finish(folder, report)`` may add to it before it gets its name.

    With ``--split all`` the folder has one dataset folder per split, with common features. With an ``executor`` on a
    cluster, the log stays in parts, and the files are the same. Raises ``DataError`` for options and files that cannot
    be used, with the row where one row is the cause. After any error, nothing is left behind.
    """
    check_options(options)
    if options.dry_run:
        return _prepare(options, listener, finish, executor)
    with hold_folder(folder_lock(options.out), options.out, "prepared"):
        return _prepare(options, listener, finish, executor)


def _prepare(options: PrepareOptions, listener: Listener, finish: Finish | None, executor: Executor) -> PreparedReport:
    if not executor.is_local:
        from demure.preparation.partitioned.prepare import prepare_in_parts

        return prepare_in_parts(options, listener, finish, executor)
    findings = Findings()
    listener(Progress("read", 0, STAGES))
    raw, format = read_raw(options.interactions, options.format, findings, options.selection())
    is_mmrec = format == "mmrec"
    feature_files = options.features or (find_mmrec_features(options.interactions, findings) if is_mmrec else {})
    files, n_rows = raw.files, raw.table.num_rows
    logger.info("read %d rows of %s as %s", n_rows, options.interactions, format)
    raw_interactions = read_interactions(raw, options.rules(), findings)
    del raw  # here and below: so that each large table is freed before the next is made
    pa.default_memory_pool().release_unused()
    interaction_ids = ItemIds(raw_interactions.items.values, raw_interactions.id_columns["item_id"])
    items = read_described_items(options, interaction_ids, format, feature_files, findings)
    listener(Progress("clean", 1, STAGES, {"rows": n_rows}))
    interactions, steps = clean_interactions(raw_interactions, items, options.items, options.rules(), findings)
    del raw_interactions
    listener(Progress("filter", 2, STAGES, {"rows": len(interactions)}))
    roots, bare = FileRoots(), None
    if options.bare_items == "drop":
        items = items or Items.without_file(interactions.item_ids)
        items, roots = locate_files(items, options, findings)
        bare = without_content(items, roots.images, roots.media, feature_files)
    catalogue = (items or Items.without_file(interactions.item_ids)).files()
    items = apply_filters(interactions, items, bare, options, steps, findings)
    if bare is None:
        items, roots = locate_files(items, options, findings, catalogue)
    listener(Progress("split", 3, STAGES, {"rows": len(interactions)}))
    splits = make_splits(interactions, items.dates, options, findings)
    n_cold = len(items.ids) - int(np.count_nonzero(np.bincount(interactions.items)))
    sizes = DatasetSizes(len(interactions.user_ids), len(items.ids), n_cold, len(interactions))
    log = ReadLog(format, files, feature_files)
    report = make_report(options, log, sizes, items, splits, steps, findings, roots)

    def write(tables: Sequence[tuple[Path, PreparedSplit]]) -> Iterator[dict[str, str]]:
        for folder, split in tables:
            of_split = replace(interactions, split=split.codes)
            write_tables(folder, of_split, items)
            yield identity(columns_in_memory(of_split), items.ids)

    listener(Progress("write", 4, STAGES, {"rows": len(interactions)}))
    if not options.dry_run:
        write_dataset(options, log, items, splits, report, findings, write, finish, listener)
    listener(Progress("write", STAGES, STAGES, {"rows": len(interactions)}))
    counts = report.counts
    logger.info("prepared %s from %d rows", options.out, n_rows, extra={"dataset": str(options.out), "counts": counts})
    return report
