"""How much the content of an item adds to its choices, apart from its own popularity.

The denoiser measures content against the popularity p_0 of an item, which is in part an effect of that content: under
p_0, all contents are chosen equally often. What an item would gain by other content needs its popularity b_i for all
other reasons. With the demand kappa_m(i) = sum_c q_ic exp(g_mc) for the content of item i in modality m,

    p(i | u) = b_i (sum_r pi^r + sum_m pi^m rho^m(i) kappa_m(i)).

An item that lacks m gains nothing by it: kappa_m = 0. A choice by two modalities at once, kappa_m kappa_n, counts whole
for both, as kappa_m + kappa_n - 1: what is lost without one of them is then exact, and other content to first order. So
pi^m, the share of the choices that m is a cause of, and the shares of the rivals sum to more than 1 where pairs are
frequent, and the sum over r stands for 1 - sum_m pi^m.

b is independent of the content, with a distribution that is learned: that identifies g. From the N choices and their
responsibilities, with pi the mean shares of the causes and G the distribution of b, g maximises

    sum_i log int b^n_i exp(-b N (sum_r pi^r + sum_m pi^m kappa_m(i))) dG(b)
      + sum_choices log(sum_r r^r + sum_m r^m kappa_m(i))  -  sum_mc g_mc^2 / (2 tau_m^2),

a Poisson model with a nonparametric frailty (Kiefer and Wolfowitz, 1956; Laird, JASA 1978), in which the causes of an
item's choices tell its contents apart. tau_m is set by empirical Bayes (MacKay, Neural Computation 1992).

Shape suffixes: I items, N choices, M modalities, C clusters of a modality, G points of the grid of b, S draws, V
variants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_GRID = torch.linspace(-5, 7, 81, dtype=torch.float64)  # log of b over its mean
_ROUGHNESS = 20.0  # of log G: weight of the square of its second differences
_START_SD, _LEAST_SD, _ROUNDS, _SETTLED = 0.3, 0.01, 8, 0.03  # of tau; it has settled when it changes by less
_STEPS = 30
_WIDER = 1.5  # factor on the errors of g: responsibilities are no certain causes; see benchmarks/LOG.md


@dataclass(frozen=True)
class ContentDemand:
    """The fitted demand.

    ``log_demand``: g (C,) of each modality. ``covariance``: of all of them, in the order of the modalities.
    ``share_M``: share of the choices that each modality is a cause of.
    """

    log_demand: list[np.ndarray]
    covariance: np.ndarray
    share_M: np.ndarray

    def draw(self, count: int, random: np.random.Generator) -> list[np.ndarray]:
        """Return draws (S, C) of g for each modality from its posterior, a Gaussian around the fitted values."""
        eigenvalues, axes = np.linalg.eigh(self.covariance)
        noise = random.standard_normal((count, len(eigenvalues))) * np.sqrt(np.maximum(eigenvalues, 0.0))
        drawn = np.concatenate(self.log_demand) + noise @ axes.T
        return np.split(drawn, np.cumsum([len(g) for g in self.log_demand])[:-1], axis=1)


def fit_demand(item_N: np.ndarray, r_NM: np.ndarray, memberships: Sequence[np.ndarray]) -> ContentDemand:
    """Fit the demand for the content of each modality.

    Args:
        item_N: the item of every choice.
        r_NM: the responsibility of each modality for it; the sum is above 1 where two at once caused it.
        memberships: q (I, C) of every item for each modality, times the mean density ratio of the items that have it;
            0 where the item lacks it.
    """
    model = _Likelihood(item_N, r_NM, memberships)
    sd_M = np.full(len(memberships), _START_SD)
    for _ in range(_ROUNDS):
        model.maximise(sd_M)
        covariance = model.covariance(sd_M)
        spread = np.split(np.diag(covariance), model.bounds[:-1])
        squares = [np.mean(g**2 + v) for g, v in zip(model.log_demand(), spread, strict=True)]
        before_M, sd_M = sd_M, np.maximum(np.sqrt(squares), _LEAST_SD)
        if np.abs(sd_M / before_M - 1).max() < _SETTLED:
            break
    return ContentDemand(model.log_demand(), _WIDER**2 * covariance, model.share_M.numpy())


class _Likelihood:
    """The penalised likelihood and its parameters: g of each modality, and the logits of G."""

    def __init__(self, item_N: np.ndarray, r_NM: np.ndarray, memberships: Sequence[np.ndarray]) -> None:
        n_items, double = len(memberships[0]), torch.float64
        self.item_N, self.r_NM = torch.as_tensor(item_N), torch.as_tensor(r_NM, dtype=double)
        self.q = [torch.as_tensor(q_IC, dtype=double) for q_IC in memberships]
        self.bounds = np.cumsum([q_IC.shape[1] for q_IC in self.q])
        self.count_I = torch.bincount(self.item_N, minlength=n_items).to(double)
        self.share_M = self.r_NM.mean(0)
        self.g = [torch.zeros(q_IC.shape[1], dtype=double, requires_grad=True) for q_IC in self.q]
        self.mixing_G = torch.zeros(len(_GRID), dtype=double, requires_grad=True)

    def log_demand(self) -> list[np.ndarray]:
        """Return g of each modality."""
        return [g.detach().numpy().copy() for g in self.g]

    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return kappa (I, M), log of the joint of counts and b (I, G), and p(choice | item) over its shares (N,)."""
        kappa_IM = torch.stack([q_IC @ g.exp() for q_IC, g in zip(self.q, self.g, strict=True)], 1)
        demand_I = (1 + (kappa_IM - 1) @ self.share_M).clamp(min=1e-12)
        log_b_G = _GRID + self.count_I.mean().log()
        log_joint_IG = self.count_I[:, None] * log_b_G - demand_I[:, None] * log_b_G.exp()
        log_joint_IG = log_joint_IG - torch.lgamma(self.count_I + 1)[:, None] + torch.log_softmax(self.mixing_G, 0)
        choice_N = 1 + (self.r_NM * (kappa_IM[self.item_N] - 1)).sum(1)
        return kappa_IM, log_joint_IG, choice_N.clamp(min=1e-12)

    def _loss(self, sd_M: np.ndarray) -> Tensor:
        _, log_joint_IG, choice_N = self._parts()
        prior = torch.stack([(g**2).sum() / (2 * float(sd) ** 2) for g, sd in zip(self.g, sd_M, strict=True)]).sum()
        rough = (self.mixing_G[2:] - 2 * self.mixing_G[1:-1] + self.mixing_G[:-2]).square().sum() * _ROUGHNESS / 2
        return prior + rough - torch.logsumexp(log_joint_IG, 1).sum() - choice_N.log().sum()

    def maximise(self, sd_M: np.ndarray) -> None:
        """Move the parameters to their best values, with standard deviations ``sd_M`` of g."""
        parameters = [*self.g, self.mixing_G]
        optimiser = torch.optim.LBFGS(parameters, max_iter=_STEPS, history_size=20, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = self._loss(sd_M)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def covariance(self, sd_M: np.ndarray) -> np.ndarray:
        """Return the posterior covariance of all g: the information is the outer product of the items' scores."""
        _, log_joint_IG, choice_N = self._parts()
        b_I = torch.softmax(log_joint_IG, 1) @ (_GRID.exp() * self.count_I.mean())
        zeros_IM = torch.zeros(len(self.count_I), len(self.q), dtype=torch.float64)
        slope_IM = zeros_IM.index_add(0, self.item_N, self.r_NM / choice_N[:, None]) - b_I[:, None] * self.share_M
        score_IK = torch.cat([slope_IM[:, m, None] * q_IC * self.g[m].exp() for m, q_IC in enumerate(self.q)], 1)
        prior_K = np.repeat(1 / np.square(sd_M), [len(g) for g in self.g])
        covariance: np.ndarray = np.linalg.inv((score_IK.T @ score_IK).numpy() + np.diag(prior_K))
        return covariance
