"""The loop: contrastive learning of the denoiser on hidden interactions, with checkpoints that resume exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from demure.errors import RunError
from demure.model.denoiser import Denoiser
from demure.progress import Progress
from demure.recipe.schema import TrainingRecipe
from demure.training.batches import hide, pieces, shorter
from demure.training.checkpoint import TrainingContext, CheckpointManager, TrainingLog
from demure.training.optimizer import Optimizer
from demure.training.validation import Validation

if TYPE_CHECKING:
    from demure.compute.process_group import Team
    from demure.training.rivals import Rivals

FITTED = "rivals.safetensors"
_CLIP = 1.0


def train_denoiser(
    denoiser: Denoiser,
    rivals: Rivals,
    watch: Validation,
    recipe: TrainingRecipe,
    *,
    seed: int,
    signature: str,
    care: TrainingContext,
) -> TrainingLog:
    """Train the content against popularity until validation stops improving, fit the ``rivals`` beside it and train on
    against them; then hold all that and learn where single items differ from their features, until it stops again.
    Leaves ``denoiser`` at its best epoch.

    After every epoch, and every ``care.minutes``, ``care.folder`` holds metrics.jsonl and a checkpoint; resumed,
    training goes on from it and ends as if it had never stopped. ``signature`` names what the checkpoint belongs to.
    Where no user has two interactions nothing is learned; where the catalogue is large, no offsets are. Raises
    ``RunError`` for a checkpoint of something else, and when the loss is not finite.
    """
    train = rivals.train
    descent = Optimizer(_groups(denoiser, recipe), (), care.team)
    generator = torch.Generator().manual_seed(seed)
    keeper = CheckpointManager(care, signature, denoiser, descent, generator, TrainingLog(metric="valid_log_likelihood"))
    log = keeper.log

    def judge(mark: str | None = None, *, anew: bool = False) -> None:
        value = watch.log_likelihood(denoiser)
        losses = keeper.place.losses
        epoch_number = sum("loss" in entry for entry in log.epochs) + bool(losses)  # the rivals' fit is no epoch
        if not math.isfinite(value):
            raise RunError(
                f"the validation likelihood is {value} after epoch {epoch_number}",
                where=care.folder,
                remedy="the last good epoch is kept; lower the learning rates and start again",
            )
        mean = {"loss": sum(losses) / len(losses), "prior": prior()} if losses else {}
        marked = {} if mark is None else {mark: 1.0}
        keeper.note({"epoch": epoch_number, "valid_log_likelihood": value, **mean, **marked}, anew=anew)

    @torch.no_grad()
    def prior() -> float:
        """The part of the loss that is the prior's."""
        return float(denoiser.surprise(len(train.items)))

    def epoch() -> None:
        _epoch(denoiser, descent, rivals, watch.kept, recipe, generator, keeper)

    def stage(first: int, limit: int, mark: str | None = None) -> None:
        """At most ``limit`` epochs from entry ``first`` of the log on, until validation stops improving."""
        while len(log.epochs) < first + limit and len(log.epochs) - max(log.best + 1, first) < recipe.patience:
            epoch()
            judge(mark)

    epochs = recipe.epochs if len(watch.kept) else 0  # one interaction each: none to tell from the others
    alone = min(recipe.alone_epochs, epochs) if denoiser.shape.rivals else epochs
    with keeper.watching():
        if not log.epochs:
            judge()
        if not keeper.place.phase:
            stage(1, alone)
            keeper.begin_again()
        if denoiser.shape.rivals:
            if _first(log, "rivals") is None:
                care.listener(Progress("fit the rivals of content", 0))
                rivals.fit(denoiser)
                if care.team.leads:
                    rivals.save(care.folder / FITTED)
                judge("rivals", anew=True)
            else:
                rivals.load(care.folder / FITTED)
            if keeper.place.phase == 1:
                stage((_first(log, "rivals") or 0) + 1, epochs - alone, "rivals")
                keeper.begin_again()
        if epochs and recipe.offset_epochs and not denoiser.large:
            denoiser.learn_offsets()
            first = _first(log, "offsets")
            stage(len(log.epochs) if first is None else first, recipe.offset_epochs, "offsets")
        return keeper.finish()


