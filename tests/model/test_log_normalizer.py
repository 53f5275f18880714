"""The blockwise normaliser against the plain one."""

import pytest
import torch

from demure.model import log_normalizer
from demure.model.log_normalizer import log_normaliser


def drawn(rows: int, candidates: int, dim: int, periods: int = 1, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    eta = torch.randn(rows, dim, generator=generator, dtype=torch.float64).requires_grad_()
    z = torch.randn(candidates, dim, generator=generator, dtype=torch.float64).requires_grad_()
    log_weight = torch.randn(candidates, generator=generator, dtype=torch.float64).log_softmax(0)
    own = torch.randint(-1, candidates, (rows,), generator=generator)
    own[0] = -1
    period = torch.rand(candidates, periods, generator=generator, dtype=torch.float64) * 2
    period[:, 0] = 1.0
    return eta, z, log_weight, own, period


def plain(
    eta: torch.Tensor, z: torch.Tensor, log_weight: torch.Tensor, own: torch.Tensor, period: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """The same from the whole matrix, the own candidate taken out of the sum; the mean is that of the whole time."""
    left = torch.arange(len(z))[None, :] == own[:, None]
    logits = (eta @ z.T + log_weight).masked_fill(left, -torch.inf)
    return (logits[..., None] + period.log()).logsumexp(1), logits.softmax(1) @ z


@pytest.mark.parametrize("periods", [1, 4])
@pytest.mark.parametrize("block", [1, 20, 64, 1 << 18])
def test_blocks_give_what_the_whole_matrix_gives(monkeypatch, block, periods):
    monkeypatch.setattr(log_normalizer, "_BLOCK", block)
    inputs = drawn(17, 20, 5, periods)
    for blockwise, expected in zip(log_normaliser(*inputs), plain(*inputs), strict=True):
        torch.testing.assert_close(blockwise, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("periods", [1, 4])
@pytest.mark.parametrize("block", [20, 64, 1 << 18])
@pytest.mark.parametrize(("to_norm", "to_mean"), [(1.0, 0.0), (0.0, 1.0), (0.7, -1.3)])
def test_gradients_are_those_of_the_whole_matrix(monkeypatch, block, periods, to_norm, to_mean):
    monkeypatch.setattr(log_normalizer, "_BLOCK", block)
    inputs = drawn(17, 20, 5, periods)
    generator = torch.Generator().manual_seed(1)
    along, across = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in [(17, periods), (17, 5)])

    def gradients(way):
        norm, mean = way(*inputs)
        value = to_norm * (norm * along).sum() + to_mean * (mean * across).sum()
        return torch.autograd.grad(value, inputs[:2])

    for blockwise, expected in zip(gradients(log_normaliser), gradients(plain), strict=True):
        torch.testing.assert_close(blockwise, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("block", [1, 64, 1 << 18])
def test_only_the_periods_asked_for_need_be_right(monkeypatch, block):
    """Values and gradients in the periods that a row uses are those of all periods; the mean is the same."""
    monkeypatch.setattr(log_normalizer, "_BLOCK", block)
    inputs = drawn(17, 20, 5, periods=9)
    used = torch.rand(17, 9, generator=torch.Generator().manual_seed(3)) < 0.15
    (norm, mean), (expected_norm, expected_mean) = log_normaliser(*inputs, used_RP=used), log_normaliser(*inputs)
    torch.testing.assert_close(norm[used], expected_norm[used], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mean, expected_mean, rtol=1e-12, atol=1e-12)
    own, others = (torch.autograd.grad(value[used].sum(), inputs[:2]) for value in (norm, expected_norm))
    torch.testing.assert_close(own, others, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("block", [20, 1 << 18])
def test_without_the_mean_the_normaliser_and_its_gradient_are_the_same(monkeypatch, block):
    monkeypatch.setattr(log_normalizer, "_BLOCK", block)
    inputs = drawn(17, 20, 5, periods=4)
    alone, expected = (log_normaliser(*inputs, with_mean=flag)[0] for flag in (False, True))
    torch.testing.assert_close(alone, expected, rtol=1e-12, atol=1e-12)
    own, others = (torch.autograd.grad(value.square().sum(), inputs[:2]) for value in (alone, expected))
    torch.testing.assert_close(own, others, rtol=1e-10, atol=1e-10)


def test_finite_differences_agree():
    eta, z, *others = drawn(4, 6, 3, periods=2)
    assert torch.autograd.gradcheck(lambda eta, z: log_normaliser(eta, z, *others), (eta, z))


def test_a_period_by_hand():
    """Two candidates of weight 1/4 and 3/4, at 0 and at log 2; the second period has the first candidate alone, twice
    as popular."""
    z = torch.tensor([[1.0], [2.0]]).double().log()
    weight, period = torch.tensor([0.25, 0.75]).double().log(), torch.tensor([[1.0, 2.0], [1.0, 0.0]]).double()
    norm, mean = log_normaliser(torch.ones(1, 1).double(), z, weight, torch.tensor([-1]), period)
    torch.testing.assert_close(norm.exp(), torch.tensor([[1.75, 0.5]]).double())
    torch.testing.assert_close(mean, 1.5 / 1.75 * torch.full((1, 1), 2.0).double().log())


def test_large_logits_do_not_overflow():
    norm, mean = log_normaliser(
        torch.tensor([[500.0]]),
        torch.tensor([[1.0], [-1.0]]),
        torch.tensor([0.5, 0.5]).log(),
        torch.tensor([-1]),
        torch.tensor([[1.0], [1.0]]),
    )
    assert float(norm) == pytest.approx(500 - 0.6931, abs=1e-3)
    assert float(mean) == pytest.approx(1.0)


def test_no_rows_give_no_values():
    nobody = torch.zeros(0, dtype=torch.int64)
    norm, mean = log_normaliser(torch.zeros(0, 3), torch.zeros(4, 3), torch.zeros(4), nobody, torch.ones(4, 2))
    assert norm.shape == (0, 2)
    assert mean.shape == (0, 3)
