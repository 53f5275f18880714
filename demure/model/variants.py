"""How likely a choice would be with other content of its item, given the user's other choices.

Shape suffixes: N variants of the content, B = 1 user, T positions, D latent dimensions, M modalities.
"""

from __future__ import annotations

import torch
from torch import Tensor

from demure.model.batch import HistoryBatch
from demure.model.clusters import cluster_space
from demure.model.denoiser import Denoiser
from demure.model.modality import ExpertState


class ChoiceVariants:
    """The choice at ``position`` of the history ``items_T`` under ``denoiser``.

    ``r_TM``: the probability that each modality was a point of interest of each choice, by which the other choices
    count; the choice itself does not count. Density ratios are to the popularity over all time.
    """

    def __init__(self, denoiser: Denoiser, items_T: Tensor, r_TM: Tensor, position: int) -> None:
        self._denoiser, self._position, self._item = denoiser, position, int(items_T[position])
        self._views = denoiser.views()
        observed_BT = torch.ones(1, len(items_T), dtype=torch.bool)
        observed_BT[0, position] = False
        self._batch: HistoryBatch = denoiser.make_batch(items_T[None], observed_BT.to(items_T.device))
        self._r_BTM = r_TM[None].float()
        self._states: dict[int, ExpertState] = {}

    @torch.no_grad()
    def _state(self, m: int) -> ExpertState:
        if m not in self._states:
            expert, view, r_BT = self._denoiser.experts()[m], self._views[m], self._r_BTM[..., m]
            state, rounds = expert.init_state(view, self._batch), self._denoiser.settings.rounds
            for after_shift in (False, True):
                for _ in range(rounds):
                    expert.ratio(state, r_BT)  # updates the clusters
                if not after_shift:
                    expert.shift_centres(state, view, self._batch, r_BT)
            self._states[m] = state
        return self._states[m]

    @torch.no_grad()
    def ratio(self, m: int) -> float:
        """Return the density ratio of the choice by its own content in modality ``m``, without its users' messages."""
        coordinates_1D = self._denoiser.experts()[m].coordinates_ID[self._item : self._item + 1]
        return float(self.ratios(m, coordinates_1D, torch.ones(1))[0])

    @torch.no_grad()
    def ratios(self, m: int, coordinates_ND: Tensor, present_N: Tensor) -> Tensor:
        """Return the density ratios (N,) with the coordinates ``coordinates_ND`` in modality ``m`` instead.

        ``present_N``: 0 where a variant has nothing of the modality left.
        """
        expert, state, t = self._denoiser.experts()[m], self._state(m), self._position
        coordinates_ND = coordinates_ND.to(expert.coordinates_ID)
        present_N = present_N.to(expert.coordinates_ID)
        weight_T = self._r_BTM[0, :, m] * state.mixing.source_BT[0] * state.decay_BTT[0, :, t]
        z_NE = expert.kernel.embed_variants(coordinates_ND, self._item, expert.coordinates_ID, expert.present_I)
        log_norm_T1 = state.kernel.log_norm_BTP[0, :, :1]
        log_dense_TN = (state.kernel.eta_BTE[0] @ z_NE.T - log_norm_T1).clamp(max=20.0)
        smoothing = state.mixing.kernel_smoothing
        kernel_N = (weight_T @ log_dense_TN.exp() + smoothing) / (weight_T.sum() + smoothing)
        spread = expert.kernel.log_spread_D.exp().cpu().numpy()
        space_ND = torch.as_tensor(cluster_space(coordinates_ND.cpu().numpy(), spread)).to(coordinates_ND)
        cluster_N = expert.clusters.memberships_by_features(space_ND) @ state.clusters.density_BTC[0, t]
        mixed_N = torch.lerp(cluster_N, kernel_N, state.mixing.gate) * state.mixing.scale
        return torch.where(present_N > 0, mixed_N, state.mixing.absence).clamp(min=1e-12)
