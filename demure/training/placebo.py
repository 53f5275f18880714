"""The placebo test of a modality: the same diagnosis with the features permuted among the items.

What a modality explains with the features of other items, it would explain whatever it showed; the excess over that is
what its own features explain. The rows of one modality are permuted among the items that have it, several times, and
the posterior is inferred anew. Of the parameters only the shares of the causes are learned again, on permuted features:
with the shares of the true features a permuted modality would be credited with what users rely on the true one for.

A modality is admitted if held-out choices are likelier under its own features than under permuted ones; otherwise it is
never a cause.

Shape suffixes: D permutations, S users, B users of a batch, T positions, I items, M modalities, C clusters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from demure.compute.process_group import ProcessGroup
from demure.diagnosis.interests.stored import InterestPlacebo
from demure.diagnosis.posterior import likeliest_clusters
from demure.model.blocks import infer_blocks
from demure.model.denoiser import NOT_ADMITTED, Denoiser
from demure.model.modality import ModalityExpert
from demure.progress import Listener, Steps, silent
from demure.training.batches import draw_observed
from demure.training.denoiser_loop import batch_loss, draw_batch
from demure.training.optimizer import Optimizer
from demure.training.stages import COMPARE, PLACEBO, SHARES

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.recipe.schema import TrainingRecipe
    from demure.training.rivals import Rivals
    from demure.training.validation import Validation

PERMUTATIONS = 5
_MAX_USERS = 1000
_LONGEST = 2000
_NORMAL = 1.96  # quantile of the normal distribution for a 95 % interval
_EPOCHS, _RATE = 5, 0.1  # 40 steps by default, enough for a share to fall from .9 to .1: benchmarks/LOG.md
_MIN_GAIN = 0.002  # nats per held-out choice that the features have to add for the modality to be admitted


@dataclass(frozen=True)
class Placebo:
    """One modality against its placebo; an entry of ``placebo`` in run.json.

    ``deals``: number of permutations, 0 if not admitted. ``mean_probability`` of a point of interest with permuted
    features; ``excess`` of the mean probability with its own features, with its 95 % interval ``low`` to ``high`` over
    users and permutations. ``gain``: nats per held-out choice that its own features add to permuted ones, ``gain_low``
    the lower end of its 95 % interval; ``admitted``: whether that is enough. ``interests``: the same for each cluster,
    empty if not admitted; interests.json holds them.
    """

    deals: int
    mean_probability: float
    excess: float
    low: float
    high: float
    gain: float
    gain_low: float
    admitted: bool
    interests: tuple[InterestPlacebo, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of run.json."""
        return {name: value for name, value in asdict(self).items() if name != "interests"}


Shares = dict[str, torch.Tensor]
"""The parameters of the denoiser that determine the shares of the causes, by name."""
_SHARES = ("log_cause_prior_K", "log_side_prior_2", "two_causes_logit")


def learn_placebo_shares(
    denoiser: Denoiser, validation: Validation, recipe: TrainingRecipe, seed: int, listener: Listener = silent
) -> dict[str, Shares]:
    """Return for each admitted modality the shares of the causes, learned with its features permuted.

    All other parameters stay. They are learned for ``_EPOCHS`` epochs, or not at all if the training has no epochs.
    """
    steps = _EPOCHS * recipe.epoch_steps if recipe.epochs and len(validation.training_users) else 0
    report = Steps(listener, SHARES, steps * sum(denoiser.admitted_modalities()))
    shares = {}
    for m, (name, expert) in enumerate(zip(denoiser.modalities, denoiser.experts(), strict=True)):
        if not denoiser.admitted_modalities()[m]:
            continue
        with permuted_features(expert, np.random.default_rng([seed, m, 0])), _trainable_shares(denoiser) as parameters:
            optimizer = Optimizer([{"params": parameters, "lr": _RATE}], (), ProcessGroup())
            generator = torch.Generator().manual_seed(seed)
            for step in range(steps):
                interactions_BT = draw_batch(validation.train, validation.training_users, recipe, generator)
                observed_BT = draw_observed(interactions_BT, recipe.held_out, generator)
                loss = batch_loss(denoiser, validation.rivals, interactions_BT, observed_BT, generator, ProcessGroup())
                optimizer.step(loss, f"step {step + 1} of the placebo of {name!r}", "the learning rates")
                report()
            shares[name] = _copy_shares(denoiser)
    return shares


