"""Lists of models that demure did not train, on the split of a run: `demure compare RUN --lists NAME=FILE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from demure.data.dataset import Dataset
from demure.data.splits import EARLIER
from demure.errors import DemureError
from demure.evaluation.ranked_lists import Coverage, lists_scorer, measure_coverage
from demure.evaluation.ranking import Evaluation, evaluate
from demure.preparation.ranked_lists import RankedLists, read_ranked_lists
from demure.progress import Listener, Progress, silent
from demure.runs.manifest import RunManifest, dataset_folder, verify_dataset

if TYPE_CHECKING:
    from demure.runs.ranking import RankedRuns


@dataclass(frozen=True)
class ListsCheck:
    """What holds of one file of lists on the evaluated split.

    Attributes:
        name, file: the method, and the file of its lists.
        users: the evaluated users, of whom ``missing_users`` have no list: they count with 0.
        other_users: users of the file who have no relevant item in the split; they are not evaluated.
        unknown_users, unknown_items: users and items of the file that the dataset lacks; they are left out.
        past_users: evaluated users whose list has items that they had before; the items are removed, as from the lists
            of runs. ``past_items``: split -> the number of these items.
        duplicates: places that repeat an item of their list.
        tied_lists: lists with items of equal rank or score.
        short_lists: lists that end before the longest k.
        notes: these facts where they matter, and how the file was read, in sentences.
    """

    name: str
    file: str
    users: int
    missing_users: int
    other_users: int
    unknown_users: int
    unknown_items: int
    past_users: int
    past_items: dict[str, int]
    duplicates: int
    tied_lists: int
    short_lists: int
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ForeignLists:
    """The file ``path`` with lists of the method ``name``."""

    name: str
    path: Path
    ranked: RankedLists


def read_foreign_lists(
    lists: Sequence[tuple[str, Path]], manifests: Mapping[str, RunManifest], listener: Listener = silent
) -> list[ForeignLists]:
    """Read the files of ``lists``, (method, file) each, over the dataset of the runs (run -> its ``manifests``).

    Raises ``DemureError`` for a file that cannot be read, for one that is named twice, and for a name of a run.
    """
    if not lists:
        return []
    run, manifest = next(iter(manifests.items()))
    dataset = Dataset.load(dataset_folder(Path(run), manifest))
    verify_dataset(Path(run), manifest, dataset.identity, dataset.path)
    files: list[ForeignLists] = []
    for name, path in lists:
        if str(path) in {*manifests, *(str(own.path) for own in files)}:
            raise DemureError("is given twice", where=path, remedy="give each run and each file once")
        listener(Progress(f"read {path.name}", 0))
        files.append(ForeignLists(name, path, read_ranked_lists(path, dataset)))
    return files


def add_methods(methods: Mapping[str, list[str]], files: Sequence[ForeignLists]) -> dict[str, list[str]]:
    """Return the methods of the runs and of the ``files``: name -> its runs or files, where several are its seeds.

    Raises ``DemureError`` for a name that a method of the runs has.
    """
    own: dict[str, list[str]] = {}
    for file in files:
        if file.name in methods:
            remedy = "give the lists another name"
            raise DemureError(f"{file.name!r} is the name of a run", where="--lists", remedy=remedy)
        own.setdefault(file.name, []).append(str(file.path))
    return {**methods, **own}


def evaluate_lists(
    files: Sequence[ForeignLists], ranked: RankedRuns, split: str, ks: Sequence[int], listener: Listener = silent
) -> tuple[dict[str, Evaluation], list[ListsCheck]]:
    """Return file -> the evaluation of its lists, by the code and on the users of the runs, and the checks."""
    evaluations, checks = {}, []
    dataset, n_items = ranked.dataset, ranked.dataset.n_items
    relevant, parts = dataset.histories(split), {part: dataset.histories(part) for part in EARLIER[split]}
    for file in files:
        lists = file.ranked.lists
        scorer = lists_scorer(lists, n_items)
        evaluation = evaluate(scorer, relevant, ranked.past, ks, n_items, catalogue=ranked.catalogue, listener=listener)
        coverage = measure_coverage(lists, file.ranked.has_list, evaluation.users, parts, max(ks), n_items)
        if coverage.missing_users == len(evaluation.users):
            raise DemureError(
                f"has no list of a user with relevant items in the split {split!r}",
                where=file.path,
                remedy="give lists of the users who are evaluated",
            )
        evaluations[str(file.path)] = evaluation
        checks.append(_check(file, evaluation, coverage, split, max(ks)))
    return evaluations, checks


def _check(file: ForeignLists, evaluation: Evaluation, coverage: Coverage, split: str, k: int) -> ListsCheck:
    ranked = file.ranked
    users = len(evaluation.users)
    notes = [*ranked.notes]
    if coverage.missing_users:
        notes.append(f"{coverage.missing_users:,} of the {users:,} users have no list and count with 0")
    if coverage.past_users:
        counts = " and ".join(f"{count:,} from {part}" for part, count in coverage.past_items.items() if count)
        notes.append(
            f"{coverage.past_users:,} of the {users:,} users have items in their list that they had before ({counts}); "
            "these are removed, as from the lists of runs, and the items below move up"
        )
    if ranked.of_mmrec and coverage.past_items["train"]:
        notes.append(
            "MMRec lists no items of training: its numbers stand for other users or items, or its split is another one"
        )
    if ranked.unknown_items:
        notes.append(
            f"{len(ranked.unknown_items):,} items, such as {ranked.unknown_items[0]!r}, are not in the dataset; they "
            "are removed, and the items below move up"
        )
    if ranked.unknown_users:
        notes.append(
            f"{len(ranked.unknown_users):,} users, such as {ranked.unknown_users[0]!r}, are not in the dataset; they "
            "are left out"
        )
    if coverage.other_users:
        notes.append(f"{coverage.other_users:,} users have nothing in the split {split!r} and are not evaluated")
    if ranked.duplicates:
        notes.append(f"{ranked.duplicates:,} places repeat an item of their list; its best place counts")
    if ranked.never:
        notes.append(f"{ranked.never:,} places have the score -inf, which means never; they are removed")
    if ranked.tied:
        notes.append(f"{ranked.tied:,} lists have equal ranks or scores; such items are in the order of the dataset")
    if coverage.short_lists:
        notes.append(
            f"{coverage.short_lists:,} lists have fewer than {k} items that can be recommended; the empty places are "
            "misses, so longer lists may do better"
        )
    ranks = evaluation.relevant_ranks
    if ranks is not None and not (ranks.rank > 0).any():
        notes.append(
            f"no list has a relevant item of the split {split!r}: the ids may be another tool's numbers, or the lists "
            "leave out the items of the split, as those of `demure recommend` do"
        )
    return ListsCheck(
        name=file.name,
        file=str(file.path),
        users=users,
        missing_users=coverage.missing_users,
        other_users=coverage.other_users,
        unknown_users=len(ranked.unknown_users),
        unknown_items=len(ranked.unknown_items),
        past_users=coverage.past_users,
        past_items=coverage.past_items,
        duplicates=ranked.duplicates,
        tied_lists=ranked.tied,
        short_lists=coverage.short_lists,
        notes=notes,
    )
