"""The loop of the baselines that learn: the same for all, stopped by recall on validation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from demure.baselines.learned import Learned, LearnedOptions, Task
from demure.baselines.registry import WITH_CONTENT, make_learned
from demure.errors import RunError
from demure.evaluation.ranking import evaluate
from demure.features import store
from demure.features.choosing import by_default
from demure.features.scaling import robust
from demure.progress import Listener, Progress
from demure.training.checkpoint import Keeper, Log

if TYPE_CHECKING:
    from demure.data.dataset import Dataset, Histories

METRIC = "recall@20"


def task_of(data: Dataset, model: str, modalities: tuple[str, ...]) -> Task:
    """The training histories, and the features where ``model`` can use them: ``modalities``, or those by default."""
    names: list[str] = []
    if model in WITH_CONTENT:
        names = [n for n in store.names(data.path) if n in modalities] if modalities else by_default(data.path)[0]
    content = {name: robust(store.load(data.path, name)) for name in names}
    return Task(data.histories("train"), data.n_items, content)


def start(model: str, options: LearnedOptions, task: Task, seed: int, device: torch.device) -> Learned:
    """The model with the first weights of ``seed``."""
    torch.manual_seed(seed)
    return make_learned(model, options, task).to(device)


def learn(
    module: Learned,
    valid: Histories,
    task: Task,
    *,
    seed: int,
    folder: Path,
    signature: str,
    resume: bool,
    listener: Listener,
) -> Log:
    """Train until ``METRIC`` on ``valid`` stops improving; leave ``module`` at its best epoch.

    Where there is no validation part the last epoch is kept. Checkpoints as in ``demure.training.fit.fit``, at every
    judgement. Raises ``RunError`` when a loss is not finite.
    """
    options = module.options
    optimiser = torch.optim.Adam(module.parameters(), lr=options.learning_rate)
    generator = torch.Generator().manual_seed(seed)
    judged = bool(len(valid.items))
    keeper = Keeper(folder, signature, module, optimiser, generator, Log(metric=METRIC if judged else "epoch"))
    log = keeper.go_on() if resume else keeper.log
    while not log.epochs or (
        log.epochs[-1]["epoch"] < options.epochs and len(log.epochs) - 1 - log.best < options.patience
    ):
        epoch = 0 if not log.epochs else int(log.epochs[-1]["epoch"])
        losses: list[float] = []
        for _ in range(min(options.every, options.epochs - epoch) if log.epochs else 0):
            epoch += 1
            losses += _epoch(module, optimiser, generator, seed, epoch, listener)
        entry: dict[str, float] = {"epoch": epoch}
        if judged:
            means = evaluate(module.scorer(task.train), valid, task.train, (20,), task.n_items).means()
            entry |= {METRIC: means[METRIC], "ndcg@20": means["ndcg@20"]}
        keeper.note({**entry, "loss": float(np.mean(losses))} if losses else entry)
    return keeper.finish()


def _epoch(
    module: Learned,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    seed: int,
    epoch: int,
    listener: Listener,
) -> list[float]:
    """The losses of one epoch's steps."""
    torch.manual_seed(seed * 1_000_003 + epoch)  # dropout draws from here: a resumed training as well
    module.train()
    losses = []
    for loss in module.losses(generator):
        value = float(loss.detach())
        if not math.isfinite(value):
            raise RunError(
                f"the loss is {value} in epoch {epoch}",
                remedy="the last good epoch is kept; lower baseline.learning_rate and start again",
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(value)
    listener(Progress("train", epoch, module.options.epochs, {"epoch": epoch, "loss": losses[-1] if losses else 0.0}))
    return losses
