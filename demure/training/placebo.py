"""The placebo: the same diagnosis on features that are dealt among the items.

What a modality is called the cause of although its features belong to other items, it would be called whatever it
showed. The excess over it is what its features explain. Nothing is trained anew: the model's parameters stay, the rows
of one modality are dealt among the items that have it, several times, and users are diagnosed again.

A modality is admitted if its features tell held-out choices better than dealt features do; else it explains nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from demure.model.denoiser import Denoiser
from demure.model.modality import Channel
from demure.training.belief_propagation import finished

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.training.rivals import Rivals
    from demure.training.validation import Validation

DEALS = 5
_USERS = 1000
_LONGEST = 2000
_NORMAL = 1.96
_LEAST = 0.002  # nats per held-out choice that features have to add to be admitted


@dataclass(frozen=True)
class Placebo:
    """One modality against its placebo: ``mean_probability`` of a point of interest over the ``deals``, the ``excess``
    of the real one with its 95 % interval ``low`` to ``high`` (over users and deals), ``gain`` nats per held-out choice
    by which the features tell more than dealt ones, ``gain_low`` the lower end of its interval, and whether it is
    ``admitted``."""

    deals: int
    mean_probability: float
    excess: float
    low: float
    high: float
    gain: float
    gain_low: float
    admitted: bool

    def to_dict(self) -> dict[str, Any]:
        """For run.json."""
        return asdict(self)


@torch.no_grad()
def admit(denoiser: Denoiser, watch: Validation, seed: int) -> dict[str, tuple[float, float]]:
    """For each modality, nats per held-out choice that its features tell more than dealt ones (mean, and lower end of
    the 95 % interval). One that tells nothing is relied on no more."""
    found: dict[str, tuple[float, float]] = {}
    real = watch.log_likelihoods(denoiser)
    for m, (name, channel) in enumerate(zip(denoiser.names, denoiser.experts(), strict=True)):
        gains = []
        for deal in range(DEALS):
            with dealt(channel, np.random.default_rng([seed, m, deal])):
                gains.append(real - watch.log_likelihoods(denoiser))
        mean, low, _ = _interval(np.array(gains), np.ones(len(real)))
        found[name] = (mean, low)
    for m, (mean, low) in enumerate(found.values()):
        if mean < _LEAST or low <= 0:
            denoiser.exclude(m)
    return found


@torch.no_grad()
def measure(denoiser: Denoiser, rivals: Rivals, gains: dict[str, tuple[float, float]], seed: int) -> dict[str, Placebo]:
    """The placebo of every modality, from at most ``_USERS`` users; ``gains`` of :func:`admit`."""
    train = rivals.train
    users = np.flatnonzero(train.lengths)
    if len(users) > _USERS:
        users = np.sort(np.random.default_rng(seed).choice(users, _USERS, replace=False))
    real = _means(denoiser, rivals, users)
    found = {}
    for m, (name, channel) in enumerate(zip(denoiser.names, denoiser.experts(), strict=True)):
        admitted = bool(denoiser.admitted_K()[denoiser.n_rivals + m])
        shuffled = []
        for deal in range(DEALS if admitted else 0):
            with dealt(channel, np.random.default_rng([seed, m, deal])):
                shuffled.append(_means(denoiser, rivals, users)[:, m])
        if not admitted:
            found[name] = Placebo(0, 0.0, 0.0, 0.0, 0.0, *gains[name], admitted)
            continue
        weight = train.lengths[users].astype(np.float64)
        excess, low, high = _interval(real[:, m] - np.array(shuffled), weight)
        found[name] = Placebo(
            DEALS, float(np.average(np.mean(shuffled, 0), weights=weight)), excess, low, high, *gains[name], admitted
        )
    return found


@contextmanager
def dealt(channel: Channel, random: np.random.Generator) -> Iterator[None]:
    """Meanwhile the features of the items that have the modality are dealt among them, and what users told of single
    items is forgotten."""
    there = torch.nonzero(channel.present_I > 0)[:, 0].cpu()
    order = torch.arange(len(channel.present_I))
    order[there] = there[torch.as_tensor(random.permutation(len(there)))]
    order = order.to(channel.present_I.device)
    kept = {name: tensor.clone() for name, tensor in _of_items(channel).items()}
    for name, tensor in _of_items(channel).items():
        tensor.copy_(torch.zeros_like(tensor) if name == "messages" else kept[name][order])
    try:
        yield
    finally:
        for name, tensor in _of_items(channel).items():
            tensor.copy_(kept[name])


def _of_items(channel: Channel) -> dict[str, torch.Tensor]:
    return {
        "coordinates": channel.coordinates_ID,
        "themes": channel.themes_ID,
        "offsets": channel.points.offset_ID.data,
        "messages": channel.themes.offset_IC,
    }


def _means(denoiser: Denoiser, rivals: Rivals, users: np.ndarray) -> np.ndarray:
    """Mean probability of a point of interest (users, M) of each of ``users``."""
    parts, owner = _of_users(rivals.train, users)
    sums = np.zeros((len(users), len(denoiser.names)))
    for block in finished(denoiser, parts, None, rivals, only=np.flatnonzero(owner >= 0)):
        r_BTM = block.found.r_BTM.cpu().numpy()
        valid = block.at_BT >= 0
        np.add.at(sums, owner[block.users], (r_BTM * valid[..., None]).sum(1))
    return sums / np.maximum(rivals.train.lengths[users], 1)[:, None]


def _of_users(train: Histories, users: np.ndarray) -> tuple[Histories, np.ndarray]:
    """The histories :func:`in_parts`, and for each part the place of its user among ``users``, -1 for others."""
    parts = train.split_long(_LONGEST)
    user = np.searchsorted(train.indptr, parts.indptr[:-1], side="right") - 1
    at = np.full(len(train.indptr), -1)
    at[users] = np.arange(len(users))
    return parts, at[user]


def _interval(differences: np.ndarray, weight: np.ndarray) -> tuple[float, float, float]:
    """Mean of ``differences`` (deals, users) and its 95 % interval, by the spread over users and over deals."""
    share = weight / weight.sum()
    by_user = differences.mean(0)
    mean = float(share @ by_user)
    variance = float(share**2 @ (by_user - mean) ** 2)
    by_deal = differences @ share
    if len(by_deal) > 1:
        variance += float(by_deal.var(ddof=1)) / len(by_deal)
    return mean, mean - _NORMAL * variance**0.5, mean + _NORMAL * variance**0.5
