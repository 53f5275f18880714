"""An encoder that runs out of memory is given less, and remembers."""

import numpy as np
import pytest

from demure.extraction.oom import HalvingEncoder


class Full:
    batch = 16

    def __init__(self, most, error):
        self.most, self.error, self.asked = most, error, []

    def encode(self, inputs):
        self.asked.append(len(inputs))
        if len(inputs) > self.most:
            raise self.error
        return np.array([[value] for value in inputs], dtype=np.float32)


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize("error", [MemoryError(), OutOfMemoryError("x"), RuntimeError("can't allocate memory: 9 GB")])
def test_batches_are_halved_until_they_fit(error):
    encoder = Full(5, error)
    halving = HalvingEncoder(encoder)
    np.testing.assert_array_equal(halving.encode(list(range(16)))[:, 0], range(16))
    assert encoder.asked == [16, 8, 4, 4, 4, 4]
    halving.encode(list(range(16)))
    assert encoder.asked[6:] == [4, 4, 4, 4]


def test_what_does_not_fit_alone_is_an_error():
    with pytest.raises(MemoryError):
        HalvingEncoder(Full(0, MemoryError())).encode([1, 2])


def test_other_errors_are_not_swallowed():
    encoder = Full(5, RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape"):
        HalvingEncoder(encoder).encode(list(range(16)))
    assert encoder.asked == [16]
