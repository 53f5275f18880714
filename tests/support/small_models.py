"""Denoisers over a few items, with parameters that were neither trained nor left at their start values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from demure.model.denoiser import Denoiser
from demure.model.latent import fit_latent
from demure.recipe.schema import DenoiserRecipe

ITEMS = 40


def small_denoiser(
    names: Sequence[str] = ("image", "text"),
    *,
    missing: float = 0.2,
    ordered: bool = True,
    denoise: bool = True,
    seed: int = 0,
    jitter: float = 0.3,
    **shape: Any,
) -> Denoiser:
    """``ITEMS`` items with clustered features; of each modality the last items of a permutation are missing."""
    random = np.random.default_rng(seed)
    latents = {}
    for name in names:
        centres = random.normal(size=(4, 6)) * 2
        vectors = (centres[random.integers(4, size=ITEMS)] + random.normal(size=(ITEMS, 6)) * 0.5).astype(np.float32)
        latents[name] = fit_latent(vectors, random.permutation(ITEMS) >= missing * ITEMS)
    popularity = random.integers(0, 20, ITEMS).astype(np.float64)
    settings = DenoiserRecipe(clusters=4, rounds=3, denoise=denoise, **shape)
    denoiser = Denoiser.from_latents(latents, popularity, settings, ordered=ordered, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(denoiser.named_parameters(), key=lambda named: "offset" in named[0]):
            scale = 0.1 * jitter if "offset" in name else jitter
            parameter += scale * torch.randn(parameter.shape, generator=generator)
        for expert in denoiser.experts():
            offset_IC = expert.clusters.offset_IC
            offset_IC += jitter * torch.randn(offset_IC.shape, generator=generator)
    return denoiser.eval().requires_grad_(False)


def small_histories(lengths: Sequence[int], *, seed: int = 0, width: int | None = None) -> torch.Tensor:
    """(B, T) int64: histories of different items, -1 where padded."""
    random = np.random.default_rng(seed)
    items = torch.full((len(lengths), width or max(lengths)), -1, dtype=torch.int64)
    for row, length in enumerate(lengths):
        items[row, :length] = torch.as_tensor(random.permutation(ITEMS)[:length].copy())
    return items


def inferred(denoiser: Denoiser, items: torch.Tensor, observed: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """Return the posterior of padded histories: ``r`` and ``ratio`` (B, T, M), ``total`` (B, T)."""
    inference = denoiser.infer(denoiser.make_batch(items, observed), denoiser.views())
    return {"r": inference.r_BTM, "ratio": inference.ratio_BTM, "total": inference.total_BT}
