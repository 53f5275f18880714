"""Processes that decode: in order, overlapped, and never stopped by one input."""

import faulthandler
import os
import signal
import sys
import time

import numpy as np
import pytest

from demure.extraction import workers
from demure.extraction.decoding import UnusableInput
from demure.extraction.workers import DecoderPool, SerialDecoder, open_decoders

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
LIKE = np.zeros((2, 3), dtype=np.float32)


def square(k):
    return np.full((2, 3), k * k, dtype=np.float32)


def ran(make, groups, *, size=4, count=2, seconds=5.0):
    pool = DecoderPool(make, LIKE, size, count, seconds)
    return [(tag, good, np.array(array), bad) for tag, good, array, bad in pool.run(iter(groups))]


def test_every_group_comes_in_order_with_its_own():
    groups = [(tag, list(range(4 * tag, 4 * tag + 1 + tag % 4))) for tag in range(20)]
    for (tag, inputs), (got, good, array, bad) in zip(groups, ran(square, groups), strict=True):
        assert (got, good, bad) == (tag, inputs, [])
        np.testing.assert_array_equal(array, [square(k) for k in inputs])


def test_unusable_inputs_are_listed_and_the_others_decoded():
    def make(k):
        if k % 3 == 0:
            raise UnusableInput("bad", f"number {k}")
        return np.zeros(7, dtype=np.float32) if k == 4 else square(k)

    [(_, good, array, bad)] = ran(make, [("a", [0, 1, 3, 4])])
    assert good == [1]
    np.testing.assert_array_equal(array, [square(1)])
    assert bad == [
        (0, "bad", "number 0"),
        (3, "bad", "number 3"),
        (4, "cannot be prepared", "becomes (7,), others (2, 3)"),
    ]


def test_an_input_that_hangs_costs_its_time_limit_and_nothing_else():
    def make(k):
        while k == 5:
            signal.pause()
        return square(k)

    before = time.monotonic()
    groups = [(tag, list(range(4 * tag, 4 * tag + 4))) for tag in range(4)]
    batches = ran(make, groups, seconds=0.4)
    assert time.monotonic() - before < 5
    assert [good for _, good, _, _ in batches] == [[0, 1, 2, 3], [4, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    assert batches[1][3] == [(5, "takes too long", "more than 0.4 s")]
    np.testing.assert_array_equal(batches[1][2], [square(k) for k in (4, 6, 7)])


def test_an_input_that_kills_its_process_is_given_up_after_a_second_try(tmp_path):
    def make(k):
        if k == 2:
            with open(tmp_path / "tries", "a") as file:
                file.write("x")
            faulthandler.disable()
            os.kill(os.getpid(), signal.SIGSEGV)
        if k == 3 and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            os.kill(os.getpid(), signal.SIGKILL)  # as a machine that is short of memory does
        return square(k)

    [(_, good, _, bad)] = ran(make, [("a", [0, 1, 2, 3])])
    assert good == [0, 1, 3]
    assert bad == [(2, "the decoder crashed", f"with status {-signal.SIGSEGV}")]
    assert (tmp_path / "tries").read_text() == "xx"


def test_no_process_is_left_when_the_work_is_dropped():
    pool = DecoderPool(square, LIKE, 4, 2, 5.0)
    processes = [worker.process for worker in pool.workers]
    run = pool.run(iter([(k, [k]) for k in range(100)]))
    next(run)
    run.close()
    assert not any(process.is_alive() for process in processes)


def test_alone_gives_the_same():
    def make(k):
        if k == 1:
            raise UnusableInput("bad")
        return square(k)

    groups = [("a", [0, 1, 2]), ("b", [3])]
    for (_, good, array, bad), alone in zip(ran(make, groups), SerialDecoder(make).run(iter(groups)), strict=True):
        assert (good, bad) == (alone[1], alone[3])
        np.testing.assert_array_equal(array, alone[2])


def decode_or_fail(k):
    """Decode input k in a process that was started anew, and so imports this module."""
    if k == 1:
        raise UnusableInput("bad", "number 1")
    if k == 2:
        os._exit(3)
    return square(k)


def test_processes_that_are_started_anew_give_the_same():
    pool = DecoderPool(decode_or_fail, LIKE, 4, 1, 20.0, start_method="spawn")
    [(_, good, array, bad), (_, later, _, _)] = [
        (tag, list(inputs), np.array(arrays), problems)
        for tag, inputs, arrays, problems in pool.run(iter([("a", [0, 1, 2, 3]), ("b", [4])]))
    ]
    assert (good, later) == ([0, 3], [4])
    np.testing.assert_array_equal(array, [square(0), square(3)])
    assert bad == [(1, "bad", "number 1"), (2, "the decoder crashed", "with status 3")]


def test_without_fork_a_decoder_that_cannot_be_pickled_works_in_this_process(monkeypatch, caplog):
    monkeypatch.setattr(workers, "START_METHOD", "spawn")
    decoders = open_decoders(lambda k: square(k), LIKE, 4, 2, 5.0)
    assert isinstance(decoders, SerialDecoder)
    assert "without a time limit" in caplog.text
    pool = open_decoders(square, LIKE, 4, 1, 5.0)
    assert isinstance(pool, DecoderPool)
    pool.close()
