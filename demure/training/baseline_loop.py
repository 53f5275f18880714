"""The loop of the baselines that learn: the same for all, stopped by recall on validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from demure.baselines.learned import Learned, Task
from demure.evaluation.ranking import evaluate, mean_of
from demure.progress import Progress
from demure.training.checkpoint import TrainingContext, CheckpointManager, TrainingLog
from demure.training.optimizer import Optimizer

if TYPE_CHECKING:
    from demure.compute.process_group import Team
    from demure.data.histories import Histories

METRIC = "recall@20"
_SCORES = 2_000_000_000  # users x items ranked at a judgement
_FEWEST = 100


def train_baseline(module: Learned, valid: Histories, task: Task, *, seed: int, signature: str, care: TrainingContext) -> TrainingLog:
    """Train until ``METRIC`` on ``valid`` stops improving; leave ``module`` at its best epoch.

    Where there is no validation part the last epoch is kept. Where users times items are more than two thousand
    million, a sample of the users is judged. Checkpoints as in ``demure.training.denoiser_loop.fit``. Raises
    ``RunError`` when a loss is not finite.
    """
    options = module.options
    descent = Optimizer([{"params": list(module.parameters()), "lr": options.learning_rate}], module.rowwise(), care.team)
    generator = torch.Generator().manual_seed(seed)
    judged = bool(len(valid.items))
    watched = _sample(valid, task.n_items, seed)
    keeper = CheckpointManager(care, signature, module, descent, generator, TrainingLog(metric=METRIC if judged else "epoch"))
    log = keeper.log
    with keeper.watching():
        while not log.epochs or (
            log.epochs[-1]["epoch"] < options.epochs and len(log.epochs) - 1 - log.best < options.patience
        ):
            last = int(log.epochs[-1]["epoch"]) if log.epochs else 0
            until = min(last + options.every, options.epochs) if log.epochs else 0
            while last + keeper.place.epochs < until:
                _epoch(module, descent, generator, keeper, seed, last + keeper.place.epochs + 1)
            entry: dict[str, float] = {"epoch": until}
            if judged:
                entry |= _means(module, watched, task, care.team)
            losses = keeper.place.losses
            keeper.note({**entry, "loss": float(np.mean(losses))} if losses else entry)
        return keeper.finish()


def _epoch(
    module: Learned, descent: Optimizer, generator: torch.Generator, keeper: CheckpointManager, seed: int, epoch: int
) -> None:
    """One epoch, or the rest of one that was cut off."""
    place = keeper.place
    if place.began is None:
        with keeper.whole():
            torch.manual_seed(seed * 1_000_003 + epoch)  # dropout draws from here
            place.began = generator.get_state()
            batches = module.batches(generator)
    else:  # the same batches again, and then the random numbers where they were
        now = generator.get_state()
        generator.set_state(place.began)
        batches = module.batches(generator)
        generator.set_state(now)
    module.train()
    for batch in batches[place.steps :]:
        with keeper.whole():
            loss = module.loss_of(batch, generator, keeper.care.team.own)
            place.losses.append(descent.step(loss, f"epoch {epoch}", "baseline.learning_rate"))
            place.steps += 1
        keeper.tick()
    with keeper.whole():
        place.epochs, place.steps, place.began = place.epochs + 1, 0, None
    told: dict[str, float | str] = {"epoch": epoch, "loss": place.losses[-1] if place.losses else 0.0}
    keeper.care.listener(Progress("train", epoch, module.options.epochs, told))


def _means(module: Learned, valid: Histories, task: Task, team: Team) -> dict[str, float]:
    """recall@20 and ndcg@20, each process of the team ranking for its part of the users."""
    length = valid.lengths
    own = valid if team.size == 1 else valid.mask_users(np.arange(len(length)) % team.size == team.rank)
    found = evaluate(module.scorer(task.train), own, task.train, (20,), task.n_items)
    values = torch.zeros(3, len(length), dtype=torch.float64)
    values[:, found.users] = torch.from_numpy(
        np.stack([np.ones(len(found.users)), *(found.per_user[name] for name in (METRIC, "ndcg@20"))])
    )
    values = team.sum_of(values)
    users = values[0].numpy() > 0
    return {name: mean_of(values[k].numpy()[users]) for k, name in enumerate((METRIC, "ndcg@20"), start=1)}


def _sample(valid: Histories, n_items: int, seed: int) -> Histories:
    """``valid`` with so few users that all items can be ranked for them after every few epochs."""
    users = np.flatnonzero(valid.lengths)
    most = max(_FEWEST, _SCORES // n_items)
    if len(users) <= most:
        return valid
    kept = np.zeros(len(valid.indptr) - 1, bool)
    kept[np.random.default_rng(seed).choice(users, most, replace=False)] = True
    return valid.mask_users(kept)
