"""Train a baseline with weights: the same loop for all, stopped by recall on validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from demure.baselines.learned import Learned, Task
from demure.evaluation.ranking import evaluate, mean_of
from demure.progress import Progress
from demure.training.checkpoint import CheckpointManager, TrainingContext, TrainingLog
from demure.training.optimizer import Optimizer
from demure.training.stages import TRAIN, stopped_early

if TYPE_CHECKING:
    from demure.compute.process_group import ProcessGroup
    from demure.data.histories import Histories

METRICS = ("recall@20", "ndcg@20")
"""Measured on validation; the first one decides."""
_MAX_SCORES = 2_000_000_000  # users x items ranked at a validation
_MIN_USERS = 100


def train_baseline(
    module: Learned, valid: Histories, task: Task, *, seed: int, signature: str, context: TrainingContext
) -> TrainingLog:
    """Train until recall@20 on ``valid`` stops improving; leave ``module`` at its best epoch.

    Without a validation part the last epoch is kept. Where users times items are more than ``_MAX_SCORES``, a sample of
    the users is validated. Checkpoints as in :func:`demure.training.denoiser_loop.train_denoiser`. Raises ``RunError``
    when a loss is not finite.
    """
    options = module.options
    groups = [{"params": list(module.parameters()), "lr": options.learning_rate}]
    optimizer = Optimizer(groups, module.rowwise(), context.processes)
    generator = torch.Generator().manual_seed(seed)
    validated = bool(len(valid.items))
    sample = _sample_users(valid, task.n_items, seed)
    log = TrainingLog(metric=METRICS[0] if validated else "epoch")
    checkpoints = CheckpointManager(context, signature, module, optimizer, generator, log)
    log = checkpoints.log
    with checkpoints.handle_signals():
        while not log.entries or (
            log.last_epoch < options.epochs and len(log.entries) - 1 - log.best_entry < options.patience
        ):
            last = log.last_epoch
            until = min(last + options.every, options.epochs) if log.entries else 0
            while last + checkpoints.state.epochs < until:
                train_epoch(module, checkpoints, seed, last + checkpoints.state.epochs + 1)
            entry: dict[str, float] = {"epoch": until}
            if validated:
                entry |= _validate(module, sample, task, context.processes)
            losses = checkpoints.state.losses
            checkpoints.record({**entry, "loss": float(np.mean(losses))} if losses else entry)
        if log.last_epoch < options.epochs:
            context.listener(stopped_early(log, log.last_epoch - log.best_epoch, options.epochs))
        return checkpoints.finish()


def train_epoch(module: Learned, checkpoints: CheckpointManager, seed: int, epoch: int) -> None:
    """Train one epoch, or the rest of an interrupted one."""
    state, generator = checkpoints.state, checkpoints.generator
    module.epoch = epoch
    if state.began is None:
        with checkpoints.uninterrupted():
            torch.manual_seed(seed * 1_000_003 + epoch)  # dropout draws from here
            state.began = generator.get_state()
            batches = module.batches(generator)
    else:  # draw the same batches again, then go on with the random numbers of the interruption
        now = generator.get_state()
        generator.set_state(state.began)
        batches = module.batches(generator)
        generator.set_state(now)
    module.train()
    for batch in batches[state.steps :]:
        with checkpoints.uninterrupted():
            loss = module.step_loss(batch, generator, checkpoints.context.processes.own_part)
            state.losses.append(checkpoints.optimizer.step(loss, f"epoch {epoch}", "baseline.learning_rate"))
            state.steps += 1
        checkpoints.save_if_due()
    with checkpoints.uninterrupted():
        state.epochs, state.steps, state.began = state.epochs + 1, 0, None
    fields: dict[str, float | str] = {"epoch": epoch, "loss": state.losses[-1] if state.losses else 0.0}
    checkpoints.context.listener(Progress(TRAIN, epoch, module.options.epochs, fields))


def _validate(module: Learned, valid: Histories, task: Task, processes: ProcessGroup) -> dict[str, float]:
    """Return the means of ``METRICS``; each process ranks for its part of the users."""
    n_users = len(valid.lengths)
    own = valid if processes.size == 1 else valid.mask_users(np.arange(n_users) % processes.size == processes.rank)
    evaluation = evaluate(module.scorer(task.train), own, task.train, (20,), task.n_items)
    values = torch.zeros(1 + len(METRICS), n_users, dtype=torch.float64)  # first row: whether the user is ranked
    columns = [np.ones(len(evaluation.users)), *(evaluation.per_user[name] for name in METRICS)]
    values[:, evaluation.users] = torch.from_numpy(np.stack(columns))
    values = processes.sum(values)
    ranked = values[0].numpy() > 0
    return {name: mean_of(values[k].numpy()[ranked]) for k, name in enumerate(METRICS, start=1)}


def _sample_users(valid: Histories, n_items: int, seed: int) -> Histories:
    """Return ``valid`` with so few users that all items can be ranked for them at every validation."""
    users = np.flatnonzero(valid.lengths)
    max_users = max(_MIN_USERS, _MAX_SCORES // n_items)
    if len(users) <= max_users:
        return valid
    kept = np.zeros(len(valid.indptr) - 1, bool)
    kept[np.random.default_rng(seed).choice(users, max_users, replace=False)] = True
    return valid.mask_users(kept)
