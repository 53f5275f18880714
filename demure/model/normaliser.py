"""The log-normaliser of exponential-family experts over many candidates, without holding rows x candidates.

A row's logits over the candidates are made, used and dropped block by block, and made again for the gradient, as in
FlashAttention (Dao et al., NeurIPS 2022, arXiv 2205.14135). The mean of the candidates under the softmax, the gradient
of the normaliser, comes with it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_BLOCK = 1 << 18  # logits held at once: a megabyte, so that they stay in the cache
_NEVER = -1e4


def log_normaliser(eta_RE: Tensor, z_NE: Tensor, log_weight_N: Tensor, own_R: Tensor) -> tuple[Tensor, Tensor]:
    """log sum_n w_n exp<eta, z_n> (R,), and the mean of z under those weights (R, E).

    ``own_R`` (int64) is the candidate that a row leaves out, -1 for none. Differentiable once, in ``eta_RE`` and
    ``z_NE``.
    """
    found: tuple[Tensor, Tensor] = _LogNormaliser.apply(eta_RE, z_NE, log_weight_N, own_R)
    return found


class _LogNormaliser(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, eta: Tensor, z: Tensor, log_weight: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        log_norm, mean = eta.new_empty(len(eta)), torch.empty_like(eta)
        for rows in _blocks(len(eta), len(z)):
            logits = _logits(eta[rows], z, log_weight, own[rows])
            most = logits.amax(1, keepdim=True)
            p = logits.sub_(most).exp_()
            total = p.sum(1, keepdim=True)
            log_norm[rows] = (most + total.log())[:, 0]
            mean[rows] = (p @ z).div_(total)
        ctx.save_for_backward(eta, z, log_weight, own, log_norm, mean)
        return log_norm, mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_norm: Tensor, d_mean: Tensor) -> tuple[Tensor | None, ...]:
        eta, z, log_weight, own, log_norm, mean = ctx.saved_tensors
        d_eta, d_z = torch.empty_like(eta), torch.zeros_like(z)
        towards = bool(d_mean.any())
        for rows in _blocks(len(eta), len(z)):
            p = _logits(eta[rows], z, log_weight, own[rows]).sub_(log_norm[rows, None]).exp_()
            d_logits = d_norm[rows, None] * p
            if towards:
                along = d_mean[rows] @ z.T
                d_logits += along.sub_((d_mean[rows] * mean[rows]).sum(1, keepdim=True)).mul_(p)
                d_z += p.T @ d_mean[rows]
            d_eta[rows] = d_logits @ z
            d_z += d_logits.T @ eta[rows]
        return d_eta, d_z, None, None


def _logits(eta: Tensor, z: Tensor, log_weight: Tensor, own: Tensor) -> Tensor:
    logits = torch.addmm(log_weight, eta, z.T)
    row = torch.nonzero(own >= 0)[:, 0]
    logits[row, own[row]] = _NEVER
    return logits


def _blocks(rows: int, candidates: int) -> list[slice]:
    size = max(1, _BLOCK // max(1, candidates))
    return [slice(start, start + size) for start in range(0, rows, size)]
