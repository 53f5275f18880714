"""Sums over users are the same in parts: drawn histories and divisions, and datasets through workers."""

import filecmp
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from support.executors import PickledExecutor
from support.histories_by_hand import histories
from support.manifests import with_walk

from demure.baselines.ease import Ease
from demure.baselines.item_knn import DecayedPairs
from demure.baselines.protocol import SummedBaseline
from demure.baselines.registry import BASELINES, make_baseline
from demure.baselines.sparse import UsersOfPairs
from demure.cluster.worker import SentTask, Worker
from demure.data import user_sums
from demure.data.dataset import Dataset
from demure.data.user_sums import ItemCounts, SumPart, UserSumTask, add, sum_on, sum_users
from demure.errors import DemureError
from demure.evaluation.beyond_accuracy import UsersPerItem
from demure.model.co_occurrence import PairCounts
from demure.runs.evaluate import evaluate_runs
from demure.runs.recommend import recommend
from demure.training.run import train

ITEMS = 7
WHOLE = [ItemCounts(ITEMS), UsersPerItem(ITEMS), UsersOfPairs(ITEMS)]
ROUNDED = [PairCounts(ITEMS, 3, 0.7, 1.0), DecayedPairs(ITEMS, 1.0, 3)]
LISTS = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=6), min_size=1, max_size=8)


def dense(sums):
    return [value.toarray() if sparse.issparse(value) else np.asarray(value) for value in sums]


def assert_same_bytes(first, second):
    for value, expected in zip(dense(first), dense(second), strict=True):
        assert value.dtype == expected.dtype
        assert value.tobytes() == expected.tobytes()


@pytest.mark.parametrize("summed", [*WHOLE, *ROUNDED])
@given(lists=LISTS, cuts=st.lists(st.integers(0, 8), max_size=4))
def test_a_sum_over_any_division_of_the_users_is_the_whole(summed, lists, cuts):
    train = histories(lists)
    bounds = sorted({0, len(lists), *(min(cut, len(lists)) for cut in cuts)})
    parts = add(summed.of(train.slice_users(first, stop)) for first, stop in pairwise(bounds))
    whole = sum_users(summed, train)
    if summed.whole:
        assert_same_bytes(parts, whole)
    for part, expected in zip(dense(parts), dense(whole), strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-6, atol=1e-7)


@given(LISTS)
def test_users_of_pairs_against_sets(lists):
    """The entry of two items is the number of users who have both, however often."""
    (counts,) = UsersOfPairs(ITEMS).of(histories(lists))
    expected = [[sum({i, j} <= set(items) for items in lists) for j in range(ITEMS)] for i in range(ITEMS)]
    assert counts.toarray().tolist() == expected


@pytest.mark.parametrize("name", BASELINES)
def test_every_shipped_baseline_is_fitted_from_sums(name):
    lists = [[0, 1, 2], [2, 0], [3, 4, 1], [5], [6, 2, 4, 1]]
    train, first, second = histories(lists), make_baseline(name), make_baseline(name)
    assert isinstance(second, SummedBaseline)
    first.fit(train, ITEMS)
    second.fit_sums(second.summed(ITEMS).of(train))
    users = np.arange(5)
    assert np.array_equal(first.scorer(train)(users), second.scorer(train)(users))


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("at_once", [2**22, 40])
def test_workers_give_the_bytes_of_one_process(timed, monkeypatch, workers, at_once):
    monkeypatch.setattr(user_sums, "INTERACTIONS_AT_ONCE", at_once)
    dataset = Dataset.load(timed)
    train, n = dataset.histories("train"), dataset.n_items
    sums = [ItemCounts(n), PairCounts(n, 50, 0.7, 1.0), UsersOfPairs(n), DecayedPairs(n, 1.0, 50)]
    executor = PickledExecutor(workers)
    for value, summed in zip(sum_on(executor, dataset, sums), sums, strict=True):
        assert_same_bytes(value, sum_users(summed, train))
    rounded = 2 * -(-len(train.items) // at_once)
    assert executor.parts == 2 * workers + rounded


def test_the_rounding_is_that_of_the_parts_and_not_of_the_workers(timed, monkeypatch):
    train, n = Dataset.load(timed).histories("train"), Dataset.load(timed).n_items
    summed = PairCounts(n, 50, 0.7, 1.0)
    whole = sum_users(summed, train)
    monkeypatch.setattr(user_sums, "INTERACTIONS_AT_ONCE", 40)
    parts = sum_users(summed, train)
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-12)
    assert parts[0].tobytes() != whole[0].tobytes()


def test_a_worker_opens_the_dataset_once_for_the_sums_and_the_run(run, timed):
    from demure.runs.ranking import RankTask

    worker, part = Worker(1), SumPart(0, range(9))
    first, second = (UserSumTask(timed, (kind(50),)) for kind in (ItemCounts, UsersPerItem))
    worker.work(SentTask.of(0, first), part)
    opened = worker._current.task.opened
    worker.work(SentTask.of(1, second), part)
    assert worker._current.task.opened is opened
    worker.work(SentTask.of(2, RankTask(run, "test", (5,), "cpu")), np.arange(3))
    assert worker._current.task.loaded.dataset is opened


@pytest.mark.parametrize("walk", [{"nearness": 1.0, "linear": 0.5}, {"nearness": 0.0, "fading": 0.0, "linear": 0.25}])
def test_lists_by_workers_with_a_fit_made_once(run, tmp_path, monkeypatch, walk):
    """The linear model is fitted once for three workers, and the lists are the same byte for byte."""
    folder = with_walk(run, tmp_path / "run", **walk)
    monkeypatch.setattr(user_sums, "INTERACTIONS_AT_ONCE", 100)
    fits, fit_sums = [], Ease.fit_sums
    monkeypatch.setattr(Ease, "fit_sums", lambda self, sums: (fits.append(1), fit_sums(self, sums))[1])
    local = recommend(folder, tmp_path / "local.parquet", k=5)
    assert len(fits) == 1
    remote = recommend(folder, tmp_path / "remote.parquet", k=5, executor=PickledExecutor(3))
    assert len(fits) == 2
    assert filecmp.cmp(local.written, remote.written, shallow=False)


@pytest.mark.parametrize("recipe", ["item-knn", "item-knn-decayed", "ease"])
def test_baselines_by_workers(timed, tmp_path, recipe, monkeypatch):
    monkeypatch.setattr(user_sums, "INTERACTIONS_AT_ONCE", 100)
    train(timed, tmp_path / "run", recipe=recipe, device="cpu")
    local = evaluate_runs([tmp_path / "run"], per_user=tmp_path / "local.parquet")
    remote = evaluate_runs([tmp_path / "run"], per_user=tmp_path / "remote.parquet", executor=PickledExecutor(2))
    assert filecmp.cmp(tmp_path / "local.parquet", tmp_path / "remote.parquet", shallow=False)
    assert local.runs[0].metrics == remote.runs[0].metrics


def test_an_error_of_a_sum_is_that_of_the_fit(untimed):
    dataset, model = Dataset.load(untimed), make_baseline("item-knn-decayed")
    with pytest.raises(DemureError, match="carry no timestamps") as local:
        model.fit(dataset.histories("train"), dataset.n_items)
    with pytest.raises(DemureError) as remote:
        sum_on(PickledExecutor(2), dataset, [model.summed(dataset.n_items)])
    assert str(remote.value) == str(local.value)
