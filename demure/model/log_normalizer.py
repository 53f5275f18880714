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

_BLOCK = 1 << 18  # logits held at once on a CPU: a megabyte, so that they stay in the cache
_BLOCK_ON_ACCELERATOR = 1 << 26  # there every block costs its launches
_NEVER = -1e4


def log_normaliser(
    eta_RE: Tensor,
    z_NE: Tensor,
    log_weight_N: Tensor,
    own_R: Tensor,
    period_NP: Tensor,
    *,
    used_RP: Tensor | None = None,
    with_mean: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return log sum_n w_n f_np exp<eta, z_n> (R, P), and the mean of z under the weights w_n exp<eta, z_n> (R, E).

    ``period_NP``: factors f_np of the candidates in each period. ``own_R`` (int64): the candidate that a row leaves
    out, -1 for none. ``used_RP`` (bool): the periods that a row is asked for, all where None; in the others the result
    is the normaliser without factors, or as asked. Without ``with_mean`` the mean is empty. Differentiable once, in
    ``eta_RE`` and ``z_NE``.
    """
    norm_and_mean: tuple[Tensor, Tensor] = _LogNormaliser.apply(
        eta_RE, z_NE, log_weight_N, own_R, period_NP, used_RP, with_mean
    )
    return norm_and_mean


class _LogNormaliser(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        eta: Tensor,
        z: Tensor,
        log_weight: Tensor,
        own: Tensor,
        period: Tensor,
        used: Tensor | None,
        with_mean: bool,
    ) -> tuple[Tensor, Tensor]:
        R, P = len(eta), period.shape[1]
        # All sums over the candidates in one product: the total, the sum of z, and the sums of the periods.
        columns_KN = torch.cat([torch.ones_like(period[:, :1]), *([z] if with_mean else []), period], 1).T.contiguous()
        before = len(columns_KN) - P
        log_norm, log_total = eta.new_empty(R, P), eta.new_empty(R, 1)
        mean = torch.empty_like(eta) if with_mean else eta.new_empty(0)
        ctx.set_materialize_grads(False)
        for rows in _blocks(eta, z):
            logits = _logits(eta[rows], z, log_weight, own[rows])
            most = logits.amax(1, keepdim=True)
            p = logits.sub_(most).exp_()
            columns = None if used is None else _few(used[rows], before)
            sums = p @ (columns_KN if columns is None else columns_KN[columns]).T
            log_total[rows] = most + sums[:, :1].log()
            log_sums = most + sums[:, before:].clamp(min=1e-30).log()
            if columns is None:
                log_norm[rows] = log_sums
            else:
                log_norm[rows] = log_total[rows]
                log_norm[rows, columns[before:] - before] = log_sums
            if with_mean:
                torch.div(sums[:, 1:before], sums[:, :1], out=mean[rows])
        ctx.save_for_backward(eta, z, log_weight, own, period, log_norm, log_total, mean)
        if not with_mean:
            ctx.mark_non_differentiable(mean)
        return log_norm, mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_norm: Tensor | None, d_mean: Tensor | None) -> tuple[Tensor | None, ...]:
        eta, z, log_weight, own, period, log_norm, log_total, mean = ctx.saved_tensors
        d_eta, d_z = torch.empty_like(eta), torch.zeros_like(z)
        d_norm = torch.zeros_like(log_norm) if d_norm is None else d_norm
        for rows in _blocks(eta, z):
            p = _logits(eta[rows], z, log_weight, own[rows]).sub_(log_total[rows]).exp_()
            by_period = d_norm[rows] * (log_total[rows] - log_norm[rows]).exp()
            d_logits = (by_period @ period.T).mul_(p)
            if d_mean is not None:
                along = d_mean[rows] @ z.T
                d_logits += along.sub_((d_mean[rows] * mean[rows]).sum(1, keepdim=True)).mul_(p)
                d_z += p.T @ d_mean[rows]
            d_eta[rows] = d_logits @ z
            d_z += d_logits.T @ eta[rows]
        return d_eta, d_z, None, None, None, None, None


def _logits(eta: Tensor, z: Tensor, log_weight: Tensor, own: Tensor) -> Tensor:
    logits = torch.addmm(log_weight, eta, z.T)
    column = own.clamp(min=0)[:, None]
    return logits.scatter_(1, column, logits.gather(1, column).masked_fill_(own[:, None] >= 0, _NEVER))


def _few(used_RP: Tensor, before: int) -> Tensor | None:
    """Return the columns to sum: the first ``before``, and the periods that are used; None if these are many."""
    periods = torch.nonzero(used_RP.any(0))[:, 0]
    if len(periods) > used_RP.shape[1] // 2:
        return None
    return torch.cat([torch.arange(before), before + periods])


def _blocks(eta: Tensor, z: Tensor) -> list[slice]:
    entries = _BLOCK if eta.device.type == "cpu" else _BLOCK_ON_ACCELERATOR
    size = max(1, entries // max(1, len(z)))
    return [slice(start, start + size) for start in range(0, len(eta), size)]
