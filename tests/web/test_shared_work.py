"""Answers are computed for all that wait, once each, and the last ones are kept."""

import asyncio
import threading

import pytest

from demure.web.shared_work import SharedWork


def test_requests_that_wait_share_a_computation():
    calls, first = [], threading.Event()

    def compute(names):
        calls.append(list(names))
        first.wait(10)
        return {name: name.upper() for name in names}

    async def ask():
        work = SharedWork(compute, keep=10)
        tasks = [asyncio.create_task(work.of(name)) for name in "abcabc"]
        while not calls:
            await asyncio.sleep(0)
        tasks += [asyncio.create_task(work.of(name)) for name in "aade"]
        await asyncio.sleep(0)
        first.set()
        answers = await asyncio.gather(*tasks)
        again = [await work.of(name) for name in "edcba"]
        return answers, again

    answers, again = asyncio.run(ask())
    assert answers == [*"ABCABCAADE"]
    assert again == [*"EDCBA"]
    assert calls == [["a", "b", "c"], ["d", "e"]]


def test_the_last_answers_are_kept():
    calls = []

    def compute(names):
        calls.extend(names)
        return {name: name for name in names}

    async def ask():
        work = SharedWork(compute, keep=2)
        for name in "abacabx":
            await work.of(name)
        return len(work._answers)

    assert asyncio.run(ask()) == 2
    assert calls == ["a", "b", "c", "b", "x"]


def test_a_failure_reaches_those_that_wait_and_no_others():
    def compute(names):
        if "bad" in names:
            raise RuntimeError("no answer")
        return {name: name for name in names}

    async def ask():
        work = SharedWork(compute, keep=2)
        waiting = [asyncio.create_task(work.of(name)) for name in ("bad", "bad")]
        for task in waiting:
            with pytest.raises(RuntimeError):
                await task
        return await work.of("good")

    assert asyncio.run(ask()) == "good"


def test_a_client_that_hangs_up_leaves_the_answer_to_the_others():
    started, go_on = threading.Event(), threading.Event()

    def compute(names):
        started.set()
        go_on.wait(10)
        return {name: name for name in names}

    async def ask():
        work = SharedWork(compute, keep=2)
        leaving, staying = (asyncio.create_task(work.of("a")) for _ in range(2))
        while not started.is_set():
            await asyncio.sleep(0)
        leaving.cancel()
        go_on.set()
        return await staying

    assert asyncio.run(ask()) == "a"
