"""Fit the rivals of content: popularity, transitions and hidden taste as causes of the training interactions.

EM: the responsibilities of all causes weigh the counts of the rivals, the counts give the rivals' density ratios, and
the ratios give new responsibilities. The ratios of the content stay fixed meanwhile and come first, so that a rival
learns what the content leaves. A count fits the choice that it contains too well. So each user's taste ratios
come from clusters that were learned without this user (cross-fitting in ``_FOLDS`` parts). The same holds for
validation choices.

Shape suffixes: N training interactions, B users of a batch, T positions, U users, I items, P time periods (0 is
all time), R rivals (popularity, transition, taste), M modalities, K = R + M causes, C taste clusters, W previous items.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from demure.model.batch import KnownSideInformation, SideInformation
from demure.model.denoiser import RIVALS, Denoiser
from demure.model.popularity import Periods, Popularity, fit_periods
from demure.model.rivals import RivalModels, content_ratios, responsibilities
from demure.model.taste import Taste
from demure.model.transition import WINDOW, Transition
from demure.progress import Listener, Steps, silent
from demure.training.checkpoint import read_unfinished, strip_prefix, write_unfinished
from demure.training.stages import RIVALS as RIVALS_STAGE

if TYPE_CHECKING:
    from demure.data.histories import Histories

_FOLDS = 3
_FIRST_STEPS, _STEPS, _FOLD_STEPS = 10, 40, 12  # of EM: without rivals, with all, and again for the taste of each fold
_TASTE_CLUSTERS = 24
_LONGEST = 2000


@dataclass
class _Models:
    """One model of each rival; ``fold_tastes`` are learned from all users but those of the fold."""

    popularity: Popularity
    transition: Transition
    taste: Taste
    fold_tastes: list[Taste]

    def all(self) -> list[Popularity | Transition | Taste]:
        """Return the models in the order in which they are numbered in the file."""
        return [self.popularity, self.transition, self.taste, *self.fold_tastes]


class Rivals:
    """The rivals of content on the training interactions ``train``, and the periods of time these fall in.

    ``period_N`` int64; ``ratio_NR`` float32 density ratios, None before :meth:`fit`.
    """

    def __init__(self, train: Histories, n_items: int, seed: int) -> None:
        self.train, self.n_items, self._seed = train, n_items, seed
        self.n_users = len(train.indptr) - 1
        self.periods: Periods = fit_periods(train.items, train.times, n_items)
        self.period_N = self.periods.assign(train.times, len(train.items))
        self.ratio_NR: np.ndarray | None = None
        self._fold_U = np.random.default_rng(seed).integers(_FOLDS, size=self.n_users)
        self._models: _Models | None = None
        self._r_NK = torch.zeros((0, 0), dtype=torch.float64)

    def side_information(self, interactions_BT: np.ndarray, device: torch.device | str = "cpu") -> SideInformation:
        """Return periods and rival ratios of the training interactions with these indices, -1 for padding."""
        return KnownSideInformation(self.period_N, self.ratio_NR).side_information(interactions_BT, device)

    def side_information_with_next(
        self,
        interactions_BT: np.ndarray,
        users_B: np.ndarray,
        items_B: np.ndarray,
        times_B: np.ndarray | None,
        device: torch.device | str = "cpu",
    ) -> SideInformation:
        """Like `side_information`, with one more choice (`items_B`) after each history: shape (B, T + 1)."""
        before = self.side_information(interactions_BT)
        length_B = (interactions_BT >= 0).sum(1)
        rows = np.arange(len(interactions_BT))
        period_BT = np.concatenate([before.period_BT.numpy(), np.zeros((len(rows), 1), np.int64)], 1)
        period_B = self.periods.assign(times_B, len(rows))
        period_BT[rows, length_B] = period_B
        if self._models is None or before.rival_ratio_BTR is None:
            return SideInformation(torch.as_tensor(period_BT).to(device), None)
        next_B1R = np.ones((len(rows), 1, len(RIVALS)), np.float32)
        ratio_BTR = np.concatenate([before.rival_ratio_BTR.numpy(), next_B1R], 1)
        previous_BW = np.full((len(rows), WINDOW), -1)
        for gap in range(WINDOW):
            long = length_B > gap
            previous_BW[long, gap] = self.train.items[interactions_BT[rows[long], length_B[long] - 1 - gap]]
        popularity_factor_B = self.periods.popularity_factor_IP[items_B, period_B]
        taste_B = np.ones(len(rows))
        for fold, taste in enumerate(self._models.fold_tastes):
            own = self._fold_U[users_B] == fold
            taste_B[own] = taste.next_ratio(users_B[own], items_B[own])
        popularity_B = self._models.popularity.next_ratio(items_B, period_B)
        transition_B = self._models.transition.next_ratio(previous_BW, items_B, popularity_factor_B)
        ratio_BTR[rows, length_B] = np.stack([popularity_B, transition_B, taste_B], 1)
        return SideInformation(torch.as_tensor(period_BT).to(device), torch.as_tensor(ratio_BTR).to(device))

    @torch.no_grad()
    def fit(self, denoiser: Denoiser, listener: Listener = silent) -> None:
        """Fit the rivals with the content ratios of `denoiser` fixed. A second call starts from the last fit."""
        first_steps = _FIRST_STEPS if self._models is None else 0
        step = Steps(listener, RIVALS_STAGE, first_steps + _STEPS + _FOLDS * _FOLD_STEPS)
        device = denoiser.popularity_I.device
        ratio_NM = torch.as_tensor(content_ratios(denoiser, self.train.split_long(_LONGEST), self)).to(device)
        everyone_N = torch.ones_like(ratio_NM[:, 0])
        unexplained_NR = everyone_N[:, None].expand(-1, len(RIVALS))
        if self._models is None:
            self._models = self._build_models(device)
            self._r_NK = everyone_N.new_zeros((len(ratio_NM), len(RIVALS) + ratio_NM.shape[1]))
            for _ in range(_FIRST_STEPS):
                self._r_NK = self._expect(self._r_NK, unexplained_NR, ratio_NM, denoiser)
                step()
        models = self._models
        for _ in range(_STEPS):
            ratio_NR = self._maximise(models, models.taste, self._r_NK, everyone_N)
            self._r_NK = self._expect(self._r_NK, ratio_NR, ratio_NM, denoiser)
            step()
        crossfit_ratio_NR = ratio_NR.float()
        fold_N = torch.as_tensor(self._fold_U[self.train.owners]).to(device)
        for fold, taste in enumerate(models.fold_tastes):
            assert models.taste.cluster_posterior_NC is not None
            r_NK, taste.cluster_posterior_NC = self._r_NK, models.taste.cluster_posterior_NC.clone()
            own_N = fold_N == fold
            others_N = (~own_N).double()
            for _ in range(_FOLD_STEPS):
                ratio_NR = self._maximise(models, taste, r_NK, others_N)
                r_NK = self._expect(r_NK, ratio_NR, ratio_NM, denoiser)
                step()
            crossfit_ratio_NR = torch.where(own_N[:, None], ratio_NR.float(), crossfit_ratio_NR)
            taste.cluster_posterior_NC = None  # the next fit starts from that of all users
        self.ratio_NR = crossfit_ratio_NR.cpu().numpy()

    @staticmethod
    def _maximise(models: _Models, taste: Taste, r_NK: Tensor, learn_mask_N: Tensor) -> Tensor:
        """Update the counts by the responsibilities and return the density ratios (N, R).

        ``taste`` learns its clusters from the interactions where ``learn_mask_N`` is 1.
        """
        # If a choice pair's own responsibility weighed it, the pair would confirm itself. So this weight is the share
        # that the content does not explain.
        left_N = 1 - r_NK[:, len(RIVALS) :].sum(1) / (1 - r_NK[:, 1]).clamp(min=1e-6)
        popularity_N = models.popularity.update(r_NK[:, 0].contiguous())
        transition_N = models.transition.update(left_N)
        return torch.stack([popularity_N, transition_N, taste.update(r_NK[:, 2].contiguous(), learn_mask_N)], 1)

    def for_new_users(self) -> RivalModels:
        """Return the fit without the training interactions, for the histories of new users."""
        assert self._models is not None
        models = self._models
        taste = models.taste.for_new_users()
        return RivalModels(self.periods, models.popularity.rate_IG, models.transition.counts(), taste)

    def save(self, path: Path) -> None:
        """Write the fit to ``path``, for a training that is resumed."""
        assert self._models is not None
        tensors = {"responsibilities": self._r_NK, "ratio": torch.as_tensor(self.ratio_NR)}
        for number, model in enumerate(self._models.all()):
            tensors |= {f"{number}.{name}": tensor for name, tensor in model.state().items()}
        write_unfinished(path, {name: tensor.cpu() for name, tensor in tensors.items()})

    def load(self, path: Path, device: torch.device) -> None:
        """Restore on ``device`` what :meth:`save` wrote. Raises ``RunError`` where it cannot be read."""
        tensors = read_unfinished(path)[0]
        self._r_NK, self.ratio_NR = tensors["responsibilities"].to(device), tensors["ratio"].numpy()
        self._models = self._build_models(device)
        for number, model in enumerate(self._models.all()):
            model.restore(strip_prefix(tensors, f"{number}."))

    def _build_models(self, device: torch.device) -> _Models:
        train, popularity_factor_IP = self.train, self.periods.popularity_factor_IP
        popularity_factor_N = popularity_factor_IP[train.items, self.period_N]
        shape_UI, clusters = (self.n_users, self.n_items), _TASTE_CLUSTERS
        taste = Taste(
            train.owners, train.items, shape_UI, self.period_N, popularity_factor_IP, clusters, self._seed, device
        )
        return _Models(
            Popularity(train.items, self.period_N, self.periods, device),
            Transition(train, train.owners, self.n_items, popularity_factor_N, device),
            taste,
            [taste.unfitted() for _ in range(_FOLDS)],
        )

    def _expect(self, r_NK: Tensor, rival_ratio_NR: Tensor, ratio_NM: Tensor, denoiser: Denoiser) -> Tensor:
        """Return new responsibilities (N, K) of single causes, one step of the fixed point."""
        assert self._models is not None
        ratio_NK = torch.cat([rival_ratio_NR, ratio_NM], 1)
        return responsibilities(denoiser, self._models.taste.by_user, r_NK, ratio_NK)
