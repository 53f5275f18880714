"""The expected change of an item's choices, for all users and for segments, with draws for the intervals.

A user's chance to choose item i is b_i (sum_r pi^r + sum_m pi^m rho^m(i) kappa_m(i)); see ``demure.model.demand``. The
density ratios rho come from the user's other choices. They are divided by their mean over the users, weighted by their
choices and reliance: under the popularity p_0 all contents are chosen equally often, and the demand kappa says by how
much that is wrong. The draws take g from its posterior, the cluster of each content from its memberships, the users
with Poisson weights (a bootstrap), and the share of the choices that a modality causes within the error of verdicts.

Shape suffixes: U users, M modalities, V variants (0: as it is), C clusters, S draws, N choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.whatif.variants import Variant
from demure.model.demand import ContentDemand, fit_demand
from demure.model.denoiser import Denoiser
from demure.model.variants import memberships_of_variants, user_densities
from demure.progress import Listener, Progress

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.model.modality import CatalogueView

_SAME: object = object()
_DRAWS = 400
_MOST_USERS = 20_000
_SHARE_SD = 0.1  # of the log of a modality's share of the choices; see benchmarks/LOG.md


@dataclass(frozen=True)
class _Part:
    """One modality. ``membership_VC``: cluster memberships of the variants; ``lacks_V``: those without the modality;
    ``density_UC``, ``kernel_UV``: what the users' other choices say; ``gate``: share of the kernel expert; ``scale``:
    mean density ratio of the items that have it."""

    membership_VC: np.ndarray
    lacks_V: np.ndarray
    density_UC: np.ndarray
    kernel_UV: np.ndarray
    gate: float
    scale: float


class DemandOfRun:
    """The demand for content of a run, fitted once for many items."""

    def __init__(self, reader: DiagnosisReader, denoiser: Denoiser, train: Histories) -> None:
        self.reader, self.denoiser, self.train = reader, denoiser, train
        self.r_NM = reader.table.probability.astype(np.float64)

    @cached_property
    def views(self) -> list[CatalogueView]:
        """Every expert's view of all items."""
        with torch.no_grad():
            return self.denoiser.views()

    @cached_property
    def scale_M(self) -> np.ndarray:
        """The mean density ratio of the items that have each modality, where those that lack it gain nothing by it."""
        return np.array([1 / max(float(view.share), 1e-9) for view in self.views])

    @cached_property
    def demand(self) -> ContentDemand:
        """The fitted demand."""
        memberships = []
        for m, expert in enumerate(self.denoiser.experts()):
            q_IC = memberships_of_variants(self.denoiser, m, expert.coordinates_ID) * expert.present_I[:, None]
            memberships.append(q_IC.cpu().numpy() * self.scale_M[m])
        return fit_demand(self.train.items, self.r_NM, memberships)


