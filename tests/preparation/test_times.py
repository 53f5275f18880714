"""The notations of times: each is read right, an open order is refused, and odd times are reported."""

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.data_by_hand import csv_of, made, rows, write

from demure.errors import DataError
from demure.preparation.new_users import read_histories
from demure.preparation.problems import Findings
from demure.preparation.reading.dates import ORDERS, parse_iso
from demure.preparation.reading.times import TIME_FORMATS, TimeColumn, check_time_format, read_times


def seconds(*date):
    return dt.datetime(*date, tzinfo=dt.UTC).timestamp()


def read(values, time_format=None, of_items=False):
    """Return the times of a column, and the notes."""
    findings = Findings()
    column = TimeColumn(pa.chunked_array([pa.array(values)]), "when", Path("x.csv"), of_items=of_items)
    return read_times(column, findings, time_format), findings.notes


MORNING, EVENING = seconds(2021, 3, 10, 9, 5, 8), seconds(2021, 3, 10, 21, 5, 8)
DAY = seconds(2021, 3, 10)
NOTATIONS = {  # text of a time -> the time; a second text makes the order of day and month plain
    ("3/10/2021 9:05:08 AM", "3/13/2021"): MORNING,
    ("03/10/2021 09:05:08 pm", "03/13/2021"): EVENING,
    ("10.03.2021 09:05:08", "13.03.2021 10:10"): MORNING,
    ("10-3-2021 21:05:08", "31-3-2021"): EVENING,
    ("10/03/21", "31/03/22"): DAY,
    ("2021/3/10 9:05:08 AM",): MORNING,
    ("2021. 3. 10. 21:05:08",): EVENING,
    ("03 10, 2021", "3 13, 2021"): DAY,
    ("Wed Mar 10 09:05:08 2021",): MORNING,
    ("Wed Mar 10 01:05:08 -0800 2021",): MORNING,
    ("Wed Mar 10 01:05:08 PST 2021",): MORNING,
    ("Wed Mar 10 2021 10:05:08 GMT+0100 (Central European Standard Time)",): MORNING,
    ("Wed, 10 Mar 2021 09:05:08 GMT",): MORNING,
    ("Wed, 10 Mar 2021 04:05:08 EST",): MORNING,
    ("10/Mar/2021:09:05:08 +0000",): MORNING,
    ("10-MAR-21 09.05.08 AM",): MORNING,
    ("March 10, 2021 at 9:05:08 PM",): EVENING,
    ("10th of March", "10 March 2021"): None,
    ("Sept. 3, 2021",): seconds(2021, 9, 3),
    ("2021-Mar-10 21:05:08",): EVENING,
    ("2021-03-10T09:05:08Z",): MORNING,
    ("2021-03-10 10:05:08+01:00",): MORNING,
    (20210310,): DAY,
    ("20210310",): DAY,
    (13032021,): seconds(2021, 3, 13),
    (9302021,): seconds(2021, 9, 30),
    (210331,): seconds(2021, 3, 31),
    (202103,): seconds(2021, 3, 1),
    (2021,): seconds(2021, 1, 1),
    (2021031009,): seconds(2021, 3, 10, 9),
    (202103100905,): seconds(2021, 3, 10, 9, 5),
    (20210310090508,): MORNING,
    ("20210310090508.0",): MORNING,
    (44265.878564814815,): EVENING,
    ("44265,5",): seconds(2021, 3, 10, 12),
    (18696,): DAY,
    (1615367108,): MORNING,
    (1615367108000,): MORNING,
    ("1615367108000000",): MORNING,
    (1615367108000000000,): MORNING,
}  # fmt: skip