def _first(log: TrainingLog, mark: str) -> int | None:
    """The first entry of the log with ``mark``."""
    return next((at for at, entry in enumerate(log.epochs) if mark in entry), None)


def _epoch(
    denoiser: Denoiser,
    descent: Optimizer,
    rivals: Rivals,
    users: np.ndarray,
    recipe: TrainingRecipe,
    generator: torch.Generator,
    keeper: CheckpointManager,
) -> None:
    """One epoch of ``epoch_steps`` steps over ``users``, or the rest of one; losses in nats per hidden interaction."""
    epoch, place = int(keeper.log.epochs[-1]["epoch"]) + 1, keeper.place
    total = (recipe.epochs + recipe.offset_epochs) * recipe.epoch_steps
    while place.steps < recipe.epoch_steps:
        with keeper.whole():
            # Long histories make small batches: a step costs users x history x history.
            chosen = torch.randint(len(users), (recipe.batch_users,), generator=generator).numpy()
            at = pieces(rivals.train, users[chosen], recipe.history, generator)
            at = at[: max(1, recipe.batch_cells // at.shape[1] ** 2)]
            at = at[:, : max(int((at >= 0).sum(1).max()), 1)]
            known = hide(at, recipe.held_out, generator)
            loss = loss_of(denoiser, rivals, at, known, generator, keeper.care.team)
            where = f"epoch {epoch}, step {place.steps + 1}"
            place.losses.append(descent.step(loss, where, "the learning rates", clip=_CLIP))
            place.steps += 1
        keeper.tick()
        done = (epoch - 1) * recipe.epoch_steps + place.steps
        keeper.care.listener(Progress("train", done, total, {"epoch": epoch, "loss": place.losses[-1]}))


def loss_of(
    denoiser: Denoiser,
    rivals: Rivals,
    at_BT: np.ndarray,
    known_BT: torch.Tensor,
    generator: torch.Generator,
    team: Team,
) -> torch.Tensor:
    """This process' part of the loss of a batch of training interactions, by their numbers ``at_BT``: the mean of
    -log p(i)/p_t(i) over what is hidden, and the prior."""
    device, interactions = denoiser.popularity_I.device, len(rivals.train.items)
    items_BT = np.where(at_BT >= 0, rivals.train.items[at_BT], -1)
    hidden = int(((items_BT >= 0) & ~known_BT.numpy()).sum())
    views, items_BT = denoiser.views_for(items_BT, generator)
    loss = denoiser.surprise(interactions) / team.size
    own = team.own(torch.arange(len(items_BT))).numpy()
    for rows in shorter(items_BT[own]):
        longest = max(int((items_BT[own[rows]] >= 0).sum(1).max()), 1)
        part = torch.as_tensor(items_BT[own[rows], :longest]).to(device)
        beside = rivals.beside(at_BT[own[rows], :longest], device)
        known = known_BT[own[rows], :longest].to(device)
        found, _ = denoiser.log_likelihood(denoiser.context(part, known, beside), views)
        loss = loss - found.sum() / hidden
    return loss


def _groups(denoiser: Denoiser, recipe: TrainingRecipe) -> list[dict[str, Any]]:
    """Parameters by learning rate: gates move fast; a metric barely, since the pretrained encoder had it right."""
    rates = {
        "gate": recipe.gate_rate,
        "roundness": recipe.gate_rate,
        "log_metric": recipe.metric_rate,
        "themes": recipe.theme_rate,
        "offset_ID": recipe.point_offset_rate,
    }
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in denoiser.named_parameters():
        kind = name.rsplit(".", 1)[-1]
        kind = "themes" if ".themes." in name and kind in ("weight", "bias") else kind
        groups.setdefault(rates.get(kind, recipe.learning_rate), []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]
