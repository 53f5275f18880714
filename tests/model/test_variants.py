"""What the users' other choices say of contents of an item."""

import numpy as np
import pytest
import torch
from support.small_models import ITEMS, small_denoiser, small_histories

from demure.data.histories import Histories
from demure.model.variants import memberships_of_variants, user_densities


@pytest.fixture(scope="module")
def users():
    lengths = [6, 0, 9, 3]
    padded = small_histories(lengths, seed=4).numpy()
    items = np.concatenate([padded[u, :length] for u, length in enumerate(lengths)])
    return Histories(np.concatenate([[0], np.cumsum(lengths)]), items, None)


def test_the_density_ratios_are_those_of_the_catalogue(users):
    """The clusters and the kernel together give the ratio of every item that no user chose."""
    denoiser = small_denoiser(missing=0.0)
    r_N = np.random.default_rng(0).random(len(users.items))
    never = np.setdiff1d(np.arange(ITEMS), users.items)
    item, chosen = int(never[0]), np.array([0, 2, 3])
    for m, expert in enumerate(denoiser.experts()):
        expert.clusters.offset_IC[item] = 0  # messages of users are not part of other content
        content = expert.coordinates_ID[item : item + 1]
        view = denoiser.views()[m]
        density_UC, kernel_UV = user_densities(denoiser, m, view, users, r_N, item, content.numpy(), chosen)
        gate, scale = torch.sigmoid(expert.gate), expert.scale(view)
        q_VC = memberships_of_variants(denoiser, m, content).numpy()
        ratio_U = float(scale) * ((1 - float(gate)) * (density_UC @ q_VC.T) + float(gate) * kernel_UV)[:, 0]
        for row, user in enumerate(chosen):
            r_BT = torch.as_tensor(r_N[users.indptr[user] : users.indptr[user + 1]])[None].float()
            batch = denoiser.make_batch(torch.as_tensor(users.of(user))[None])
            state = expert.init_state(view, batch)
            for _ in range(denoiser.settings.rounds):
                expert.ratio(state, r_BT)
            expert.shift_centres(state, view, batch, r_BT)
            for _ in range(denoiser.settings.rounds):
                expert.ratio(state, r_BT)
            expected = expert.catalogue_ratios(state, view, batch, r_BT)[0][0, item]
            assert ratio_U[row] == pytest.approx(float(expected), rel=1e-3)


def test_the_choices_of_the_item_itself_do_not_count(users):
    denoiser = small_denoiser(missing=0.0)
    r_N, item = np.full(len(users.items), 0.7), int(users.items[2])
    content = denoiser.experts()[0].coordinates_ID[[item, 5]].numpy()
    view = denoiser.views()[0]
    before = user_densities(denoiser, 0, view, users, r_N, item, content, np.array([0, 2]))
    changed = np.where(users.items == item, 0.1, r_N)
    after = user_densities(denoiser, 0, view, users, changed, item, content, np.array([0, 2]))
    for a, b in zip(before, after, strict=True):
        assert np.allclose(a, b, rtol=1e-5)
    other = user_densities(denoiser, 0, view, users, changed, int(users.items[3]), content, np.array([0, 2]))
    assert not np.allclose(before[0], other[0], rtol=1e-3)
