"""Delimited text: what was written comes back row for row, or is refused; rows are never fewer without a word."""

import csv
import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.data_by_hand import made, rows, write

from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading import row_scan
from demure.preparation.reading.columns import ColumnSelection
from demure.preparation.reading.delimited import read_delimited

CELL = st.text(alphabet='ab1 "\\,;\t|\né', max_size=6)
PLAIN_CELL = st.text(alphabet='ab "\\é', max_size=6)
quickly = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def table(columns, cells):
    return st.lists(st.lists(cells, min_size=columns, max_size=columns), min_size=1, max_size=8)


TABLES = st.integers(2, 4).flatmap(lambda columns: table(columns, CELL))
PLAIN_TABLES = st.integers(2, 4).flatmap(lambda columns: table(columns, PLAIN_CELL))


def read(folder, content, **options):
    """Return the rows, the numbers of the rows, and the findings."""
    path = write(folder, "x.csv", content)
    findings = Findings()
    raw = read_delimited(path, findings, ColumnSelection(items=True, **options))
    columns = [raw.table[name].to_pylist() for name in raw.column_names]
    lines = [list(row) for row in zip(*columns, strict=True)]
    return lines, raw.row_numbers.of(np.arange(len(lines))).tolist(), findings


def names(lines):
    return [f"c{k}" for k in range(len(lines[0]))]


@quickly
@given(
    TABLES,
    st.sampled_from(",;|\t"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([7, 1 << 22]),
)
def test_quoted_values_come_back_or_are_refused(tmp_path, lines, delimiter, quoting, end, piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_scan, "_PIECE", piece)
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows([names(lines), *lines])
        try:
            read_lines, _, findings = read(tmp_path, text.getvalue())
        except DataError as error:
            assert "--quotes double" in str(error)  # noqa: PT017
            read_lines, _, _ = read(tmp_path, text.getvalue(), quotes="double")
        else:
            if delimiter == "\t" and any("read as characters" in note for note in findings.notes):
                return
        assert read_lines == lines


@quickly
@given(PLAIN_TABLES, st.sampled_from(",;|\t"))
def test_rows_without_quoting_are_never_fewer(tmp_path, lines, delimiter):
    lines = [["x", *line] for line in lines]
    content = "\n".join(delimiter.join(line) for line in [names(lines), *lines])
    try:
        read_lines, _, findings = read(tmp_path, content)
    except DataError as error:
        assert any(part in str(error) for part in ("--quotes none", "looks like several rows", "columns, not"))  # noqa: PT017
        assert delimiter != "\t"
        read_lines, _, findings = read(tmp_path, content, quotes="none")
    unquoted = [next(csv.reader([delimiter.join(line)], delimiter=delimiter)) for line in lines]
    assert read_lines in (lines, unquoted) or any("backslash" in note or '\\"' in note for note in findings.notes)
    assert len(read_lines) == len(lines)


@quickly
@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), min_size=1, max_size=12), st.sampled_from(",\t")
)
def test_rows_of_another_length_are_refused_or_skipped_with_their_numbers(tmp_path, lines, delimiter):
    lines = [["x", *line] for line in lines]
    content = "\n\n".join(delimiter.join(line) for line in [["c0", "c1", "c2"], *lines, ["y", "y", "y"]])
    wrong = [k for k, line in enumerate(lines, start=2) if len(line) != 3]
    if wrong:
        with pytest.raises(DataError, match=rf"x\.csv:{wrong[0]}: has \d columns, not 3.*--bad-rows skip"):
            read(tmp_path, content)
    read_lines, numbers, findings = read(tmp_path, content, skips_rows=True)
    assert read_lines == [*(line for line in lines if len(line) == 3), ["y", "y", "y"]]
    assert numbers == [k for k in range(2, len(lines) + 3) if k not in wrong]
    problems = findings.problems.get("row of another length")
    assert [row.row for row in (problems.rows if problems else [])] == wrong


