"""``demure prepare`` over parts of a log, by the workers of an executor; the files are those of one process."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from demure.cluster.executor import Executor
from demure.files import work_folder
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
from demure.preparation.cleaning import BEFORE_SINCE, no_common_item, positions_in
from demure.preparation.content_presence import without_content
from demure.preparation.filters import items_left
from demure.preparation.item_columns import ItemIds
from demure.preparation.item_sources import read_described_items
from demure.preparation.items import Items
from demure.preparation.odd_ids import OddIds, note_odd_ids, sample_step
from demure.preparation.options import PrepareOptions
from demure.preparation.partitioned.batch_files import mark_work_folder, save_array
from demure.preparation.partitioned.clean import CleanTask
from demure.preparation.partitioned.filter import PartitionedFilters
from demure.preparation.partitioned.ids import (
    Bucket,
    BucketTask,
    RangeTask,
    SamplePart,
    SampleTask,
    choose_ranges,
    collect_items,
)
from demure.preparation.partitioned.log import Log, open_log
from demure.preparation.partitioned.plan import ColumnPlan, plan_columns
from demure.preparation.partitioned.read import ROLES, ReadTask
from demure.preparation.partitioned.shuffle import ITEM_CODES, ITEM_KEYS, ShuffleTask
from demure.preparation.partitioned.split import NEW_ITEMS, FinishTask, split_partitions
from demure.preparation.partitioned.tables import TablesPart, TablesTask, save_item_ids
from demure.preparation.partitioned.tally import PartProblems, StepTally, add_unknown_items
from demure.preparation.problems import Findings
from demure.preparation.reading.numeric_times import UNITS
from demure.preparation.report import PreparedReport
from demure.preparation.split import PreparedSplit, wanted_splits
from demure.preparation.steps import CleaningStep
from demure.progress import Listener, Progress

logger = logging.getLogger(__name__)


class PartSizes(NamedTuple):
    """The most rows of a part, of the ids of a bucket, and of a partition of users."""

    part: int = 1 << 20
    bucket: int = 1 << 22
    partition: int = 1 << 21


SIZES = PartSizes()
_PARTITIONS_PER_WORKER = 2


def prepare_in_parts(
    options: PrepareOptions, listener: Listener, finish: Finish | None, executor: Executor
) -> PreparedReport:
    """Write the dataset folder ``options.out``, as ``demure.preparation.prepare.prepare``.

    The parts lie in a folder beside it, which is deleted at the end. Raises ``DataError`` also for interactions that
    are not read in parts: see ``demure.preparation.partitioned.log`` and ``time_notation``.
    """
    with work_folder(options.out) as folder:
        mark_work_folder(folder)
        return _Preparation(options, listener, executor, folder).run(finish)


class _Partitions(NamedTuple):
    """Partitions of users: the first key of each, and the number of buckets that the ids came from."""

    starts: list[int]
    buckets: int


@dataclass
class _Preparation:
    """The stages, each of which leaves files in ``folder``."""

    options: PrepareOptions
    listener: Listener
    executor: Executor
    folder: Path

    def run(self, finish: Finish | None) -> PreparedReport:
        options, findings = self.options, Findings()
        self._report_progress("read", 0)
        log, format = open_log(options, self.folder, SIZES.part, findings)
        logger.info("read %d rows of %s as %s", log.rows, options.interactions, format)
        plan = plan_columns(log, options.rules(), options.events, self.executor, findings)
        tally, problems = StepTally(plan, log), PartProblems()
        n_buckets = max(self.executor.workers, -(-log.rows // SIZES.bucket))
        first_left = self._read(log, plan, n_buckets, tally, problems)
        problems.move_units(findings, UNITS)
        odd, points = self._give_keys(log, n_buckets)
        item_keys, raw_ids = collect_items(self.folder, n_buckets)
        item_ids = ItemIds(raw_ids, plan.id_columns["item_id"])
        items = read_described_items(options, item_ids, format, options.features, findings)
        self._report_progress("clean", 1, log.rows)
        problems.move(plan, findings)
        partitions = self._partition_users(log, plan, points, n_buckets, odd, raw_ids, findings)
        tally.refuse_empty_reading()
        all_items = items or Items.without_file(_objects(raw_ids))
        codes = np.arange(len(raw_ids)) if items is None else positions_in(items.ids, _objects(raw_ids))
        save_array(self.folder / ITEM_KEYS, item_keys)
        save_array(self.folder / ITEM_CODES, codes.astype(np.int32))
        self._shuffle(log, plan, partitions, items, raw_ids, first_left, tally, findings)
        counts = self._clean(log, plan, partitions, tally, len(all_items.ids), raw_ids, findings)
        steps = tally.steps()
        self._report_progress("filter", 2, steps[-1].rows)
        return self._finish(log, plan, format, items, all_items, counts, partitions, steps, findings, finish)

    def _discard(self, *patterns: str, keep: str = "/") -> None:
        """Delete files that no later stage reads."""
        for pattern in patterns:
            for path in self.folder.glob(pattern):
                if not path.name.endswith(keep):
                    path.unlink(missing_ok=True)

    def _report_progress(self, stage: str, done: int, rows: int | None = None) -> None:
        self.listener(Progress(stage, done, STAGES, {} if rows is None else {"rows": rows}))

    def _read(self, log: Log, plan: ColumnPlan, n_buckets: int, tally: StepTally, problems: PartProblems) -> str | None:
        """Read all parts; return the item of the first row that is left."""
        first_left = None
        for report in self.executor.map(ReadTask(log, plan, self.folder, n_buckets), log.parts):
            tally.add_read(report.removed)
            problems.add(report.problems)
            first_left = report.first_left if first_left is None else first_left
        return first_left

    def _give_keys(self, log: Log, n_buckets: int) -> tuple[dict[str, _OddOfRole], np.ndarray]:
        """Give all ids their keys; return by role what is odd in them, and the points of the users."""
        odd = {role: _OddOfRole([], 0) for role in ROLES}
        points = []
        task = BucketTask(self.folder, len(log.parts))
        buckets = [Bucket(role, k) for role in ROLES for k in range(n_buckets)]
        for bucket, report in zip(buckets, self.executor.map(task, buckets), strict=True):
            parts, n = odd[bucket.role]
            odd[bucket.role] = _OddOfRole([*parts, report.odd], n + report.n)
            if bucket.role == "user_id":
                points.append(report.points)
        return odd, np.concatenate(points)

    def _partition_users(
        self,
        log: Log,
        plan: ColumnPlan,
        points: np.ndarray,
        n_buckets: int,
        odd: dict[str, _OddOfRole],
        raw_ids: pa.Array,
        findings: Findings,
    ) -> _Partitions:
        """Choose the partitions, and note what is odd in the ids."""
        most = min(SIZES.partition, -(-log.rows // (_PARTITIONS_PER_WORKER * self.executor.workers)))
        ranges = choose_ranges(points, log.rows, most)
        sizes = list(self.executor.map(RangeTask(self.folder, n_buckets), ranges))
        starts = np.cumsum([0, *sizes])
        sampled = [SamplePart(k, int(start)) for k, start in enumerate(starts[:-1])]
        task = SampleTask(self.folder, sample_step(int(starts[-1])))
        users = [user for part in self.executor.map(task, sampled) for user in part]
        items = raw_ids[:: sample_step(len(raw_ids))].to_pylist()
        for role, sample in zip(ROLES, (users, items), strict=True):
            note_odd_ids(odd[role].parts, sample, plan.id_columns[role], log.path, findings)
        return _Partitions([each.start for each in ranges], n_buckets)

    def _shuffle(
        self,
        log: Log,
        plan: ColumnPlan,
        partitions: _Partitions,
        items: Items | None,
        raw_ids: pa.Array,
        first_left: str | None,
        tally: StepTally,
        findings: Findings,
    ) -> None:
        """Send all rows to their partitions."""
        task = ShuffleTask(
            self.folder, partitions.buckets, tuple(partitions.starts), tuple(plan.kinds), plan.rules, items is not None
        )
        for report in self.executor.map(task, log.parts):
            tally.add_shuffled(report)
            add_unknown_items(report, raw_ids, log, findings)
        self._discard("part-*.arrow", "bucket-*", keep=".shuffled.arrow")
        if items is not None and not tally.left_before(BEFORE_SINCE):
            raise no_common_item(log.path, first_left, items, self.options.items)
        tally.refuse_empty_times()

    def _clean(
        self,
        log: Log,
        plan: ColumnPlan,
        partitions: _Partitions,
        tally: StepTally,
        n_items: int,
        raw_ids: pa.Array,
        findings: Findings,
    ) -> np.ndarray:
        """Clean all partitions; return the number of rows (I,) of each item."""
        counts = np.zeros(n_items, np.int64)
        task = CleanTask(self.folder, len(log.parts), tuple(plan.kinds), plan.rules)
        for report in self.executor.map(task, range(len(partitions.starts))):
            tally.add_cleaned(report, len(raw_ids))
            counts[report.counts.items] += report.counts.numbers
        self._discard("part-*")
        tally.add_duplicates(raw_ids, findings)
        tally.refuse_empty_ratings()
        return counts

    def _finish(
        self,
        log: Log,
        plan: ColumnPlan,
        format: str,
        items: Items | None,
        all_items: Items,
        counts: np.ndarray,
        partitions: _Partitions,
        steps: list[CleaningStep],
        findings: Findings,
        finish: Finish | None,
    ) -> PreparedReport:
        """Filter, split and write; ``items``: described ones, ``all_items``: also those of the interactions alone."""
        options, n_partitions = self.options, len(partitions.starts)
        roots, bare = FileRoots(), None
        if options.bare_items == "drop":
            items, roots = locate_files(all_items, options, findings)
            bare = without_content(items, roots.images, roots.media, options.features)
            all_items = items
        catalogue = all_items.files()
        counts_before = counts.copy()
        filters = PartitionedFilters(self.folder, n_partitions, counts, self.executor, steps)
        filters.apply(bare, options)
        kept = items_left(counts_before, counts, bare, findings, has_items=items is not None)
        final = all_items.take(np.flatnonzero(kept))
        if bare is None:
            final, roots = locate_files(final, options, findings, catalogue)
        save_array(self.folder / NEW_ITEMS, np.cumsum(kept, dtype=np.int32) - np.int32(1))
        task = FinishTask(self.folder, filters.rounds)
        parts = [part for part in self.executor.map(task, range(n_partitions)) if part.rows]
        self._discard("cleaned-*", "kept-*")
        n_rows = sum(part.rows for part in parts)
        self._report_progress("split", 3, n_rows)
        timed = plan.times is not None
        wanted = wanted_splits(options, findings, timed=timed, stated=plan.split is not None)
        splits = split_partitions(
            self.folder, parts, wanted, final.dates, options, self.executor, findings, timed=timed
        )
        sizes = DatasetSizes(
            sum(part.users for part in parts), len(final.ids), int(np.count_nonzero(counts[kept] == 0)), n_rows
        )
        read_log = ReadLog(format, log.files, options.features)
        report = make_report(options, read_log, sizes, final, splits, steps, findings, roots)
        self._report_progress("write", 4, n_rows)
        if not options.dry_run:
            save_item_ids(self.folder, final.ids)

            def write(tables: Sequence[tuple[Path, PreparedSplit]]) -> Iterator[dict[str, str]]:
                of_splits = [TablesPart(out.absolute(), split.name) for out, split in tables]
                return self.executor.map(TablesTask(self.folder, tuple(parts)), of_splits)

            write_dataset(options, read_log, final, splits, report, findings, write, finish, self.listener)
        self._report_progress("write", STAGES, n_rows)
        extra = {"dataset": str(options.out), "counts": report.counts}
        logger.info("prepared %s from %d rows", options.out, log.rows, extra=extra)
        return report


class _OddOfRole(NamedTuple):
    """What is odd in the ids of users or items, by bucket, and the number ``n`` of ids."""

    parts: list[OddIds]
    n: int


def _objects(texts: pa.Array) -> np.ndarray:
    return np.array(texts.to_pylist(), dtype=object)
