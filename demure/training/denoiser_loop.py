"""Train the denoiser: predict masked interactions from the rest of the history (likelihood ratio to popularity).

A checkpoint resumes exactly. The masked interactions of a batch are the targets of a contrastive loss.

Shape suffixes: B users of a batch, T positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from demure.errors import RunError
from demure.model.denoiser import Denoiser
from demure.progress import Notice, Progress
from demure.recipe.schema import TrainingRecipe
from demure.training.batches import draw_observed, draw_pieces, group_similar_lengths, views_of_step
from demure.training.checkpoint import CheckpointManager, TrainingContext, TrainingLog
from demure.training.optimizer import Optimizer
from demure.training.stages import RIVALS, TRAIN, stopped_early
from demure.training.static_step import CudaGraph, StaticStep
from demure.training.validation import Validation

if TYPE_CHECKING:
    from demure.compute.process_group import ProcessGroup
    from demure.data.histories import Histories
    from demure.training.rivals import Rivals

RIVALS_FILE = "rivals.safetensors"
_CLIP = 1.0  # of the gradient's length


def train_denoiser(
    denoiser: Denoiser,
    rivals: Rivals,
    validation: Validation,
    recipe: TrainingRecipe,
    *,
    seed: int,
    signature: str,
    context: TrainingContext,
) -> TrainingLog:
    """Train in three stages, each until validation stops improving; leave ``denoiser`` at its best epoch.

    Stage 1: train the content against the popularity at that time (the ratios of all rivals are 1). Stage 2: fit the
    ``rivals`` beside it, and train the content against them. Stage 3: train only the offsets, the displacement of each
    item in the latent space. Nothing is trained if no user has two interactions, and no offsets if the catalogue is
    large.

    A checkpoint is written to ``context.folder`` every ``context.minutes``, and a checkpoint and metrics.jsonl after
    every epoch; a resumed training goes on from the checkpoint and ends as if it had never stopped. ``signature`` names
    the dataset, recipe and seed of the checkpoint. Raises ``RunError`` if the checkpoint belongs to another dataset,
    recipe or seed, and when the loss is not finite.
    """
    optimizer = Optimizer(parameter_groups(denoiser, recipe), (), context.processes)
    generator = torch.Generator().manual_seed(seed)
    log = TrainingLog(metric="valid_log_likelihood")
    checkpoints = CheckpointManager(context, signature, denoiser, optimizer, generator, log)
    stages = _Stages(denoiser, rivals, validation, recipe, checkpoints, make_static_step(denoiser, rivals, context))
    with checkpoints.handle_signals():
        stages.validate_untrained()
        stages.train_against_popularity()
        if denoiser.settings.rivals:
            stages.fit_rivals()
            stages.train_against_rivals()
        stages.train_offsets()
        return checkpoints.finish()


@dataclass(frozen=True)
class _Stages:
    """The stages of one training; by the log and the state, a resumed training skips a stage or goes on with it."""

    denoiser: Denoiser
    rivals: Rivals
    validation: Validation
    recipe: TrainingRecipe
    checkpoints: CheckpointManager
    static_step: StaticStep | None

    @property
    def log(self) -> TrainingLog:
        return self.checkpoints.log

    @property
    def max_mixture_epochs(self) -> int:
        """Epochs before the offsets; 0 if each user has one interaction, so that none can be masked."""
        return self.recipe.epochs if len(self.validation.training_users) else 0

    @property
    def max_popularity_only_epochs(self) -> int:
        """Epochs before the rivals are fitted."""
        if not self.denoiser.settings.rivals:  # then there is nothing to train against but popularity
            return self.max_mixture_epochs
        return min(self.recipe.popularity_only_epochs, self.max_mixture_epochs)

    def validate_untrained(self) -> None:
        if not self.log.entries:
            self._validate()

    def train_against_popularity(self) -> None:
        if not self.checkpoints.state.stages_done:
            self._run_epochs(1, self.max_popularity_only_epochs)
            self.checkpoints.finish_stage()

    def fit_rivals(self) -> None:
        context = self.checkpoints.context
        if self._first_entry("rivals") is not None:
            self.rivals.load(context.folder / RIVALS_FILE, self.denoiser.popularity_I.device)
            return
        context.listener(Progress(RIVALS, 0))
        self.rivals.fit(self.denoiser, context.listener)
        if context.processes.is_first:
            self.rivals.save(context.folder / RIVALS_FILE)
        self._validate("rivals", restart_best=True)

    def train_against_rivals(self) -> None:
        if self.checkpoints.state.stages_done == 1:
            first = (self._first_entry("rivals") or 0) + 1
            self._run_epochs(first, self.max_mixture_epochs - self.max_popularity_only_epochs, "rivals")
            self.checkpoints.finish_stage()

    def train_offsets(self) -> None:
        if self.max_mixture_epochs and self.recipe.offset_epochs and not self.denoiser.has_large_catalogue:
            self.denoiser.train_offsets_only()
            first = self._first_entry("offsets")
            self._run_epochs(len(self.log.entries) if first is None else first, self.recipe.offset_epochs, "offsets")

    def _run_epochs(self, first: int, limit: int, mark: str | None = None) -> None:
        """Train at most ``limit`` epochs from entry ``first`` of the log on, until validation stops improving."""
        log, patience = self.log, self.recipe.patience
        while True:
            epochs_done = len(log.entries) - first
            epochs_since_best = len(log.entries) - max(log.best_entry + 1, first)
            if epochs_done < limit and epochs_since_best >= patience:
                part = {None: "of the content alone", "rivals": "beside the rivals", "offsets": "of the offsets"}[mark]
                self.checkpoints.context.listener(stopped_early(log, epochs_since_best, limit, part))
                break
            if epochs_done >= limit:
                break
            users = self.validation.training_users
            train_epoch(self.denoiser, self.rivals, users, self.recipe, self.checkpoints, self.static_step)
            self._validate(mark)

    def _validate(self, mark: str | None = None, *, restart_best: bool = False) -> None:
        """Add an entry to the log, with the key ``mark``. Raises ``RunError`` if the likelihood is not finite."""
        value = self.validation.log_likelihood(self.denoiser)
        losses = self.checkpoints.state.losses
        # Without a loss there was no epoch: the untrained model, and the fit of the rivals.
        epoch = self.log.last_epoch + bool(losses)
        if not math.isfinite(value):
            raise RunError(
                f"the validation likelihood is {value} after epoch {epoch}",
                where=self.checkpoints.context.folder,
                remedy="the last good epoch is kept; lower the learning rates and start again",
            )
        entry: dict[str, float] = {"epoch": epoch, "valid_log_likelihood": value}
        if losses:
            entry |= {"loss": sum(losses) / len(losses), "prior": self._prior_loss()}
        if mark is not None:
            entry[mark] = 1.0
        self.checkpoints.record(entry, restart_best=restart_best)

    @torch.no_grad()
    def _prior_loss(self) -> float:
        """The part of the loss that is due to the prior."""
        return float(self.denoiser.negative_log_prior(len(self.rivals.train.items)))

    def _first_entry(self, mark: str) -> int | None:
        """The first entry of the log with the key ``mark``."""
        return next((index for index, entry in enumerate(self.log.entries) if mark in entry), None)


def train_epoch(
    denoiser: Denoiser,
    rivals: Rivals,
    users: np.ndarray,
    recipe: TrainingRecipe,
    checkpoints: CheckpointManager,
    static_step: StaticStep | None = None,
) -> None:
    """Train one epoch of ``epoch_steps`` steps on ``users``, or the rest of an interrupted one.

    ``static_step`` computes the steps, where there is one.
    """
    state, context = checkpoints.state, checkpoints.context
    epoch = checkpoints.log.last_epoch + 1
    total = (recipe.epochs + recipe.offset_epochs) * recipe.epoch_steps
    while state.steps < recipe.epoch_steps:
        with checkpoints.uninterrupted():
            interactions_BT = draw_batch(rivals.train, users, recipe, checkpoints.generator)
            observed_BT = draw_observed(interactions_BT, recipe.held_out, checkpoints.generator)
            batch = (interactions_BT, observed_BT, checkpoints.generator)
            if static_step is None:
                loss, gradients = batch_loss(denoiser, rivals, *batch, context.processes), None
            else:
                loss, gradients = static_step(*batch)
            where = f"epoch {epoch}, step {state.steps + 1}"
            optimizer = checkpoints.optimizer
            state.losses.append(optimizer.step(loss, where, "the learning rates", _CLIP, gradients))
            state.steps += 1
        checkpoints.save_if_due()
        done = (epoch - 1) * recipe.epoch_steps + state.steps
        context.listener(Progress(TRAIN, done, total, {"epoch": epoch, "loss": state.losses[-1]}))


def make_static_step(denoiser: Denoiser, rivals: Rivals, context: TrainingContext) -> StaticStep | None:
    """Return what computes the steps on an accelerator; None on a CPU and for a large catalogue."""
    device = denoiser.popularity_I.device.type
    if device == "cpu" or denoiser.has_large_catalogue:
        return None
    recording = CudaGraph if device == "cuda" else None

    def report(text: str) -> None:
        context.listener(Notice("train", 0, text=text))

    return StaticStep(denoiser, rivals, context.processes, recording, report)


def draw_batch(train: Histories, users: np.ndarray, recipe: TrainingRecipe, generator: torch.Generator) -> np.ndarray:
    """Return a random piece of the history of each of some random ``users``.

    The pieces (B, T) are indices into the training interactions, -1 for padding. At most ``batch_users`` users, fewer
    where pieces are long: a step costs B x T x T, at most ``batch_pairs`` pairs of positions.
    """
    drawn = torch.randint(len(users), (recipe.batch_users,), generator=generator).numpy()
    interactions_BT = draw_pieces(train, users[drawn], recipe.history, generator)
    interactions_BT = interactions_BT[: max(1, recipe.batch_pairs // interactions_BT.shape[1] ** 2)]
    return interactions_BT[:, : max(int((interactions_BT >= 0).sum(1).max()), 1)]


def batch_loss(
    denoiser: Denoiser,
    rivals: Rivals,
    interactions_BT: np.ndarray,
    observed_BT: torch.Tensor,
    generator: torch.Generator,
    processes: ProcessGroup,
) -> torch.Tensor:
    """Return this process' part of the loss of a batch of training interactions.

    The loss is the mean of -log(p(i) / p_t(i)) over the masked interactions, in nats, where p_t is the popularity at
    that time, plus the negative log prior per interaction. ``interactions_BT``: indices into the training interactions,
    -1 for padding; ``observed_BT``: False where masked.
    """
    device = denoiser.popularity_I.device
    items_BT = np.where(interactions_BT >= 0, rivals.train.items[interactions_BT], -1)
    n_masked = int(((items_BT >= 0) & ~observed_BT.numpy()).sum())
    views, view_rows_BT = views_of_step(denoiser, items_BT, generator)
    loss = denoiser.negative_log_prior(len(rivals.train.items)) / processes.size
    local_rows = processes.own_part(torch.arange(len(items_BT))).numpy()
    for group in group_similar_lengths(items_BT[local_rows]):
        rows = local_rows[group]
        longest = max(int((items_BT[rows] >= 0).sum(1).max()), 1)
        side_information = rivals.side_information(interactions_BT[rows, :longest], device)
        part_BT = torch.as_tensor(view_rows_BT[rows, :longest]).to(device)
        batch = denoiser.make_batch(part_BT, observed_BT[rows, :longest].to(device), side_information)
        log_likelihoods, _ = denoiser.log_likelihood(batch, views)
        loss = loss - log_likelihoods.sum() / n_masked
    return loss


def parameter_groups(denoiser: Denoiser, recipe: TrainingRecipe) -> list[dict[str, Any]]:
    """Return the parameters by learning rate."""
    # The gates need a high learning rate. The distance metric of the latent space (`log_metric`) needs a low one,
    # because the encoder's is almost right.
    rates = {
        "gate": recipe.gate_rate,
        "roundness": recipe.gate_rate,
        "log_metric": recipe.metric_rate,
        "clusters": recipe.cluster_rate,
        "offset_ID": recipe.offset_rate,
    }
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in denoiser.named_parameters():
        kind = name.rsplit(".", 1)[-1]
        kind = "clusters" if ".clusters." in name and kind in ("weight", "bias") else kind
        groups.setdefault(rates.get(kind, recipe.learning_rate), []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]
