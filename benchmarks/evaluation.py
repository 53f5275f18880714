"""Users judged per second, and memory at a million items: `python benchmarks/evaluation.py --help`.

One thread, and seconds of CPU rather than of the clock, so that other work on the machine disturbs less. Scores are a
product of random user and item factors, as those of most models, so that what is measured is the ranking.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # before NumPy loads

import resource
import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
import typer

from demure.data.histories import Histories
from demure.evaluation.lists import Catalogue, popularity
from demure.evaluation.ranking import evaluate, users_at_once

KS = (5, 10, 20, 50)
FACTORS = 64
app = typer.Typer(add_completion=False)
torch.set_num_threads(1)


class Problem:
    """Factors, five relevant and thirty seen items of each user, and the lists as peers hold them."""

    def __init__(self, users: int, items: int) -> None:
        random = np.random.default_rng(0)
        self.users, self.items = users, items
        self.of_users = random.standard_normal((users, FACTORS), dtype=np.float32)
        self.of_items = random.standard_normal((items, FACTORS), dtype=np.float32)
        self.relevant = random.integers(0, items, (users, 5))
        self.seen = random.integers(0, items, (users, 30))
        self.block = users_at_once(items)

    def scorer(self, users: np.ndarray) -> np.ndarray:
        return self.of_users[users] @ self.of_items.T

    def histories(self, items: np.ndarray) -> Histories:
        return Histories(np.arange(self.users + 1) * items.shape[1], items.ravel())

    def blocks(self, size: int) -> list[np.ndarray]:
        return [np.arange(at, min(at + size, self.users)) for at in range(0, self.users, size)]


def bare(problem: Problem) -> None:
    """Nothing but the product and its top k, in the blocks that we use."""
    for block in problem.blocks(problem.block):
        torch.topk(torch.from_numpy(problem.scorer(block)), max(KS), dim=1)


def ours(problem: Problem) -> None:
    evaluate(problem.scorer, problem.histories(problem.relevant), problem.histories(problem.seen), KS, problem.items)


def ours_with_lists(problem: Problem) -> None:
    """Coverage, Gini, novelty, popularity and the diversity of one modality as well."""
    seen = problem.histories(problem.seen)
    unit = problem.of_items / np.linalg.norm(problem.of_items, axis=1, keepdims=True)
    catalogue = Catalogue(*popularity(seen, problem.items), {"image": unit})
    evaluate(problem.scorer, problem.histories(problem.relevant), seen, KS, problem.items, catalogue=catalogue)


def recbole(problem: Problem, size: int | None = None) -> None:
    """As RecBole 1.2.1 does it (trainer._full_sort_batch_eval, collector.eval_batch_collect): a dense matrix of what is
    relevant, gathered at the top k; with its default of 4,096 scores in a batch, but never less than a user."""
    results = []
    for block in problem.blocks(size or max(4096 // problem.items, 1)):
        scores = torch.from_numpy(problem.scorer(block))
        scores[torch.arange(len(block)).repeat_interleave(30), torch.from_numpy(problem.seen[block].ravel())] = -np.inf
        _, top = torch.topk(scores, max(KS), dim=-1)
        relevant = torch.zeros_like(scores, dtype=torch.int)
        relevant[torch.arange(len(block)).repeat_interleave(5), torch.from_numpy(problem.relevant[block].ravel())] = 1
        results.append(torch.cat((torch.gather(relevant, 1, top), relevant.sum(dim=1, keepdim=True)), dim=1))
    _metrics(torch.cat(results).numpy())


def mmrec(problem: Problem) -> None:
    """As MMRec does it (common/trainer.evaluate, utils/topk_evaluator.evaluate): batches of users, then a loop over
    users and ranks in Python; with its default of 4,096 users in a batch, or as many as make 500 million scores."""
    tops = []
    for block in problem.blocks(min(4096, max(1, 500_000_000 // problem.items))):
        scores = torch.from_numpy(problem.scorer(block))
        scores[torch.arange(len(block)).repeat_interleave(30), torch.from_numpy(problem.seen[block].ravel())] = -1e10
        tops.append(torch.topk(scores, max(KS), dim=-1)[1])
    relevant = list(problem.relevant)
    hits = [[item in wanted for item in row] for wanted, row in zip(relevant, torch.cat(tops).numpy(), strict=True)]
    lengths = np.array([[len(wanted)] for wanted in relevant])
    _metrics(np.concatenate([np.asarray(hits, dtype=int), lengths], axis=1))


def _metrics(result: np.ndarray) -> None:
    """Recall, precision, NDCG and hit rate at every rank, as both of them compute them, in a few array operations."""
    hits, relevant = result[:, :-1], result[:, -1:]
    found = hits.cumsum(axis=1)
    discount = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    ideal = discount.cumsum()[np.minimum(np.arange(hits.shape[1]), relevant - 1)]
    for values in (
        found / relevant,
        found / np.arange(1, hits.shape[1] + 1),
        (hits * discount).cumsum(1) / ideal,
        found > 0,
    ):
        values.mean(axis=0)


@app.command()
def speed(
    items: Annotated[str, typer.Option(help="Catalogues to try.")] = "1682,10000,100000,1000000",
    seconds: Annotated[float, typer.Option(help="About how long each way is to take, once.")] = 2.0,
    rounds: Annotated[int, typer.Option(help="The best of so many, all ways taking turns.")] = 3,
) -> None:
    """Users per second of every way, on the same users, and how much of the bare product each reaches."""
    ways: dict[str, Callable[[Problem], None]] = {
        "bare product + top-k": bare,
        "demure": ours,
        "demure, with the metrics of lists": ours_with_lists,
        "RecBole's style, its batches": recbole,
        "RecBole's style, our blocks": lambda problem: recbole(problem, problem.block),
        "MMRec's style": mmrec,
    }
    print("| items | users | way | users per CPU s | of bare |\n| --- | --- | --- | --- | --- |")
    for count in map(int, items.split(",")):
        probe = Problem(users_at_once(count), count)
        users = int(np.clip(_timed(bare, probe) ** -1 * probe.users * seconds, 8 * probe.users, 20_000))
        problem = Problem(users, count)
        best = {name: min(times) for name, times in _in_turn(ways, problem, rounds).items()}
        for name, taken in best.items():
            ratio = best["bare product + top-k"] / taken
            print(f"| {count:,} | {users:,} | {name} | {users / taken:,.0f} | {ratio:.2f} |", flush=True)


def _in_turn(ways: dict[str, Callable[[Problem], None]], problem: Problem, rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(_timed(way, problem))
    return taken


def _timed(way: Callable[[Problem], None], problem: Problem) -> float:
    began = time.process_time()
    way(problem)
    return time.process_time() - began


@app.command()
def memory(items: int = 1_000_000, users: int = 512) -> None:
    """Peak memory of judging at a million items, beyond what the factors take."""
    problem = Problem(users, items)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = _timed(ours, problem)
    plain = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _timed(ours_with_lists, problem)
    lists = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{items:,} items, {users:,} users ({4 * items * users / 2**30:.1f} GiB of scores) in {taken:.0f} CPU s: "
        f"{before / 2**20:.2f} GiB before, peak {plain / 2**20:.2f} GiB, "
        f"with the metrics of lists and a modality of {FACTORS} columns {lists / 2**20:.2f} GiB"
    )


if __name__ == "__main__":
    app()
