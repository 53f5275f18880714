"""Numbers as good as zero are zero while the model computes, and nowhere else."""

import pytest
import torch

from demure.model.denormals import flush_denormals


def flushed():
    return bool((torch.full((8,), 1e-39) * 1.0 == 0).all())


def test_they_are_zero_meanwhile():
    assert not flushed()
    with flush_denormals():
        assert flushed()
        assert torch.all(torch.full((8,), 1e-37) * 1.0 > 0)
        with flush_denormals():
            assert flushed()
        assert flushed()
    assert not flushed()


def test_they_are_known_to_be_zero_whatever_torch_computes_in():
    with flush_denormals():
        torch.set_default_dtype(torch.float64)
        try:
            with flush_denormals():
                pass
            assert bool((torch.full((8,), 1e-39, dtype=torch.float32) * 1.0 == 0).all())
        finally:
            torch.set_default_dtype(torch.float32)


def test_all_is_as_before_after_an_error():
    with pytest.raises(ValueError, match="mine"), flush_denormals():
        raise ValueError("mine")
    assert not flushed()
