"""Users evaluated per second, and memory at a million items: `python benchmarks/evaluation.py --help`.

It runs on one thread and counts CPU seconds, so that other work on the machine disturbs it less. Scores are a product
of random user and item factors, as in most models: cheap enough that the ranking takes most of the time.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # before NumPy loads

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from ranking_problem import FACTORS, KS, Problem, bare, ours

from demure.evaluation.beyond_accuracy import Catalogue, users_per_item
from demure.evaluation.ranking import Scorer, evaluate, users_at_once
from demure.runs.load import LoadedRun, load_run
from demure.runs.ranking import SplitData

app = typer.Typer(add_completion=False)
torch.set_num_threads(1)


def ours_with_lists(problem: Problem) -> None:
    """Measure coverage, Gini, novelty, popularity and the diversity of one modality as well."""
    past = problem.histories(problem.past)
    unit = problem.of_items / np.linalg.norm(problem.of_items, axis=1, keepdims=True)
    catalogue = Catalogue(*users_per_item(past, problem.items), {"image": unit})
    evaluate(problem.scorer, problem.histories(problem.relevant), past, KS, problem.items, catalogue=catalogue)


def recbole(problem: Problem, size: int | None = None) -> None:
    """Evaluate as RecBole 1.2.1 (trainer._full_sort_batch_eval, collector.eval_batch_collect): a dense matrix of the
    relevant items, gathered at the top k; with its default of 4,096 scores in a batch, but at least one user."""
    results = []
    for block in problem.blocks(size or max(4096 // problem.items, 1)):
        scores = torch.from_numpy(problem.scorer(block))
        scores[torch.arange(len(block)).repeat_interleave(30), torch.from_numpy(problem.past[block].ravel())] = -np.inf
        _, top = torch.topk(scores, max(KS), dim=-1)
        relevant = torch.zeros_like(scores, dtype=torch.int)
        relevant[torch.arange(len(block)).repeat_interleave(5), torch.from_numpy(problem.relevant[block].ravel())] = 1
        results.append(torch.cat((torch.gather(relevant, 1, top), relevant.sum(dim=1, keepdim=True)), dim=1))
    _metrics(torch.cat(results).numpy())


def mmrec(problem: Problem) -> None:
    """Evaluate as MMRec (common/trainer.evaluate, utils/topk_evaluator.evaluate): batches of users, then a loop over
    users and ranks in Python; with its default of 4,096 users in a batch, or fewer to stay below 500 million scores."""
    tops = []
    for block in problem.blocks(min(4096, max(1, 500_000_000 // problem.items))):
        scores = torch.from_numpy(problem.scorer(block))
        scores[torch.arange(len(block)).repeat_interleave(30), torch.from_numpy(problem.past[block].ravel())] = -1e10
        tops.append(torch.topk(scores, max(KS), dim=-1)[1])
    relevant = list(problem.relevant)
    hits = [[item in items for item in row] for items, row in zip(relevant, torch.cat(tops).numpy(), strict=True)]
    lengths = np.array([[len(items)] for items in relevant])
    _metrics(np.concatenate([np.asarray(hits, dtype=int), lengths], axis=1))


def _metrics(result: np.ndarray) -> None:
    """Compute recall, precision, NDCG and hit rate at every rank in a few array operations, as RecBole and MMRec."""
    hits, relevant = result[:, :-1], result[:, -1:]
    hits_so_far = hits.cumsum(axis=1)
    discount = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    ideal = discount.cumsum()[np.minimum(np.arange(hits.shape[1]), relevant - 1)]
    for values in (
        hits_so_far / relevant,
        hits_so_far / np.arange(1, hits.shape[1] + 1),
        (hits * discount).cumsum(1) / ideal,
        hits_so_far > 0,
    ):
        values.mean(axis=0)


@app.command()
def speed(
    items: Annotated[str, typer.Option(help="Catalogue sizes, separated by commas.")] = "1682,10000,100000,1000000",
    seconds: Annotated[float, typer.Option(help="CPU seconds of one round of each method, about.")] = 2.0,
    rounds: Annotated[int, typer.Option(help="Rounds; the best one counts, and the methods take turns.")] = 3,
) -> None:
    """Print the users per second of every method, on the same users, and the ratio to the bare product."""
    methods: dict[str, Callable[[Problem], None]] = {
        "bare product + top-k": bare,
        "demure": ours,
        "demure, with the list metrics": ours_with_lists,
        "RecBole's style, its batches": recbole,
        "RecBole's style, our blocks": lambda problem: recbole(problem, problem.block),
        "MMRec's style": mmrec,
    }
    print("| items | users | method | users per CPU s | of bare |\n| --- | --- | --- | --- | --- |")
    for count in map(int, items.split(",")):
        probe = Problem(users_at_once(count), count)
        users = int(np.clip(_timed(bare, probe) ** -1 * probe.users * seconds, 8 * probe.users, 20_000))
        problem = Problem(users, count)
        best = {name: min(times) for name, times in _in_turn(methods, problem, rounds).items()}
        for name, taken in best.items():
            ratio = best["bare product + top-k"] / taken
            print(f"| {count:,} | {users:,} | {name} | {users / taken:,.0f} | {ratio:.2f} |", flush=True)


def _in_turn(methods: dict[str, Callable[[Problem], None]], problem: Problem, rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(rounds):
        for name, method in methods.items():
            taken[name].append(_timed(method, problem))
    return taken


def _timed(method: Callable[[Problem], None], problem: Problem) -> float:
    return _seconds(lambda: method(problem))


@app.command()
def memory(items: int = 1_000_000, users: int = 512) -> None:
    """Print the peak memory of an evaluation at a million items, with and without list metrics."""
    problem = Problem(users, items)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = _timed(ours, problem)
    plain = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _timed(ours_with_lists, problem)
    lists = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{items:,} items, {users:,} users ({4 * items * users / 2**30:.1f} GiB of scores) in {taken:.0f} CPU s: "
        f"{before / 2**20:.2f} GiB before, peak {plain / 2**20:.2f} GiB, "
        f"with the list metrics and a modality of {FACTORS} columns {lists / 2**20:.2f} GiB"
    )


@app.command()
def runs(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, on their datasets.")],
    users: Annotated[int, typer.Option(help="Users that are ranked; half as many are recommended to.")] = 512,
    rounds: Annotated[int, typer.Option(help="Rounds; the best one counts.")] = 3,
) -> None:
    """Print the users per CPU second of the validation ranking of `eval`, and of `recommend`, for each run."""
    print("| run | items | ranking | recommend |\n| --- | ---: | ---: | ---: |")
    for folder in folders:
        run = load_run(folder)
        data = SplitData.of(run.dataset, "valid")
        scorer = run.scorer("valid")
        ids = [str(run.dataset.user_ids[user]) for user in data.users[: users // 2]]

        def rank(scorer: Scorer = scorer, data: SplitData = data, n_items: int = run.dataset.n_items) -> None:
            evaluate(scorer, data.relevant, data.past, (20,), n_items, users=data.users[:users])

        def recommend(run: LoadedRun = run, ids: list[str] = ids) -> None:
            run.recommend(ids, 20)

        rates = []
        for n, action in ((min(users, len(data.users)), rank), (len(ids), recommend)):
            action()  # what is computed once, at the first call, is left out
            rates.append(n / min(_seconds(action) for _ in range(rounds)))
        print(f"| {folder.name} | {run.dataset.n_items:,} | {rates[0]:,.0f} | {rates[1]:,.0f} |", flush=True)


def _seconds(action: Callable[[], None]) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began


if __name__ == "__main__":
    app()
