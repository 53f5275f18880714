"""Sums by group: the same on all devices to rounding, in a fixed order, and without a value on the host.

The sums of an accelerator run on a CPU here, where SciPy is not asked. A tensor on the device ``meta`` has a shape and
no values: whatever reads one on the host fails.
"""

import numpy as np
import pytest
import torch
from support.histories_by_hand import histories as histories_of
from support.small_models import ITEMS, small_denoiser

from demure.data.histories import Histories
from demure.model import group_sums
from demure.model.group_sums import GroupSums, index_tensor, row_blocks
from demure.model.mass_product import CPU
from demure.model.popularity import Popularity, fit_periods
from demure.model.rivals import responsibilities
from demure.model.taste import Taste
from demure.model.transition import Transition
from demure.training.rivals import Rivals

META = torch.device("meta")
USERS, LENGTH = 40, 9
CASES = [(10_000, 7, 3), (5, 9, 2), (0, 4, 3), (3000, 1, 2), (3000, 2999, 1)]


@pytest.fixture(params=["by SciPy", "as an accelerator"])
def adder(request, monkeypatch):
    if request.param == "as an accelerator":
        as_an_accelerator(monkeypatch)


def as_an_accelerator(monkeypatch):
    monkeypatch.setattr(group_sums, "_BY_SCIPY", ())
    monkeypatch.setattr(group_sums, "_LONGEST_PART", 16)
    monkeypatch.setattr(group_sums, "_BLOCK", 50)


@pytest.mark.parametrize(("rows", "groups", "columns"), CASES)
@pytest.mark.usefixtures("adder")
def test_sums_are_those_of_a_loop(rows, groups, columns):
    random = np.random.default_rng(0)
    group, weight, values = random.integers(0, groups, rows), random.random(rows), random.random((rows, columns))
    expected, weighted, plain = np.zeros(groups), np.zeros((groups, columns)), np.zeros((groups, columns))
    for g, w, row in zip(group, weight, values, strict=True):
        expected[g] += w
        weighted[g] += w * row
        plain[g] += row
    sums = GroupSums(index_tensor(group, CPU), groups)
    weight, values = torch.as_tensor(weight), torch.as_tensor(values)
    np.testing.assert_allclose(sums(weight), expected, rtol=1e-12)
    np.testing.assert_allclose(sums.of_columns(values, weight), weighted, rtol=1e-12)
    np.testing.assert_allclose(sums.of_columns(values), plain, rtol=1e-12)


def test_indices_are_as_small_as_their_values_allow():
    assert index_tensor(np.array([4, 0, 2**31 - 1]), CPU).dtype == torch.int32
    assert index_tensor(np.array([2**31]), CPU).tolist() == [2**31]
    assert index_tensor(np.zeros(0, np.int64), CPU).shape == (0,)


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 200])
@pytest.mark.usefixtures("adder")
def test_blocks_hold_every_row_once(count):
    rows = [row for block in row_blocks(count, CPU, 20) for row in range(block.start, block.stop)]
    assert rows == list(range(count))


def train_part():
    random = np.random.default_rng(2)
    rows = histories_of([random.choice(ITEMS, LENGTH, replace=False) for _ in range(USERS)])
    return Histories(rows.indptr, rows.items, np.sort(random.random(len(rows.items))))


def models(train):
    """Each rival, and what its update takes beside the weights of the choices."""
    n, ones = len(train.items), torch.ones(len(train.items), dtype=torch.float64)
    periods = fit_periods(train.items, train.times, ITEMS)
    period = periods.assign(train.times, n)
    factors = periods.popularity_factor_IP
    return [
        (Popularity(train.items, period, periods), ()),
        (Transition(train, train.owners, ITEMS, np.ones(n)), ()),
        (Taste(train.owners, train.items, (USERS, ITEMS), period, factors, 4, 0), (ones,)),
    ]


def some_weights(count):
    return torch.as_tensor(np.random.default_rng(3).random(count))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_accelerator_fits_the_same_rivals(which, monkeypatch):
    train = train_part()
    weight_N = some_weights(len(train.items))

    def ratios():
        model, further = models(train)[which]
        return [model.update(weight_N, *further) for _ in range(4)][-1]

    expected = ratios()
    as_an_accelerator(monkeypatch)
    np.testing.assert_allclose(ratios(), expected, rtol=1e-9)


def test_an_accelerator_fits_all_of_them_the_same(monkeypatch):
    def fitted():
        rivals = Rivals(train_part(), ITEMS, 0)
        rivals.fit(small_denoiser())
        return rivals.ratio_NR

    expected = fitted()
    as_an_accelerator(monkeypatch)
    np.testing.assert_allclose(fitted(), expected, rtol=1e-5)


def move(value, device):
    """Move every tensor that the object holds, and those of the sums that it holds."""
    for name, part in list(vars(value).items()):
        if isinstance(part, torch.Tensor):
            setattr(value, name, part.to(device))
        elif isinstance(part, tuple) and part and isinstance(part[0], torch.Tensor):
            vars(value)[name] = tuple(tensor.to(device) for tensor in part)
        elif isinstance(part, GroupSums):
            move(part, device)
        elif isinstance(part, torch.device):
            setattr(value, name, torch.device(device))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_update_reads_no_value_on_the_host(which, monkeypatch):
    """What a model holds is read once, when it is made or first used; so only then it moves to ``meta``."""
    as_an_accelerator(monkeypatch)
    train = train_part()
    model, further = models(train)[which]
    weight_N = some_weights(len(train.items))
    model.update(weight_N, *further)
    move(model, META)
    ratio_N = model.update(weight_N.to(META), *(tensor.to(META) for tensor in further))
    assert (ratio_N.device, ratio_N.shape) == (META, weight_N.shape)


def test_responsibilities_read_no_value_on_the_host(monkeypatch):
    as_an_accelerator(monkeypatch)
    denoiser, by_user = small_denoiser(), GroupSums(torch.arange(60) // 6, 10)
    start_NK, ratio_NK = torch.zeros(60, 5).double(), torch.rand(60, 5).double()
    expected = responsibilities(denoiser, by_user, start_NK, ratio_NK)
    np.testing.assert_allclose(expected.sum(1), 1)
    move(by_user, META)
    moved_NK = responsibilities(denoiser.to(META), by_user, start_NK.to(META), ratio_NK.to(META))
    assert (moved_NK.device, moved_NK.shape) == (META, expected.shape)