class ItemEffects:
    """The effects of ``variants`` of the item in ``row``.

    ``users`` (U,): numbers in the dataset of the users with a history, of many a random sample; ``seed`` decides it and
    the draws.
    """

    def __init__(
        self, of_run: DemandOfRun, row: int, variants: Sequence[Variant], seed: int, listener: Listener
    ) -> None:
        self.of_run, self.row, self.n_variants = of_run, row, 1 + len(variants)
        self.random = np.random.default_rng(seed)
        train, reader = of_run.train, of_run.reader
        with_history = np.flatnonzero(train.lengths > 0)
        chosen = np.arange(len(with_history))
        if len(chosen) > _MOST_USERS:
            chosen = np.sort(self.random.choice(chosen, _MOST_USERS, replace=False))
        self.sampled = len(chosen) < len(with_history)
        self.users, self.codes = with_history[chosen], chosen  # the diagnosis has the users with a history, in order
        names = of_run.denoiser.modalities
        self.weight_U = train.lengths[self.users].astype(np.float64)
        # Reliance divides a choice by two modalities; the shares of the demand count it for both.
        reliance_UM = reader.reliance_shares[self.codes, : len(names)]
        mean_M = self.weight_U @ reliance_UM / self.weight_U.sum()
        self.share_UM = reliance_UM * of_run.demand.share_M / np.maximum(mean_M, 1e-12)
        self.parts = []
        for m, name in enumerate(names):
            listener(Progress("users", m, len(names)))
            self.parts.append(self._part(m, [variant.coordinates.get(name, _SAME) for variant in variants]))
        listener(Progress("users", len(names), len(names)))
        demand = of_run.demand
        self.best_g = demand.log_demand
        self.drawn_g = demand.draw(_DRAWS, self.random)
        self.drawn_memberships = [self._draw_clusters(part.membership_VC) for part in self.parts]
        self.drawn_shares = np.exp(_SHARE_SD * self.random.standard_normal((len(names), _DRAWS)))
        self.resampled_SU = self.random.poisson(1.0, (_DRAWS, len(self.users))).astype(np.float32)

    def _part(self, m: int, changes: Sequence[np.ndarray | object | None]) -> _Part:
        of_run, denoiser = self.of_run, self.of_run.denoiser
        expert = denoiser.experts()[m]
        now_D = expert.coordinates_ID[self.row].cpu().numpy()
        has_now = bool(expert.present_I[self.row] > 0)
        lacks_V = np.array([not has_now, *(not has_now if c is _SAME else c is None for c in changes)])
        coordinates_VD = np.stack([now_D, *(c if isinstance(c, np.ndarray) else now_D for c in changes)])
        density_UC, kernel_UV = user_densities(
            denoiser, m, of_run.views[m], of_run.train, of_run.r_NM[:, m], self.row, coordinates_VD, self.users
        )
        membership_VC = memberships_of_variants(denoiser, m, torch.as_tensor(coordinates_VD)).cpu().numpy()
        gate = float(torch.sigmoid(expert.gate.detach()))
        return _Part(membership_VC, lacks_V, density_UC, kernel_UV, gate, float(of_run.scale_M[m]))

    def _draw_clusters(self, membership_VC: np.ndarray) -> np.ndarray:
        """Return memberships (S, V, C) in one cluster each. A draw has one random number for all variants: equal
        contents are in the same cluster."""
        threshold_S11 = self.random.random((_DRAWS, 1, 1))
        reached_SVC = np.cumsum(membership_VC, axis=1)[None] >= threshold_S11 * membership_VC.sum(1)[None, :, None]
        first_SV = reached_SVC.argmax(2)
        drawn_SVC: np.ndarray = np.eye(membership_VC.shape[1])[first_SV]
        return drawn_SVC

    def expected(self, users: np.ndarray) -> np.ndarray:
        """Return the choices of the item that the ``users`` (U,) bool would make, up to a factor (V,)."""
        memberships = [part.membership_VC[None] for part in self.parts]
        shares = np.ones((len(self.parts), 1))
        demands = [g[None] for g in self.best_g]
        best_V: np.ndarray = self._demand(users, self.weight_U[None], shares, demands, memberships)[0]
        return best_V

    def draws(self, users: np.ndarray) -> np.ndarray:
        """Return draws (S, V) of :meth:`expected`."""
        weight_SU = self.weight_U * self.resampled_SU
        return self._demand(users, weight_SU, self.drawn_shares, self.drawn_g, self.drawn_memberships)

    def _demand(
        self,
        users: np.ndarray,
        weight_SU: np.ndarray,
        share_MS: np.ndarray,
        g: Sequence[np.ndarray],
        memberships: Sequence[np.ndarray],
    ) -> np.ndarray:
        """Return the choices (S, V) with the weights (S, U) of the users, and for each modality a factor on its share
        (S,), the demands (S, C) and the memberships (S, V, C)."""
        total_SV: np.ndarray = np.repeat(weight_SU[:, users].sum(1, keepdims=True), self.n_variants, axis=1)
        for m, part in enumerate(self.parts):
            own_SU = weight_SU * share_MS[m][:, None] * self.share_UM[:, m]
            mass_S1 = own_SU.sum(1, keepdims=True)
            group_SU = own_SU[:, users]
            with np.errstate(invalid="ignore", divide="ignore"):
                density_SC = group_SU @ part.density_UC[users] / (own_SU @ part.density_UC) * mass_S1
                kernel_SV = group_SU @ part.kernel_UV[users] / (own_SU @ part.kernel_UV) * mass_S1
            demand_SC1 = np.exp(g[m])[:, :, None]
            clusters_SV = (memberships[m] @ (density_SC[:, :, None] * demand_SC1))[:, :, 0]
            by_kernel_SV = kernel_SV * (memberships[m] @ demand_SC1)[:, :, 0]
            content_SV = (1 - part.gate) * clusters_SV + part.gate * by_kernel_SV
            total_SV += np.where(part.lacks_V, 0.0, part.scale * np.nan_to_num(content_SV))
            total_SV -= group_SU.sum(1, keepdims=True)
        return total_SV.clip(min=0)


def relative(best_V: np.ndarray, drawn_SV: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the relative change of each variant against the item as it is (V - 1,), its 95 % interval (V - 1, 2), and
    the share of the draws in which it is the best of all variants and of the item as it is (V - 1,)."""
    change_V = best_V[1:] / max(best_V[0], 1e-12) - 1
    changes_SV = drawn_SV[:, 1:] / np.maximum(drawn_SV[:, :1], 1e-12) - 1
    interval_V2 = np.quantile(changes_SV, [0.025, 0.975], axis=0).T
    best = np.concatenate([np.zeros((len(changes_SV), 1)), changes_SV], 1).argmax(1)
    return change_V, interval_V2, np.bincount(best, minlength=len(best_V))[1:] / len(best)