@contextmanager
def _trainable_shares(denoiser: Denoiser) -> Iterator[list[torch.Tensor]]:
    """Let the shares of the causes be learned, and nothing else; restore them and what was learned before."""
    trainable = {name: parameter.requires_grad for name, parameter in denoiser.named_parameters()}
    kept = _copy_shares(denoiser)
    denoiser.requires_grad_(False)
    shares = [denoiser.get_parameter(key).requires_grad_(True) for key in _SHARES]
    try:
        yield shares
    finally:
        for name, parameter in denoiser.named_parameters():
            parameter.requires_grad_(trainable[name])
            parameter.grad = None
        _set_shares(denoiser, kept)


def _copy_shares(denoiser: Denoiser) -> Shares:
    return {key: denoiser.get_parameter(key).detach().clone() for key in _SHARES}


@torch.no_grad()
def _set_shares(denoiser: Denoiser, shares: Shares) -> None:
    for key, value in shares.items():
        denoiser.get_parameter(key).copy_(value)


@torch.no_grad()
def admit_modalities(
    denoiser: Denoiser, validation: Validation, seed: int, listener: Listener = silent
) -> dict[str, tuple[float, float]]:
    """Revoke the admission of the modalities whose features add too little to the likelihood of held-out choices.

    Returns for each modality the gain over permuted features in nats per held-out choice: its mean, and the lower end
    of its 95 % interval. Both sides have the shares of the causes that training ended with: shares learned anew for one
    side alone would differ by how well they are learned, which is more than what noise gains (benchmarks/LOG.md).
    """
    gains: dict[str, tuple[float, float]] = {}
    report = Steps(listener, COMPARE, PERMUTATIONS * len(denoiser.modalities))
    own = validation.log_likelihoods(denoiser)
    for m, (name, expert) in enumerate(zip(denoiser.modalities, denoiser.experts(), strict=True)):
        differences = []
        for number in range(PERMUTATIONS):
            with permuted_features(expert, np.random.default_rng([seed, m, number])):
                differences.append(own - validation.log_likelihoods(denoiser))
            report()
        mean, low, _ = _interval(np.array(differences), np.ones(len(own)))
        gains[name] = (mean, low)
    # Only now: while one modality is tested, all the others are still possible causes.
    for m, (mean, low) in enumerate(gains.values()):
        if mean < _MIN_GAIN or low <= 0:
            denoiser.revoke_admission(m)
    return gains


@torch.no_grad()
def measure_placebos(
    denoiser: Denoiser,
    rivals: Rivals,
    gains: Mapping[str, tuple[float, float]],
    seed: int,
    shares: Mapping[str, Shares],
    listener: Listener = silent,
) -> dict[str, Placebo]:
    """Return the placebo of each modality, from at most ``_MAX_USERS`` users.

    ``gains`` of :func:`admit_modalities`, ``shares`` of :func:`learn_placebo_shares`.
    """
    train = rivals.train
    users = np.flatnonzero(train.lengths)
    if len(users) > _MAX_USERS:
        users = np.sort(np.random.default_rng(seed).choice(users, _MAX_USERS, replace=False))
    weights = train.lengths[users].astype(np.float64)
    report = Steps(listener, PLACEBO, 1 + PERMUTATIONS * sum(denoiser.admitted_modalities()))
    own = _mean_probabilities(denoiser, rivals, users)
    report()
    placebos = {}
    for m, name in enumerate(denoiser.modalities):
        if not denoiser.admitted_modalities()[m]:
            placebos[name] = Placebo(0, 0.0, 0.0, 0.0, 0.0, *gains[name], admitted=False)
            continue
        permuted = []
        for number in range(PERMUTATIONS):
            with placebo(denoiser, m, np.random.default_rng([seed, m, number]), shares[name]):
                permuted.append(_mean_probabilities(denoiser, rivals, users)[m])
            report()
        permuted_DSC = np.array(permuted)
        permuted_DS = permuted_DSC.sum(2)
        excess, low, high = _interval(own[m].sum(1) - permuted_DS, weights)
        mean = float(np.average(permuted_DS.mean(0), weights=weights))
        interests = tuple(
            InterestPlacebo(
                float(np.average(permuted_DSC[..., c].mean(0), weights=weights)),
                *_interval(own[m][:, c] - permuted_DSC[..., c], weights),
            )
            for c in range(permuted_DSC.shape[2])
        )
        placebos[name] = Placebo(PERMUTATIONS, mean, excess, low, high, *gains[name], True, interests)
    return placebos


