"""The loop: contrastive learning of the denoiser on hidden interactions, with checkpoints that resume exactly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from demure.errors import RunError
from demure.model.denoiser import Denoiser
from demure.progress import Listener, Progress
from demure.recipe.schema import TrainingRecipe
from demure.training.batches import hide, pieces
from demure.training.checkpoint import Keeper, Log
from demure.training.watch import Watch

if TYPE_CHECKING:
    from demure.data.dataset import Histories

_CLIP = 1.0


def fit(
    denoiser: Denoiser,
    train: Histories,
    watch: Watch,
    recipe: TrainingRecipe,
    *,
    seed: int,
    folder: Path,
    signature: str,
    resume: bool,
    listener: Listener,
) -> Log:
    """Train until validation stops improving; then hold all that and learn where single items differ from their
    features, until it stops again. Leaves ``denoiser`` at its best epoch.

    After every epoch ``folder`` holds metrics.jsonl and a checkpoint; with ``resume`` training goes on from it and ends
    as if it had never stopped. ``signature`` names what the checkpoint belongs to. Where no user has two interactions
    nothing is learned. Raises ``RunError`` for a checkpoint of something else, and when the loss is not finite.
    """
    optimiser = torch.optim.Adam(_groups(denoiser, recipe))
    generator = torch.Generator().manual_seed(seed)
    keeper = Keeper(folder, signature, denoiser, optimiser, generator, Log(metric="valid_log_likelihood"))
    log = keeper.go_on() if resume else keeper.log

    def judge(**told: float) -> None:
        value = watch.log_likelihood(denoiser)
        if not math.isfinite(value):
            raise RunError(
                f"the validation likelihood is {value} after epoch {len(log.epochs)}",
                where=folder,
                remedy="the last good epoch is kept; lower the learning rates and start again",
            )
        keeper.note({"epoch": len(log.epochs), "valid_log_likelihood": value, **told})

    def step() -> float:
        return _epoch(denoiser, optimiser, train, watch.kept, recipe, generator, len(log.epochs), listener)

    if not log.epochs:
        judge()
    first = next((at for at, entry in enumerate(log.epochs) if "offsets" in entry), 0)
    epochs = recipe.epochs if len(watch.kept) else 0  # one interaction each: none to tell from the others
    while not first and len(log.epochs) <= epochs and len(log.epochs) - 1 - log.best < recipe.patience:
        judge(loss=step())
    if not epochs or not recipe.offset_epochs:
        return keeper.finish()
    if not first:
        first = len(log.epochs)
        keeper.begin_again()
    denoiser.learn_offsets()
    while (
        len(log.epochs) < first + recipe.offset_epochs and len(log.epochs) - max(log.best + 1, first) < recipe.patience
    ):
        judge(loss=step(), offsets=1.0)
    return keeper.finish()


def _epoch(
    denoiser: Denoiser,
    optimiser: torch.optim.Optimizer,
    train: Histories,
    users: np.ndarray,
    recipe: TrainingRecipe,
    generator: torch.Generator,
    epoch: int,
    listener: Listener,
) -> float:
    """One epoch of ``epoch_steps`` steps over ``users``; the mean loss, in nats per hidden interaction."""
    device = denoiser.popularity_I.device
    losses = []
    total = (recipe.epochs + recipe.offset_epochs) * recipe.epoch_steps
    for step in range(recipe.epoch_steps):
        # Long histories make small batches: a step costs users x history x history.
        chosen = torch.randint(len(users), (recipe.batch_users,), generator=generator).numpy()
        items = pieces(train, users[chosen], recipe.history, generator)
        items = items[: max(1, recipe.batch_cells // items.shape[1] ** 2)]
        items = items[:, : max(int((items >= 0).sum(1).max()), 1)]
        known = hide(items, recipe.held_out, generator)
        context = denoiser.context(torch.as_tensor(items).to(device), known.to(device))
        found, _ = denoiser.log_likelihood(context, denoiser.views(generator))
        loss = denoiser.surprise(len(train.items)) - found.mean()
        if not torch.isfinite(loss):
            raise RunError(
                f"the loss is {loss.item()} in epoch {epoch}, step {step + 1}",
                remedy="the last good epoch is kept; lower the learning rates and start again",
            )
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), _CLIP)
        optimiser.step()
        losses.append(float(loss.detach()))
        done = (epoch - 1) * recipe.epoch_steps + step + 1
        listener(Progress("train", done, total, {"epoch": epoch, "loss": losses[-1]}))
    return sum(losses) / len(losses)


def _groups(denoiser: Denoiser, recipe: TrainingRecipe) -> list[dict[str, Any]]:
    """Parameters by learning rate: gates move fast; a metric barely, since the pretrained encoder had it right."""
    rates = {
        "gate": recipe.gate_rate,
        "roundness": recipe.gate_rate,
        "log_metric": recipe.metric_rate,
        "themes": recipe.theme_rate,
        "offset_ID": recipe.point_offset_rate,
        "offset_IC": recipe.theme_offset_rate,
    }
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in denoiser.named_parameters():
        kind = name.rsplit(".", 1)[-1]
        kind = "themes" if ".themes." in name and kind in ("weight", "bias") else kind
        groups.setdefault(rates.get(kind, recipe.learning_rate), []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]
