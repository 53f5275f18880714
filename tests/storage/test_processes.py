"""Readers and writers in processes of their own, some of which are killed."""

import os
import signal
import sys
from pathlib import Path

import pytest
from support.remote import get, put

TESTS = Path(__file__).parents[1]
BEGIN = f"import sys; sys.path.insert(0, {str(TESTS)!r}); from support.remote import content, get, put\n"
NAMES = ("dataset.json", "a.parquet", "b/c.json")

WRITER = """
url, count = sys.argv[1], int(sys.argv[2])
for number in range(2, count + 1):
    put(url, {name: f"{number} " * 5000 for name in ("dataset.json", "a.parquet", "b/c.json")})
"""
READER = """
from demure.storage.folders import local_folder
url, count = sys.argv[1], int(sys.argv[2])
numbers = [0]
while numbers[-1] < count:
    texts = content(local_folder(url))
    assert len(texts) == 3, texts.keys()
    number = {int(text.split()[0]) for text in texts.values()}
    assert len(number) == 1, number
    numbers += number
assert numbers == sorted(numbers)
print(len(set(numbers)))
"""
KILLED = """
import os, signal
from demure.storage import folders, upload
url, step = sys.argv[1:]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
original = upload.Location.make_parent
def die_at_the_second_file(location, name, count=[]):
    count.append(name)
    return die() if len(count) == 2 else original(location, name)
if step == "file":
    upload._AT_A_TIME = 1
    upload.Location.make_parent = die_at_the_second_file
else:
    setattr({"list": upload, "sweep": upload, "cache": folders}[step],
            {"list": "_put_list", "sweep": "_delete_earlier", "cache": "keep_to_limit"}[step], die)
put(url, {name: "2" for name in ("dataset.json", "a.parquet", "b/c.json")})
"""


@pytest.fixture
def start(start_python, tmp_path):
    """Start a script, with a cache of its own or that of the test."""

    def start_script(script, *arguments, cache=None):
        environment = {**os.environ, "DEMURE_CACHE": str(tmp_path / (cache or "cache"))}
        return start_python("-c", BEGIN + script, *arguments, env=environment, stdout=-1, stderr=-1)

    return start_script


@pytest.mark.skipif(sys.platform == "win32", reason="signals and locks of POSIX")
def test_readers_get_one_version_whole_while_others_are_uploaded(start, tmp_path):
    url, count = f"file://{tmp_path}/remote/shop", "12"
    put(url, dict.fromkeys(NAMES, "1 " * 5000))
    readers = [start(READER, url, count, cache=name) for name in ("first", "second", "second")]
    writer = start(WRITER, url, count)
    for process in (writer, *readers):
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert int(out) >= 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals and locks of POSIX")
@pytest.mark.parametrize(("step", "version"), [("file", "1"), ("list", "1"), ("sweep", "2"), ("cache", "2")])
def test_a_writer_that_is_killed(start, tmp_path, step, version):
    url = f"file://{tmp_path}/remote/shop"
    put(url, dict.fromkeys(NAMES, "1"))
    process = start(KILLED, url, step, cache="writer")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert get(url) == dict.fromkeys(NAMES, version)
    again = start("put(sys.argv[1], {name: '2' for name in sys.argv[2:]})", url, *NAMES, cache="writer")
    assert again.wait(timeout=60) == 0, again.stderr.read()
    assert get(url) == dict.fromkeys(NAMES, "2")


@pytest.mark.skipif(sys.platform == "win32", reason="signals and locks of POSIX")
def test_a_reader_that_is_killed(start, tmp_path):
    url = f"file://{tmp_path}/remote/shop"
    put(url, {name: f"1{name}" * 100 for name in NAMES})
    script = """
import os, signal
from demure.storage import fetch
accept, done = fetch._accept, []
def accept_one(*arguments):
    accept(*arguments)
    done.append(1)
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
fetch._accept = accept_one
get(sys.argv[1])
"""
    process = start(script, url, cache="reader")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("reader/folders/*/fetching/*.whole"))) == 2
    after = start("assert set(get(sys.argv[1])) == set(sys.argv[2:])", url, *NAMES, cache="reader")
    assert after.wait(timeout=60) == 0, after.stderr.read()
    assert list(tmp_path.glob("reader/folders/*/fetching")) == []
