"""Child processes of a test, which end with it at the latest."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time

import pytest

_PR_SET_PDEATHSIG = 1


@pytest.fixture
def start_python():
    """Start ``python ARGUMENTS`` in a process group of its own; at the end of the test the whole group is killed."""
    processes = []

    def start(*arguments, **options):
        command = [sys.executable, *arguments]
        process = subprocess.Popen(command, start_new_session=True, preexec_fn=_die_with_parent, text=True, **options)
        processes.append(process)
        return process

    yield start
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def wait_until(condition, process):
    """Wait until ``condition()`` is true, or the process has ended."""
    while not condition() and process.poll() is None:
        time.sleep(0.01)


def _die_with_parent():
    """Where the test itself is killed, nothing tears it down: let Linux kill the child."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
