"""How likely a choice would be with other content of its item, given the user's other choices.

Shape suffixes: N variants of the content or choices, B users, T positions, U users, V variants, D latent dimensions,
E = D + 1, C clusters, M modalities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from demure.model.batch import HistoryBatch
from demure.model.clusters import cluster_space
from demure.model.denoiser import Denoiser
from demure.model.modality import CatalogueView, ExpertState

if TYPE_CHECKING:
    from demure.data.histories import Histories

_MAX_CELLS, _LONGEST = 1_500_000, 2000  # of a block: users x longest x longest; of a history


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

    def _state(self, m: int) -> ExpertState:
        if m not in self._states:
            self._states[m] = _settle(self._denoiser, m, self._views[m], self._batch, self._r_BTM[..., m])
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
        cluster_N = memberships_of_variants(self._denoiser, m, coordinates_ND) @ state.clusters.density_BTC[0, t]
        mixed_N = torch.lerp(cluster_N, kernel_N, state.mixing.gate) * state.mixing.scale
        return torch.where(present_N > 0, mixed_N, state.mixing.absence).clamp(min=1e-12)


@torch.no_grad()
def memberships_of_variants(denoiser: Denoiser, m: int, coordinates_VD: Tensor) -> Tensor:
    """Return the cluster memberships (V, C) of contents with these coordinates in modality ``m``."""
    expert = denoiser.experts()[m]
    spread_D = expert.kernel.log_spread_D.exp().cpu().numpy()
    space_VD = cluster_space(coordinates_VD.cpu().numpy(), spread_D)
    return expert.clusters.memberships_by_features(torch.as_tensor(space_VD).to(expert.coordinates_ID))


@torch.no_grad()
def user_densities(
    denoiser: Denoiser,
    m: int,
    view: CatalogueView,
    histories: Histories,
    r_N: np.ndarray,
    item: int,
    coordinates_VD: np.ndarray,
    users: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the choices of the ``users`` say of contents of ``item`` in modality ``m``.

    Returns theta_c / qbar_c of the cluster expert (U, C), and the density ratios (U, V) of the kernel expert for the
    contents with ``coordinates_VD``, as of after the last choice. The choices of ``item`` do not count. ``view``: the
    modality's view of all items, of ``Denoiser.views``; ``r_N``: the probability that the modality was a point of
    interest of each choice of ``histories``.
    """
    expert, device = denoiser.experts()[m], denoiser.popularity_I.device
    coordinates = torch.as_tensor(coordinates_VD).to(expert.coordinates_ID)
    z_VE = expert.kernel.embed_variants(coordinates, item, expert.coordinates_ID, expert.present_I)
    row_of_user = np.empty(len(histories.indptr) - 1, np.int64)
    row_of_user[users] = np.arange(len(users))
    density_UC = np.ones((len(users), len(view.prior_PC[0])))
    kernel_UV = np.ones((len(users), len(z_VE)))
    for block in histories.group_by_length(users[histories.lengths[users] > 0], _MAX_CELLS, _LONGEST):
        interactions_BT = histories.interaction_indices(block, _LONGEST)
        items_BT = torch.as_tensor(histories.padded(block, _LONGEST)).to(device)
        batch = denoiser.make_batch(items_BT, items_BT != item)
        r_BT = torch.as_tensor(r_N[interactions_BT] * (interactions_BT >= 0), dtype=torch.float32).to(device)
        state = _settle(denoiser, m, view, batch, r_BT)
        density_BC, kernel_BV = expert.densities(state, view, batch, r_BT, z_VE)
        density_UC[row_of_user[block]] = density_BC.cpu().numpy()
        kernel_UV[row_of_user[block]] = kernel_BV.cpu().numpy()
    return density_UC, kernel_UV


@torch.no_grad()
def _settle(denoiser: Denoiser, m: int, view: CatalogueView, batch: HistoryBatch, r_BT: Tensor) -> ExpertState:
    """Return the state of the expert of modality ``m`` where the responsibilities are known."""
    expert = denoiser.experts()[m]
    state = expert.init_state(view, batch)
    for after_shift in (False, True):
        for _ in range(denoiser.settings.rounds):
            expert.ratio(state, r_BT)  # updates the clusters
        if not after_shift:
            expert.shift_centres(state, view, batch, r_BT)
    return state