H = "user_id\titem_id\ttimestamp\treview\n"
C = H.replace("\t", ",")
CHARACTERS = "read as characters"
READ = {
    # name: (content, rows, part of a note)
    "a lone mark": (H + 'u\ta\t1\t"cheap\nu\tb\t2\tsaid "fine" twice\n', 2, "row 2 has one that does not"),
    "two lone marks that enclose rows": (H + 'u\ta\t1\t"cheap\nu\tb\t2\tok\nu\tc\t3\tthe 27"\n', 3, CHARACTERS),
    "two lone marks in a row": (H + 'u\ta\t1\t"cheap" and "good\nu\tb\t2\tok\n', 2, CHARACTERS),
    "a mark that swallows a delimiter": (H + 'u\t"a\t1\tb"\nu\tb\t2\tok\n', 2, CHARACTERS),
    "a mark at the end of the file": (H + 'u\ta\t1\tok\nu\tb\t2\t"cheap', 2, CHARACTERS),
    "a mark in the header": (H.replace("review", '"review') + 'u\ta\t1\tok\nu\tb\t2\tok"\n', 2, "row 1 has one"),
    "quoted tabs": (H.replace("review", '"review"') + '"u"\t"a"\t1\t"a\tb"\nu\tb\t2\tok\n', 2, None),
    "quoted line breaks": (C + 'u,a,1,"one\ntwo, three\n\nfour"\nu,b,2,"a\nb"\n', 2, "6 lines are 2 rows"),
    "one of many looks like rows": (
        C + 'u,a,1,"one\ntwo"\nu,b,2,"x\n1,2,3,4"\nu,c,3,"a\nb"\n', 3, "6 lines are 3 rows"
    ),
    "lines that begin like no id": (C + 'u,a,1,"one\na few, more, words, here"\nu,b,2,x\n', 2, "3 lines are"),
    "lines like rows in most rows": (C + "".join(f'u,{c},1,"x\ny,3,4,5"\n' for c in "abc"), 3, "6 lines are 3 rows"),
    "lone marks in every row": (H + 'u\ta\t1\t"x\nu\tb\t2\ty"\nu\tc\t3\t"z\n', 3, CHARACTERS),
    "marks within values": (C + 'u,a,1,5" or 6"\nu,b,2,"say ""hi"""\n', 2, None),
    "backslashes": (H.replace("\t", ";") + 'u;a;1;"A \\"Q\\" T"\nu;b;2;"End\\"; Odd"\n', 2, r'\" within a value'),
    "a backslash at the end": (H.replace("\t", ";") + 'u;a;1;"C:\\"\nu;b;2;"a""b"\n', 2, None),
    "sep=": ("sep=|\n" + H.replace("\t", "|") + "u|a|1|x,y,z,1\nu|b|2|\n", 2, "separated by '|'"),
    "columns without names": (H.replace("\t", ";").replace("\n", ";;\n") + "u;a;1;x;;\nu;b;2;;;\n", 2, None),
    "delimiters at the end of rows": (C + "u,a,1,x,,\nu,b,2,,,\n", 2, None),
    "a delimiter of two characters": (H.replace("\t", "||") + "u||a||1||x\nu||b||2||\n", 2, "separated by '|'"),
    "blank lines first": ("\n \n" + H + "u\ta\t1\tx\n\nu\tb\t2\ty\n\n", 2, None),
    "carriage returns": ((H + "u\ta\t1\tx\nu\tb\t2\ty\n").replace("\n", "\r"), 2, None),
    "quoted carriage returns": (C + 'u,a,1,"x\ry"\r\nu,b,2,"z"\r\n', 2, "3 lines are 2 rows"),
    "a header of two lines": (C.replace("review", '"re\nview"') + "u,a,1,x\nu,b,2,y\n", 2, None),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_every_row_is_read(tmp_path, name):
    content, n, note = READ[name]
    dataset, report = made(tmp_path, write(tmp_path, "x.csv", content))
    first = '"a' if name == "a mark that swallows a delimiter" else "a"
    assert rows(dataset) == [("u", item) for item in [first, "b", "c"][:n]]
    assert report.steps[0].rows == n
    assert not report.problems or list(report.problems) == ["row of which each line looks like a row"]
    assert note is None or any(note in line for line in report.notes), report.notes


REFUSED = {
    "a lone mark": (C + 'u,a,1,x\nu,b,2,"cheap\nu,c,3,x\n', "x.csv:3: a quotation mark does not close"),
    "a lone mark in an id": (C + 'u,"a,1,x\nu,b,2,x\n', "x.csv:2: a quotation mark does not close"),
    "two lone marks that enclose rows": (
        C + 'u,a,1,"x\nu,b,2,x\nu,c,3,27"\n',
        "x.csv:2: a value with a line break looks",
    ),
    "two lone marks that enclose rows, one of them broken": (
        C + 'u,a,1,"\nx\n' + "u,b,2,x\n" * 9 + 'u,c,3,27"\n',
        "x.csv:2: a value with a line break looks",
    ),
    "a lone mark among quoted values": (C + 'u,a,1,"x, y"\nu,b,2,"x\nu,c,3,"y"\n', "x.csv:3: a quotation mark"),
    "text after a quoted value": (C + 'u,a,1,"x" y\n', "x.csv:2: a quotation mark does not close"),
    "a lone mark in the header": (C.replace("review", '"review') + 'u,a,1,x\nu,b,2,y"\n', "x.csv:1: a quotation mark"),
    "a row of another length": (C + 'u,a,1,"x"\nu,b,2\n', "x.csv:3: has 3 columns, not 4"),
    "a row swallowed by a shorter one": (C + 'u,"a\nu,b",2,x\nu,b,"2\nu,c",x,y\n', "x.csv:3: "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_add_up_is_refused_with_its_row(tmp_path, name):
    content, message = REFUSED[name]
    with pytest.raises(DataError) as caught:
        made(tmp_path, write(tmp_path, "x.csv", content))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_user_states_how_values_are_quoted(tmp_path):
    path = write(tmp_path, "x.csv", C + 'u,a,1,"x\nu,b,2,x\nu,c,3,27"\n')
    dataset, report = made(tmp_path, path, quotes="none")
    assert rows(dataset) == [("u", "a"), ("u", "b"), ("u", "c")]
    dataset, report = made(tmp_path, path, out="double", quotes="double")
    assert rows(dataset) == [("u", "a")]
    assert report.problems["row of which each line looks like a row"].rows[0].row == 2
    assert dataset.manifest.created_by["quotes"] == "double"
    with pytest.raises(DataError, match="--quotes: unknown value 'nome'; did you mean none"):
        made(tmp_path, path, out="no", quotes="nome")


def test_rows_after_a_skipped_one_keep_their_numbers(tmp_path):
    path = write(tmp_path, "x.csv", C + 'u,a,1,"x"\nu,b\n\n,c,3,x\nu,d,4,x\n')
    dataset, report = made(tmp_path, path, bad_rows="skip")
    assert rows(dataset) == [("u", "a"), ("u", "d")]
    assert {kind: [(row.row, row.value) for row in problem.rows] for kind, problem in report.problems.items()} == {
        "row of another length": [(3, "u,b")], "empty user id": [(4, "")]
    }  # fmt: skip
    assert report.problems["row of another length"].action == "skipped"
