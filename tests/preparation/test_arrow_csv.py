"""Arrow reads a Python file in threads of its own: none is left when the reading has ended, however it ends."""

import io
import threading
import weakref

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demure.preparation.reading.arrow_csv import read_batches

ROWS = b"1,2\n" * 3000
CASES = {
    "header only": b"a,b\n",
    "empty": b"",
    "whole": b"a,b\n" + ROWS,
    "bad first row": b"a,b\n1,2,3\n" + ROWS,
    "bad last row": b"a,b\n" + ROWS + b"1\n",
    "not UTF-8": b"a,b\n\xff,1\n" + ROWS,
    "unclosed quote": b'a,b\n"1,2\n' + ROWS,
}


def read(text, *, rows=None, **options):
    """Return the number of rows, or the error; stop after ``rows``."""
    convert = pa.csv.ConvertOptions(column_types={"a": pa.string(), "b": pa.string()})
    batches = read_batches(text, pa.csv.ReadOptions(block_size=1024), convert, **options)
    count = 0
    try:
        for batch in batches:
            count += batch.num_rows
            if rows is not None and count >= rows:
                batches.close()
    except pa.ArrowException as error:
        return str(error)
    return count


class Text(io.BytesIO):
    """A file that can be referred to weakly."""


@pytest.mark.parametrize("options", [{}, {"on_bad_row": lambda row: "skip"}, {"rows": 1}], ids=["all", "skip", "some"])
@pytest.mark.parametrize("case", CASES)
def test_nothing_holds_the_file_afterwards(case, options):
    text = Text(CASES[case])
    reference = weakref.ref(text)
    read(text, **options)
    del text
    assert reference() is None


def test_a_thread_that_still_reads_is_waited_for():
    released, reading = threading.Event(), set()

    class Slow(io.BytesIO):
        def read(self, size=-1):
            data = super().read(size)
            if self.tell() > 2048:
                reading.add(self.tell())
                released.wait(20)
                reading.remove(self.tell())
            return data

    threading.Timer(0.05, released.set).start()
    assert "Expected 2 columns" in read(Slow(CASES["bad first row"]))
    assert reading == set()


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 9)), min_size=1, max_size=900))
def test_the_rows_are_those_of_the_whole_file(rows):
    data = "a,b\n" + "".join(f"{a},{b}\n" for a, b in rows)
    options = pa.csv.ReadOptions(block_size=1024)
    batches = list(read_batches(io.BytesIO(data.encode()), options, pa.csv.ConvertOptions()))
    assert pa.Table.from_batches(batches) == pa.csv.read_csv(io.BytesIO(data.encode())).combine_chunks()
