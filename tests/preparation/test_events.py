"""What the file says of the event: read, counted, chosen; and every column that is not used is named."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.data_by_hand import csv_of, made, rows, write

from demure.errors import DataError, DemureError
from demure_cli.app import main
from demure_cli.parsing import parse_events

HEADER = "user_id,item_id,timestamp,event,visit"
SHOP = [
    ("u", "a", 1600000000, "view", 1),
    ("u", "b", 1600000001, "View", 1),
    ("u", "b", 1600000002, "addtocart", 1),
    ("v", "a", 1600000003, "transaction", 2),
    ("v", "c", 1600000004, "view", 2),
    ("v", "c", 1600000005, "", 2),
]


@pytest.fixture
def shop(tmp_path):
    return write(tmp_path, "x.csv", csv_of(SHOP, HEADER))


def test_all_events_count_and_are_counted(tmp_path, shop):
    dataset, report = made(tmp_path, shop)
    assert rows(dataset) == [("u", "a"), ("u", "b"), ("v", "a"), ("v", "c")]
    assert (
        "x.csv: column 'event' names the event: view (2), View (1), addtocart (1), transaction (1), (blank) (1): "
        "all are taken as interactions; --events chooses among them"
    ) in report.notes
    assert "x.csv: columns that are not used: visit" in report.notes
    assert set(report.notes) <= set(dataset.manifest.notes)


def test_events_that_are_chosen(tmp_path, shop):
    dataset, report = made(tmp_path, shop, events={"addtocart": None, "Transaction": None})
    assert rows(dataset) == [("u", "b"), ("v", "a")]
    assert report.steps[1].removed == 4
    assert "view" in report.steps[1].step
    assert dataset.manifest.created_by["events"] == {"addtocart": None, "Transaction": None}


def test_weights_of_events_are_ratings(tmp_path, shop):
    weights = {"view": 1.0, "addtocart": 3.0, "transaction": 5.0}
    dataset, _ = made(tmp_path, shop, events=weights, min_rating=3)
    assert rows(dataset) == [("u", "b"), ("v", "a")]
    dataset, _ = made(tmp_path, shop, events={**weights, "view": 9.0}, duplicates="best", out="best")
    assert dataset.histories("train", "valid", "test").times.tolist()[1] == 1600000001
    rated = write(tmp_path, "r.csv", csv_of([("u", "a", "view", 5)], "user_id,item_id,event,rating"))
    with pytest.raises(DataError, match="has ratings already, so --events cannot have weights"):
        made(tmp_path, rated, events={"view": 2.0}, split="ratio", out="r")


@pytest.mark.parametrize(
    ("header", "no", "yes"),
    [
        ("label:float", "0.0", "1.0"),
        ("label:token", "0", "1"),
        ("is_click:float", "0", "1"),
        ("click:token", "false", "True"),
    ],
)
def test_zero_of_a_flag_is_not_an_interaction(tmp_path, header, no, yes):
    lines = [f"u{k % 2}\ti{k}\t{yes if k % 3 else no}\t{1600000000 + k}" for k in range(9)]
    content = f"user_id:token\titem_id:token\t{header}\ttimestamp:float\n" + "\n".join(lines) + "\n"
    path = write(tmp_path, "toy.inter", content)
    dataset, report = made(tmp_path, path)
    assert len(rows(dataset)) == 6
    assert report.steps[1].removed == 3
    assert any(f"{no} (3) are left out" in note for note in report.notes)
    everything, _ = made(tmp_path, path, events={"0": None, "1": None} if yes[0] == "1" else {no: None, yes: None},
                         out="all")  # fmt: skip
    assert len(rows(everything)) == 9
    name = header.partition(":")[0]
    as_rating, _ = made(tmp_path, path, columns={"rating": name}, min_rating=1, out="rating")
    assert rows(as_rating) == rows(dataset)


def test_events_by_which_nothing_was_chosen(tmp_path):
    lines = [("u", "a", "impression"), ("u", "b", "click"), ("v", "a", "remove_from_cart"), ("v", "c", "dislike")]
    lines += [("w", "a", "removed_from_cart"), ("w", "b", "refunded")]
    path = write(tmp_path, "x.csv", csv_of(lines, "user_id,item_id,action"))
    dataset, report = made(tmp_path, path, split="ratio")
    assert rows(dataset) == [("u", "b")]
    assert report.steps[1].removed == 5
    with pytest.raises(DataError, match="no usable row is left"):
        made(tmp_path, write(tmp_path, "y.csv", csv_of(lines[:1], "user_id,item_id,action")), split="ratio", out="y")


def test_columns_that_only_look_like_events(tmp_path):
    lines = [("u", f"i{k}", k, f"code {k}") for k in range(60)]
    dataset, report = made(
        tmp_path, write(tmp_path, "x.csv", csv_of(lines, "user_id,item_id,label,type")), split="ratio"
    )
    assert len(rows(dataset)) == 60
    assert any("is not taken as events" in note for note in report.notes)
    assert any("columns that are not used: " in note and "label" in note and "type" in note for note in report.notes)
    codes = [("u", f"i{k}", k % 2) for k in range(4)]  # of actions, 0 may well be a click
    dataset, _ = made(
        tmp_path, write(tmp_path, "y.csv", csv_of(codes, "user_id,item_id,action_type")), split="ratio", out="y"
    )
    assert len(rows(dataset)) == 4


@pytest.mark.parametrize(
    ("events", "columns", "message"),
    [
        ({"buy": None}, {}, "no row has the event 'buy' in column 'event'; there are: view (2), View (1)"),
        ({"addtocard": None}, {}, "did you mean addtocart?"),
        ({"view": None}, {"rating": "event"}, "has no column of events, which --events needs"),
    ],
)
def test_refused(tmp_path, shop, events, columns, message):
    with pytest.raises(DataError) as caught:
        made(tmp_path, shop, events=events, columns=columns)
    assert message in str(caught.value)


def test_parse_events():
    assert parse_events(["view,addtocart", "buy"]) == {"view": None, "addtocart": None, "buy": None}
    assert parse_events(["view=1,buy=2.5"]) == {"view": 1.0, "buy": 2.5}
    assert parse_events(None) == {}
    for wrong in ("view=x", "=1", "view=nan", "view,view", "view,buy=1"):
        with pytest.raises(DemureError, match="--events"):
            parse_events([wrong])


def test_through_the_command(tmp_path, capsys, shop):
    arguments = [
        "prepare",
        "--interactions",
        shop,
        "--out",
        tmp_path / "out",
        "--events",
        "view=1,transaction=5",
        "--json",
    ]
    assert main(list(map(str, arguments))) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counts"]["interactions"] == 4
    assert any("(--events" in note or "--events chooses" in note for note in report["notes"])


MIND = [
    ["1", "U1", "11/13/2019 9:05:58 AM", "N9 N8", "N1-1 N2-0"],
    ["2", "U2", "11/14/2019 9:05:58 PM", "", "N2-1 N1-0 N3-0"],
    ["3", "U2", "11/14/2019 9:06:58 PM", "N2", "N-4-1"],
]
NEWS = [[f"N{k}", "news", "world", f'Title "{k}', "Abstract", "https://x/y", "[]", "[]"] for k in (1, 2, 3)]
NEWS.append(["N-4", "news", "world", "Title", "Abstract", "https://x/y", "[]", "[]"])


def tsv(lines):
    return "".join("\t".join(line) + "\n" for line in lines)


@pytest.mark.parametrize("header", [[], [["impression_id", "user_id", "time", "history", "impressions"]]])
def test_impressions(tmp_path, header):
    path, news = write(tmp_path, "behaviors.tsv", tsv(header + MIND)), write(tmp_path, "news.tsv", tsv(NEWS))
    dataset, report = made(tmp_path, path, items=news)
    assert report.format == "mind"
    assert rows(dataset) == [("U1", "N1"), ("U2", "N2"), ("U2", "N-4")]
    assert [step.removed for step in report.steps] == [0, 3]
    assert dataset.items["title"].tolist() == ['Title "1', 'Title "2', 'Title "3', "Title"]
    assert any(note.endswith("columns that are not used: impression_id, history") for note in report.notes)
    everything, _ = made(tmp_path, path, events={"0": None, "1": None}, out="all")
    assert len(rows(everything)) == 6
    MIND_ODD = [*MIND, ["4", "U1", "11/13/2019 9:05:58 AM", "", "N1 N2"]]
    with pytest.raises(DataError, match=r"behaviors.tsv:\d: has impressions without clicks: 'N1 N2'"):
        made(tmp_path, write(tmp_path, "behaviors.tsv", tsv(header + MIND_ODD)), out="odd")


EVENT = st.sampled_from(["view", "buy", "cart", "", "impression", "0", "1"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(EVENT, min_size=1, max_size=12),
    st.sets(st.sampled_from(["view", "buy", "cart", "0"]), max_size=3),
    st.sampled_from(["event", "action", "behavior_type", "label", "is_click"]),
    st.booleans(),
)
def test_every_row_counts_by_its_event(tmp_path_factory, events, wanted, name, parquet):
    folder = tmp_path_factory.mktemp("events")
    if parquet:
        table = pa.table(
            {"user_id": ["u"] * len(events), "item_id": [f"i{k}" for k in range(len(events))], name: events}
        )
        pq.write_table(table, path := folder / "x.parquet")
    else:
        path = write(
            folder, "x.csv", csv_of([("u", f"i{k}", e) for k, e in enumerate(events)], f"user_id,item_id,{name}")
        )
    if wanted:
        kept = {f"i{k}" for k, event in enumerate(events) if event in wanted}
    elif name in ("label", "is_click", "event") and set(events) <= {"0", "1", ""}:
        kept = {f"i{k}" for k, event in enumerate(events) if event != "0"}
    elif name in ("label", "is_click"):
        kept = {f"i{k}" for k in range(len(events))}
    else:
        kept = {f"i{k}" for k, event in enumerate(events) if event != "impression"}
    try:
        dataset, report = made(folder, path, split="ratio", events=dict.fromkeys(wanted))
    except DataError:
        assert not kept or not wanted <= set(events)
        return
    assert {item for _, item in rows(dataset)} == kept
    assert any(repr(name) in note or f"not used: {name}" in note for note in report.notes)
