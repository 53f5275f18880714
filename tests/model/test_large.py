"""A catalogue that counts as large: estimates from candidates come near the values from all items."""

import numpy as np
import pytest
import torch
from support.small_models import small_denoiser, small_histories

from demure.model import denoiser as module
from demure.model import kernel
from demure.training.batches import views_of_step


def without_offsets(**options):
    denoiser = small_denoiser(**options)
    for offset in [*denoiser.offsets(), *(channel.clusters.offset_IC for channel in denoiser.experts())]:
        offset.zero_()
    return denoiser


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(module, "MAX_FULL_CATALOGUE", 10)


def test_all_items_as_candidates_give_the_same_likelihood_from_the_items_at_hand(monkeypatch):
    """Then nothing is estimated: only the numbering differs, and the items that are left out."""
    denoiser = without_offsets(missing=0.2)
    items = small_histories([9, 4, 6]).numpy()
    observed = torch.rand(items.shape, generator=torch.manual_seed(0)) < 0.7
    expected, held = denoiser.log_likelihood(denoiser.make_batch(torch.as_tensor(items), observed), denoiser.views())
    monkeypatch.setattr(module, "MAX_FULL_CATALOGUE", 10)
    generator = torch.Generator().manual_seed(0)
    views, numbered = views_of_step(denoiser, items, generator)
    assert (numbered >= 0).tolist() == (items >= 0).tolist()
    sampled, mask = denoiser.log_likelihood(denoiser.make_batch(torch.as_tensor(numbered), observed), views)
    assert torch.equal(mask, held)
    torch.testing.assert_close(sampled, expected, rtol=1e-4, atol=1e-5)


def test_no_more_than_the_items_at_hand_and_the_candidates_are_in_the_views(large):
    denoiser = without_offsets(missing=0.2, candidates=5)
    items = small_histories([4, 2]).numpy()
    views, _ = views_of_step(denoiser, items, torch.Generator().manual_seed(0))
    most = len(np.unique(items[items >= 0])) + 5 * len(views)
    assert all(len(view.z_IE) == len(view.q_IC) == len(view.present_I) <= most for view in views)


def test_many_samples_of_candidates_come_near_all(monkeypatch):
    denoiser = without_offsets(missing=0.1, candidates=25)
    items = small_histories([9, 7]).numpy()
    observed = torch.arange(items.shape[1]) % 3 > 0
    observed = observed.expand(items.shape)
    exact, _ = denoiser.log_likelihood(denoiser.make_batch(torch.as_tensor(items), observed), denoiser.views())
    monkeypatch.setattr(module, "MAX_FULL_CATALOGUE", 10)
    generator, total = torch.Generator().manual_seed(0), []
    with torch.no_grad():
        for _ in range(100):
            views, numbered = views_of_step(denoiser, items, generator)
            total.append(denoiser.log_likelihood(denoiser.make_batch(torch.as_tensor(numbered), observed), views)[0])
    assert float((torch.stack(total).mean(0) - exact).abs().mean()) < 0.05


def test_the_catalogue_in_blocks_scores_as_in_one(monkeypatch):
    denoiser = small_denoiser()
    batch = denoiser.make_batch(small_histories([8, 3]))
    with torch.no_grad():
        whole = denoiser.catalogue_ratios(batch, denoiser.views())[0]
        monkeypatch.setattr(kernel, "_ENTRIES", 100)
        torch.testing.assert_close(denoiser.catalogue_ratios(batch, denoiser.views())[0], whole)