@contextmanager
def placebo(denoiser: Denoiser, modality: int, random: np.random.Generator, shares: Shares) -> Iterator[None]:
    """Permute the features of the modality with this number, and use ``shares``, for the duration of the context.

    Modalities that are excluded stay excluded.
    """
    kept = _copy_shares(denoiser)
    not_admitted_K = denoiser.admitted_K() == 0
    with permuted_features(denoiser.experts()[modality], random):
        _set_shares(denoiser, shares)
        with torch.no_grad():
            denoiser.log_cause_prior_K[not_admitted_K] = NOT_ADMITTED
        try:
            yield
        finally:
            _set_shares(denoiser, kept)


@contextmanager
def permuted_features(expert: ModalityExpert, random: np.random.Generator) -> Iterator[None]:
    """Permute the features of a modality among the items that have it, for the duration of the context.

    The items' learned offsets move with their features; the messages that users sent to single items are set to 0.
    """
    present = torch.nonzero(expert.present_I > 0)[:, 0].cpu()
    order = torch.arange(len(expert.present_I))
    order[present] = present[torch.as_tensor(random.permutation(len(present)))]
    with reordered_features(expert, order, torch.ones(len(order), dtype=torch.bool)):
        yield


@contextmanager
@torch.no_grad()
def reordered_features(expert: ModalityExpert, order_I: torch.Tensor, silenced_I: torch.Tensor) -> Iterator[None]:
    """Give each item the features and the learned offsets of item ``order_I``, for the duration of the context.

    ``silenced_I``: whether the messages that users sent to the item are set to 0.
    """
    device = expert.present_I.device
    order_I, silenced_I = order_I.to(device), silenced_I.to(device)
    kept = {name: tensor.clone() for name, tensor in _item_tensors(expert).items()}
    for name, tensor in _item_tensors(expert).items():
        tensor.copy_(kept[name] * ~silenced_I[:, None] if name == "messages" else kept[name][order_I])
    try:
        yield
    finally:
        for name, tensor in _item_tensors(expert).items():
            tensor.copy_(kept[name])


def _item_tensors(expert: ModalityExpert) -> dict[str, torch.Tensor]:
    """All tensors of a modality expert that hold a row per item."""
    return {
        "coordinates": expert.coordinates_ID,
        "clusters": expert.cluster_space_ID,
        "offsets": expert.kernel.offset_ID.data,
        "messages": expert.clusters.offset_IC,
    }


def _mean_probabilities(denoiser: Denoiser, rivals: Rivals, users: np.ndarray) -> list[np.ndarray]:
    """Return for each modality the mean probability of a point of interest over the history of each of ``users`` (S,),
    divided among the most probable clusters of its choices: (S, C)."""
    parts, row = _split_users(rivals.train, users)
    sums = [np.zeros((len(users), len(expert.clusters.bias))) for expert in denoiser.experts()]
    for block in infer_blocks(denoiser, parts, None, rivals, only=np.flatnonzero(row >= 0)):
        r_BTM, cluster_BTM = block.inferred.r_BTM.cpu().numpy(), likeliest_clusters(block.inferred)
        position = np.nonzero(block.interactions_BT >= 0)
        for m, sums_SC in enumerate(sums):
            users_here = row[block.users][position[0]]
            np.add.at(sums_SC, (users_here, cluster_BTM[*position, m]), r_BTM[*position, m])
    lengths_S1 = np.maximum(rivals.train.lengths[users], 1)[:, None]
    return [sums_SC / lengths_S1 for sums_SC in sums]


def _split_users(train: Histories, users: np.ndarray) -> tuple[Histories, np.ndarray]:
    """Return the histories with long ones split, and for each part the row of its user in ``users``, else -1."""
    parts = train.split_long(_LONGEST)
    user = np.searchsorted(train.indptr, parts.indptr[:-1], side="right") - 1
    row = np.full(len(train.indptr), -1)
    row[users] = np.arange(len(users))
    return parts, row[user]


def _interval(differences_DS: np.ndarray, weights_S: np.ndarray) -> tuple[float, float, float]:
    """Return the weighted mean of the differences and its 95 % interval, by the spread over users and permutations."""
    share_S = weights_S / weights_S.sum()
    by_user_S = differences_DS.mean(0)
    mean = float(share_S @ by_user_S)
    variance = float(share_S**2 @ (by_user_S - mean) ** 2)
    by_permutation_D = differences_DS @ share_S
    if len(by_permutation_D) > 1:
        variance += float(by_permutation_D.var(ddof=1)) / len(by_permutation_D)
    return mean, mean - _NORMAL * variance**0.5, mean + _NORMAL * variance**0.5
