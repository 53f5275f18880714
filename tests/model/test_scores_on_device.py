"""Scores of a run are computed where its denoiser is; nothing comes back to the host before the ranks.

A tensor on the device ``meta`` has a shape and no values: whatever reads one on the host fails. The sparse products of
an accelerator run on a CPU here, where SciPy is not asked.
"""

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from support.small_models import ITEMS, small_denoiser, small_histories

from demure.data.histories import Histories
from demure.model import mass_product
from demure.model.content_items import ContentItemModel, ContentItemParameters
from demure.model.fusion import FusionWeights
from demure.model.item_item import ItemItemModel, Pairs, build_item_item, count_pairs
from demure.model.item_item_density import ItemItemParameters
from demure.model.mass_product import MassProduct
from demure.model.nearest_items import nearest_items
from demure.model.recommender import Recommender

META = torch.device("meta")
WALK = ItemItemParameters(further=0.5, linear=0.3)
ITEMS_BT = small_histories([6, 2, 0, 3], width=6).numpy()


def train_part():
    rows_BT = small_histories([6] * 20, seed=4).numpy()
    return Histories(np.arange(21) * 6, rows_BT.ravel())


def recommender(device="cpu"):
    train, device = train_part(), torch.device(device)
    counts, random = train.count_items(ITEMS), np.random.default_rng(1)
    nearest = {
        name: nearest_items(random.normal(size=(ITEMS, 5)), random.random(ITEMS) < 0.8, 6) for name in ("image", "text")
    }
    return Recommender(
        small_denoiser(),
        build_item_item(train, counts, WALK, 5, device),
        FusionWeights(0.75, 0.3, 0.1, 2.0),
        counts,
        max_history=4,
        content_items=ContentItemModel(nearest, counts, ContentItemParameters(share=0.3, denoised=0.5), device),
    )


def on_meta(value):
    if isinstance(value, torch.Tensor):
        return value.to(META)
    if is_dataclass(value):
        return replace(value, **{part.name: on_meta(getattr(value, part.name)) for part in fields(value)})
    return value


def test_scores_and_reasons_need_no_value_on_the_host():
    """What a model holds is read once, when it is made; so only then its denoiser moves to ``meta``."""
    model = recommender("meta")
    model._views = [on_meta(view) for view in model.denoiser.views()]
    model.denoiser, model.device = model.denoiser.to(META), META
    model.fusion = model.fusion
    terms = model.terms(ITEMS_BT)
    score, because = model.score(terms), model.because(terms, torch.zeros(4, 5, dtype=torch.int64, device=META))
    expected = recommender().score(recommender().terms(ITEMS_BT))
    assert (score.device, score.shape, score.dtype) == (META, expected.shape, expected.dtype)
    assert (because.device, because.shape) == (META, (4, 5))
    with pytest.raises((NotImplementedError, RuntimeError)):
        score.cpu()


@pytest.mark.parametrize(
    "parameters",
    [WALK, replace(WALK, nearness=0.0, fading=0.0, shared=1.0), replace(WALK, further=0.0, linear=0.0)],
)
@pytest.mark.parametrize("dense", [True, False])
def test_torch_multiplies_as_scipy_does(parameters, dense, monkeypatch):
    """The walk with explicit pairs, dense and sparse, and with the factor of the pairs."""
    train = train_part()
    counts = train.count_items(ITEMS)

    def density():
        pairs = count_pairs(train.indptr, train.items, ITEMS, 5, nearness=parameters.nearness, shared=parameters.shared)
        if parameters.nearness and not dense:
            pairs = Pairs(pairs.tocsr())
        linear = MassProduct(np.random.default_rng(0).normal(size=(ITEMS, ITEMS)).astype(np.float32))
        return ItemItemModel(pairs, counts, parameters, linear).density(ITEMS_BT)

    expected = density()
    monkeypatch.setattr(mass_product, "_BY_SCIPY", ())
    torch.testing.assert_close(density(), expected, rtol=1e-6, atol=1e-9)
