"""CSV files that people open hold no cell that a spreadsheet runs, and nothing is lost by that."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.data_by_hand import csv_of, made, write

from demure.files import csv_text, quote_formula, unquote_formula

RUN = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@settings(max_examples=100)
@given(st.one_of(st.text(), st.tuples(st.sampled_from([*RUN, " =", "\ufeff@"]), st.text()).map("".join)))
def test_no_cell_is_run_and_each_can_be_had_back(text):
    quoted = quote_formula(text)
    assert not quoted.lstrip(" \ufeff\u00a0").startswith(RUN)
    assert text in (quoted, quoted[1:])
    if not text.startswith("'"):
        assert unquote_formula(quoted) == text
    written = io.StringIO(csv_text(["=a", "b"], [[text, ""]]), newline="")
    assert list(csv.reader(written)) == [["'=a", "b"], [quoted, ""]]


def test_numbers_stay_numbers():
    assert csv_text(["value"], [[-1.5], [-2], [None], ["-2"]]) == 'value\n-1.5\n-2\n""\n\'-2\n'


@pytest.mark.parametrize("start", RUN[:4])
def test_problems_of_a_hostile_file(tmp_path, start):
    attack = f"{start}cmd|' /C calc'!A0"
    content = csv_of([("u", "a", 1600000000), ("u", "b", attack), (attack, "zz", 1600000000)])
    path, items = write(tmp_path, f"{start}x.csv", content), write(tmp_path, "items.csv", "item_id\na\nb\n")
    dataset, _ = made(tmp_path, path, items=items)
    with open(tmp_path / "out" / "problems.csv", newline="") as handle:
        cells = [cell for row in csv.reader(handle) for cell in row]
    assert not [cell for cell in cells if cell.startswith(RUN)]
    assert f"'{attack}" in cells
    assert list(dataset.item_ids) == ["a", "b"]