@pytest.mark.parametrize("values", NOTATIONS, ids=str)
def test_notations(values):
    times, notes = read(list(values))
    expected = NOTATIONS[values]
    if expected is None:
        assert np.isnan(times[0])
        return
    assert abs(times[0] - expected) < 0.01
    assert np.isfinite(times).all()
    is_plain = isinstance(values[0], int) and 1e9 < values[0] < 2e9
    assert bool(notes) != (is_plain or str(values[0]).startswith("2021-03"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["01/06/2020"], "x.csv:1: '01/06/2020' in column 'when' can be 2020-06-01 (day-first) or 2020-01-06 (month-f"),
        (["01.06.2020 10:10", "02.06.2020 10:10"], "say --time-format day-first or --time-format month-first"),
        (["2020-01-01", "01/06/2020", "02/06/2020"], "x.csv:2: '01/06/2020'"),
        (["13/01/2020", "01/13/2020"], "different orders: '13/01/2020' is day-first, '01/13/2020' is month-first"),
        (["21-03-13", "21-03-14"], "2021-03-13 (year-first) or 2013-03-21 (day-first)"),
        ([1062020], "x.csv:1: '1062020' in column 'when' can be 2020-06-01 (day-first) or 2020-01-06 (month-first)"),
        ([130112, 130113], "'130112' in column 'when' can be 2013-01-12 (year-first) or 2012-01-13 (day-first)"),
        (["soon"], "no timestamp in column 'when' can be read (the first is 'soon'); give --time-format a pattern"),
        ([13260000000000000], "x.csv:1: '13260000000000000' in column 'when' would be 2390-03-12"),
        (["2390-03-12"], "would be 2390-03-12"),
    ],
)
def test_refused(values, message):
    with pytest.raises(DataError) as caught:
        read(values)
    assert message in str(caught.value)


def test_a_time_without_a_zone_is_in_utc_whatever_comes_before_it():
    zones = ["+01:00", "", "-0530", "Z", "", "+02", "", None]
    texts = [None if zone is None else f"2021-03-10T09:00:00{zone}" for zone in zones]
    hours = (parse_iso(pa.array(texts)) - dt.datetime(2021, 3, 10, tzinfo=dt.UTC).timestamp()) / 3600
    np.testing.assert_array_equal(hours, [8, 9, 14.5, 9, 9, 7, 9, np.nan])
    hours = parse_iso(pa.array(["2021-03-10 00:00+01:00", "2021-03-11", "2021-03"])) / 3600
    np.testing.assert_array_equal(hours - hours[2], [9 * 24 - 1, 10 * 24, 0])  # -03 is the month


def test_the_order_is_open_only_where_it_makes_a_difference():
    times, _ = read(["11/11/2019 9:05:58 AM", "12/12/2019 9:05:58 PM"])
    assert times.tolist() == [seconds(2019, 11, 11, 9, 5, 58), seconds(2019, 12, 12, 21, 5, 58)]
    times, _ = read(["01/02/30", "02/03/30", "12/12/12"], "day-first")
    assert times[0] == seconds(2030, 2, 1)
    times, notes = read(["2020-01-01", "2020-01-02", "2020-01-03", "01/06/2020"])
    assert np.isnan(times).tolist() == [False] * 3 + [True]
    assert "such dates are not read without --time-format" in notes[0]
    times, _ = read(["01/13/2020"] * 150 + ["14/01/2020"])  # one mistyped among many
    assert np.isnan(times).sum() == 1


def test_the_format_as_an_option():
    for time_format, day in (("day-first", (2020, 6, 1)), ("month-first", (2020, 1, 6)), ("%m/%d/%Y", (2020, 1, 6))):
        times, notes = read(["01/06/2020", "x", None], time_format)
        assert times[0] == seconds(*day)
        assert np.isnan(times[1:]).all()
        assert not notes
    assert read([20210310], "seconds")[0].tolist() == [20210310]
    assert read([44265], "excel")[0].tolist() == [DAY]
    assert read(["x;2020;6", "x;2020;7"], "x;%Y;%m")[0][1] == seconds(2020, 7, 1)
    with pytest.raises(DataError, match="can be read as seconds"):
        read(["2020-01-01"], "seconds")
    for wrong, message in (("%Q", "is not a pattern of dates"), ("dayfirst", "did you mean day-first?")):
        with pytest.raises(DataError, match=message):
            check_time_format(wrong)
    assert all(check_time_format(name) is None for name in (*TIME_FORMATS, "%d.%m.%Y", None))


def test_numbers_that_are_not_dates_give_an_order():
    for values in ([1, 2, 3], list(range(60_000)), [1e8, 2e8]):
        times, notes = read([float(value) for value in values])
        assert times.tolist() == values
        assert "only their order and their distances count; if these are dates, say --time-format" in notes[-1]


def test_dates_of_items_may_be_old():
    assert read([1890, 1923, 1994], of_items=True)[0][0] == seconds(1890, 1, 1)
    assert read(["01-Jan-1923", "14-Feb-1994"], of_items=True)[0][0] == seconds(1923, 1, 1)


