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
from demure.training.checkpoint import Care, Keeper, Log
from demure.training.descent import Descent
from demure.training.watch import Watch

if TYPE_CHECKING:
    from demure.data.dataset import Histories
    from demure.training.team import Team

_CLIP = 1.0


def fit(
    denoiser: Denoiser,
    train: Histories,
    watch: Watch,
    recipe: TrainingRecipe,
    *,
    seed: int,
    signature: str,
    care: Care,
) -> Log:
    """Train until validation stops improving; then hold all that and learn where single items differ from their
    features, until it stops again. Leaves ``denoiser`` at its best epoch.

    After every epoch, and every ``care.minutes``, ``care.folder`` holds metrics.jsonl and a checkpoint; resumed,
    training goes on from it and ends as if it had never stopped. ``signature`` names what the checkpoint belongs to.
    Where no user has two interactions nothing is learned; where the catalogue is large, no offsets are. Raises
    ``RunError`` for a checkpoint of something else, and when the loss is not finite.
    """
    descent = Descent(_groups(denoiser, recipe), (), care.team)
    generator = torch.Generator().manual_seed(seed)
    keeper = Keeper(care, signature, denoiser, descent, generator, Log(metric="valid_log_likelihood"))
    log = keeper.log

    def judge(**told: float) -> None:
        value = watch.log_likelihood(denoiser)
        if not math.isfinite(value):
            raise RunError(
                f"the validation likelihood is {value} after epoch {len(log.epochs)}",
                where=care.folder,
                remedy="the last good epoch is kept; lower the learning rates and start again",
            )
        losses = keeper.place.losses
        mean = {"loss": sum(losses) / len(losses), "prior": prior()} if losses else {}
        keeper.note({"epoch": len(log.epochs), "valid_log_likelihood": value, **mean, **told})

    @torch.no_grad()
    def prior() -> float:
        """The part of the loss that is the prior's."""
        return float(denoiser.surprise(len(train.items)))

    def epoch() -> None:
        _epoch(denoiser, descent, train, watch.kept, recipe, generator, keeper)

    epochs = recipe.epochs if len(watch.kept) else 0  # one interaction each: none to tell from the others
    with keeper.watching():
        if not log.epochs:
            judge()
        while not keeper.place.phase and len(log.epochs) <= epochs and len(log.epochs) - 1 - log.best < recipe.patience:
            epoch()
            judge()
        if not epochs or not recipe.offset_epochs or denoiser.large:
            return keeper.finish()
        if not keeper.place.phase:
            keeper.begin_again()
        first = next((at for at, entry in enumerate(log.epochs) if "offsets" in entry), len(log.epochs))
        denoiser.learn_offsets()
        while (
            len(log.epochs) < first + recipe.offset_epochs
            and len(log.epochs) - max(log.best + 1, first) < recipe.patience
        ):
            epoch()
            judge(offsets=1.0)
        return keeper.finish()


def _epoch(
    denoiser: Denoiser,
    descent: Descent,
    train: Histories,
    users: np.ndarray,
    recipe: TrainingRecipe,
    generator: torch.Generator,
    keeper: Keeper,
) -> None:
    """One epoch of ``epoch_steps`` steps over ``users``, or the rest of one; losses in nats per hidden interaction."""
    epoch, place = len(keeper.log.epochs), keeper.place
    total = (recipe.epochs + recipe.offset_epochs) * recipe.epoch_steps
    while place.steps < recipe.epoch_steps:
        with keeper.whole():
            # Long histories make small batches: a step costs users x history x history.
            chosen = torch.randint(len(users), (recipe.batch_users,), generator=generator).numpy()
            items = pieces(train, users[chosen], recipe.history, generator)
            items = items[: max(1, recipe.batch_cells // items.shape[1] ** 2)]
            items = items[:, : max(int((items >= 0).sum(1).max()), 1)]
            known = hide(items, recipe.held_out, generator)
            loss = loss_of(denoiser, items, known, generator, len(train.items), keeper.care.team)
            where = f"epoch {epoch}, step {place.steps + 1}"
            place.losses.append(descent.step(loss, where, "the learning rates", clip=_CLIP))
            place.steps += 1
        keeper.tick()
        done = (epoch - 1) * recipe.epoch_steps + place.steps
        keeper.care.listener(Progress("train", done, total, {"epoch": epoch, "loss": place.losses[-1]}))


def loss_of(
    denoiser: Denoiser,
    items_BT: np.ndarray,
    known_BT: torch.Tensor,
    generator: torch.Generator,
    interactions: int,
    team: Team,
) -> torch.Tensor:
    """This process' part of the loss of a batch: the mean of -log p(i)/p_0(i) over what is hidden, and the prior."""
    device = denoiser.popularity_I.device
    hidden = int(((items_BT >= 0) & ~known_BT.numpy()).sum())
    views, items_BT = denoiser.views_for(items_BT, generator)
    loss = denoiser.surprise(interactions) / team.size
    own = team.own(torch.arange(len(items_BT))).numpy()
    for rows in shorter(items_BT[own]):
        longest = max(int((items_BT[own[rows]] >= 0).sum(1).max()), 1)
        part = torch.as_tensor(items_BT[own[rows], :longest]).to(device)
        found, _ = denoiser.log_likelihood(denoiser.context(part, known_BT[own[rows], :longest].to(device)), views)
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
