"""Readers of other packages: a format of `demure prepare --format`."""

import pandas as pd
import pyarrow as pa
import pytest
from support.packages import add_package

from demure.errors import DataError, DemureError
from demure.preparation.options import PrepareOptions
from demure.preparation.prepare import prepare
from demure.preparation.reading import formats


@pytest.fixture
def prepare_by(tmp_path, monkeypatch):
    """Prepare a file with a reader of a package, whose name is ``name``."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def run(read, name="mine", **options):
        monkeypatch.setattr(formats, "READ", read, raising=False)
        add_package(tmp_path / "site", f"[demure.readers]\n{name} = demure.preparation.reading.formats:READ\n")
        file = tmp_path / "log.mine"
        file.write_text("a\n")
        return prepare(PrepareOptions(file, tmp_path / "out", format="mine", split="ratio", **options))

    return run


ROWS = {"user_id": ["u", "u", "v", "v"], "item_id": [1, 2, 1, 3], "when": [1e9, 2e9, 1e9, 2e9], "spare": list("abcd")}


@pytest.mark.parametrize("make", [pd.DataFrame, pa.table])
def test_frames_and_tables_are_read_as_files_are(prepare_by, tmp_path, make):
    report = prepare_by(lambda path: make(ROWS), columns={"timestamp": "when"})
    assert (report.format, report.counts["interactions"], report.counts["items"]) == ("mine", 4, 3)
    table = pd.read_parquet(tmp_path / "out" / "interactions.parquet")
    assert table["timestamp"].tolist() == [1e9, 2e9, 1e9, 2e9]
    assert table["item_id"].tolist() == ["1", "2", "1", "3"]


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda path: 1 / 0, r"log.mine, --format mine: cannot be read \(ZeroDivisionError: division by zero\)"),
        (lambda path: [1], "its reader returns list; it must return a pyarrow.Table or a pandas.DataFrame"),
        (lambda path: pd.DataFrame(), "its reader returns Table"),
        (lambda path: pd.DataFrame(ROWS)[:0], "has no rows"),
        (lambda path: pd.DataFrame(ROWS).drop(columns="item_id"), "has no column item_id"),
        (lambda path: pd.DataFrame({"item_id": [1, "x"]}, dtype=object), "cannot be read"),
        (7, "'mine' is 7; it must be a function of a path"),
    ],
)
def test_what_a_reader_does_wrong_is_one_line(prepare_by, tmp_path, read, message):
    with pytest.raises(DemureError, match=message) as error:
        prepare_by(read)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_name_of_our_format_is_refused(prepare_by):
    with pytest.raises(DemureError, match="a package adds 'csv', which demure has"):
        prepare_by(lambda path: pd.DataFrame(ROWS), name="csv")


def test_an_unknown_format_is_refused_with_the_added_ones(prepare_by):
    with pytest.raises(DataError, match="did you mean mines"):
        prepare_by(lambda path: pd.DataFrame(ROWS), name="mines")


def test_a_file_that_is_not_there(prepare_by, tmp_path):
    prepare_by(lambda path: pd.DataFrame(ROWS))
    with pytest.raises(DataError, match="no such file"):
        prepare(PrepareOptions(tmp_path / "gone", tmp_path / "other", format="mine"))
