"""The log-normaliser of exponential-family experts over many candidates, without holding rows x candidates.

The logits of a row over the candidates are computed and dropped block by block, and computed again for the gradient, as
in FlashAttention (Dao et al., NeurIPS 2022, arXiv 2205.14135). The gradient of the normaliser, the mean of the
candidates under the softmax, is returned with it.

Shape suffixes: R rows (sources), N candidates, E dimensions of their statistics, P time periods.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_BLOCK = 1 << 18  # logits held at once: a megabyte, so that they stay in the cache
_NEVER = -1e4


def log_normaliser(
    eta_RE: Tensor, z_NE: Tensor, log_weight_N: Tensor, own_R: Tensor, period_NP: Tensor
) -> tuple[Tensor, Tensor]:
    """Return log sum_n w_n f_np exp<eta, z_n> (R, P), and the mean of z under the weights w_n exp<eta, z_n> (R, E).

    ``period_NP``: factors f_np of the candidates in each period. ``own_R`` (int64): the candidate that a row leaves
    out, -1 for none. Differentiable once, in ``eta_RE`` and ``z_NE``.
    """
    norm_and_mean: tuple[Tensor, Tensor] = _LogNormaliser.apply(eta_RE, z_NE, log_weight_N, own_R, period_NP)
    return norm_and_mean


class _LogNormaliser(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, eta: Tensor, z: Tensor, log_weight: Tensor, own: Tensor, period: Tensor
    ) -> tuple[Tensor, Tensor]:
        log_norm, mean = eta.new_empty(len(eta), period.shape[1]), torch.empty_like(eta)
        log_total = eta.new_empty(len(eta))
        for rows in _blocks(len(eta), len(z)):
            logits = _logits(eta[rows], z, log_weight, own[rows])
            most = logits.amax(1, keepdim=True)
            p = logits.sub_(most).exp_()
            total = p.sum(1, keepdim=True)
            log_total[rows] = (most + total.log())[:, 0]
            log_norm[rows] = most + (p @ period).clamp(min=1e-30).log()
            mean[rows] = (p @ z).div_(total)
        ctx.save_for_backward(eta, z, log_weight, own, period, log_norm, log_total, mean)
        return log_norm, mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_norm: Tensor, d_mean: Tensor) -> tuple[Tensor | None, ...]:
        eta, z, log_weight, own, period, log_norm, log_total, mean = ctx.saved_tensors
        d_eta, d_z = torch.empty_like(eta), torch.zeros_like(z)
        towards = bool(d_mean.any())
        for rows in _blocks(len(eta), len(z)):
            p = _logits(eta[rows], z, log_weight, own[rows]).sub_(log_total[rows, None]).exp_()
            by_period = d_norm[rows] * (log_total[rows, None] - log_norm[rows]).exp()
            d_logits = (by_period @ period.T).mul_(p)
            if towards:
                along = d_mean[rows] @ z.T
                d_logits += along.sub_((d_mean[rows] * mean[rows]).sum(1, keepdim=True)).mul_(p)
                d_z += p.T @ d_mean[rows]
            d_eta[rows] = d_logits @ z
            d_z += d_logits.T @ eta[rows]
        return d_eta, d_z, None, None, None


def _logits(eta: Tensor, z: Tensor, log_weight: Tensor, own: Tensor) -> Tensor:
    logits = torch.addmm(log_weight, eta, z.T)
    row = torch.nonzero(own >= 0)[:, 0]
    logits[row, own[row]] = _NEVER
    return logits


def _blocks(rows: int, candidates: int) -> list[slice]:
    size = max(1, _BLOCK // max(1, candidates))
    return [slice(start, start + size) for start in range(0, rows, size)]