def test_odd_times_among_plausible_ones(tmp_path):
    now = 1_600_000_000
    values = [now, now + 1, 0, now + 2, 500_000_000, now + 3, 3_000_000_000, "1970-01-01"]
    path = write(tmp_path, "x.csv", csv_of([("u", f"i{k}", value) for k, value in enumerate(values)]))
    dataset, report = made(tmp_path, path)
    assert {kind: (problem.count, problem.action) for kind, problem in report.problems.items()} == {
        "timestamp 0": (2, "dropped"),
        "timestamp before 1990": (1, "kept"),
        "timestamp after tomorrow": (1, "kept"),
    }
    assert len(rows(dataset)) == 6
    for since, n_rows in (("2020", 5), ("20200101", 5), ("202001", 5), ("1577836800", 5), ("2021-01-01", 1)):
        assert len(rows(made(tmp_path, path, since=since, out=f"since {since}")[0])) == n_rows


def test_time_format_through_prepare(tmp_path):
    path = write(tmp_path, "x.csv", csv_of([("u", "a", "01/06/2020"), ("v", "a", "02/06/2020")]))
    dataset, _ = made(tmp_path, path, time_format="month-first")
    assert sorted(dataset.histories("train").times) == [seconds(2020, 1, 6), seconds(2020, 2, 6)]
    assert dataset.manifest.created_by["time_format"] == "month-first"
    untimed = write(tmp_path, "y.csv", "user_id,item_id\nu,a\n")
    with pytest.raises(DataError, match="has no timestamps, which --time-format needs"):
        made(tmp_path, untimed, split="ratio", time_format="day-first", out="y")


PATTERNS = {
    "day-first": ["%d/%m/%Y", "%d.%m.%Y %H:%M", "%d-%m-%Y %I:%M:%S %p"],
    "month-first": ["%m/%d/%Y", "%m.%d.%Y %H:%M", "%m-%d-%Y %I:%M:%S %p"],
    "year-first": ["%Y/%m/%d %H:%M", "%Y.%m.%d %I:%M:%S %p", "%Y-%m-%d"],
    None: [
        "%d %b %Y",
        "%a, %d %b %Y %H:%M:%S +0000",
        "%B %d, %Y",
        "%a %b %d %H:%M:%S UTC %Y",
        "%Y%m%d",
        "%Y%m%d%H%M%S",
    ],
}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.datetimes(dt.datetime(1991, 1, 1), dt.datetime(2024, 12, 31)), min_size=1, max_size=6),
    st.sampled_from([(order, pattern) for order, patterns in PATTERNS.items() for pattern in patterns]),
)
def test_a_column_is_read_as_it_was_written_or_refused(moments, notation):
    order, pattern = notation
    texts = [moment.strftime(pattern) for moment in moments]
    expected = [dt.datetime.strptime(text, pattern).replace(tzinfo=dt.UTC).timestamp() for text in texts]
    is_open = order in ("day-first", "month-first") and all(moment.day <= 12 for moment in moments)
    is_open &= any(moment.day != moment.month for moment in moments)
    if is_open:
        with pytest.raises(DataError, match="say --time-format"):
            read(texts)
        assert read(texts, order)[0].tolist() == expected
    else:
        assert read(texts)[0].tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.text("0123456789/-.: APMar,+TZ", max_size=24), st.sampled_from([None, *ORDERS]))
def test_any_text_is_read_or_not_but_nothing_breaks(text, time_format):
    assume(text.strip())
    try:
        times, _ = read([text, "2020-01-31"], time_format)
    except DataError as error:
        assert "--time-format" in str(error)  # noqa: PT017
        return
    assert times[1] == seconds(2020, 1, 31)


def test_time_format_of_histories(tmp_path):
    dataset, _ = made(tmp_path, write(tmp_path, "x.csv", csv_of([("u", "a", 1), ("u", "b", 2), ("u", "c", 3)])))
    path = write(tmp_path, "today.csv", csv_of([("v", "a", "02/06/2020"), ("v", "b", "01/07/2020")]))
    with pytest.raises(DataError, match="say --time-format day-first or --time-format month-first"):
        read_histories(path, dataset)
    for time_format, order in (("day-first", [0, 1]), ("month-first", [1, 0])):
        assert read_histories(path, dataset, time_format)[1].items.tolist() == order
    with pytest.raises(DataError, match="unknown value 'day_first'"):
        read_histories(path, dataset, "day_first")
