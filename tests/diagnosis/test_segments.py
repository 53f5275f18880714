import pandas as pd
import pytest
from support.manifests import record
from support.runs_by_hand import DiagnosisRow, small_run, write_run

from demure.diagnosis import tables
from demure.diagnosis.reader import DiagnosisReader
from demure.errors import DemureError


@pytest.fixture
def run(tmp_path):
    """i1 is a thriller and a comedy, i2 a comedy, i3 neither."""
    made = small_run(tmp_path)
    items = tmp_path / "dataset" / "items.parquet"
    frame = pd.read_parquet(items)
    frame["genres"] = ["Thriller|Comedy", " Comedy ", None, "Drama"]
    frame.to_parquet(items)
    record(tmp_path / "dataset" / "dataset.json")
    return made


def by_segment(segments):
    return segments.table.set_index("segment")


def test_an_item_counts_in_each_of_its_categories(run):
    table = by_segment(tables.segments(run, "category"))
    assert list(table.index) == ["Comedy", "Drama", "Thriller"]
    assert table.loc["Comedy", ["users", "items", "interactions"]].tolist() == [3, 2, 5]
    assert table.loc["Comedy", "image"] == pytest.approx(3 / 5)  # ann twice, bob's i2
    assert table.loc["Thriller", "text"] == pytest.approx(1 / 3)
    assert table.loc["Drama", "interactions"] == 0
    assert pd.isna(table.loc["Drama", "image"])


def test_shares_are_of_those_that_have_the_modality(run):
    table = by_segment(tables.segments(run, "history"))
    assert table["interactions"].sum() == 6
    assert table.loc["1-4", "image"] == pytest.approx(3 / 5)  # one of the six has no picture


def test_by_time_and_popularity_and_reliance(run):
    assert by_segment(tables.segments(run, "time"))["interactions"].to_dict() == {
        "1997-09-22": 3,
        "1997-09-23": 2,
        "1997-09-24": 1,
    }
    assert by_segment(tables.segments(run, "popularity"))["items"].to_dict() == {"1-4": 3}
    assert by_segment(tables.segments(run, "reliance"))["users"].to_dict() == {"too short to tell": 3}


def test_users_by_what_they_rely_on(tmp_path):
    rows = [DiagnosisRow(user, k, f"i{k}", "image", "poi", 0.9) for user in ("a", "b") for k in range(5)]
    items = pd.DataFrame({"item_id": [f"i{k}" for k in range(5)]})
    reliance = pd.DataFrame(
        [("a", "image", 0.9), ("a", "none", 0.1), ("b", "image", 0.2), ("b", "none", 0.8)],
        columns=["user_id", "modality", "reliance"],
    )
    run = write_run(tmp_path, rows, items, reliance=reliance, pictures=False)
    assert by_segment(tables.segments(run, "reliance"))["users"].to_dict() == {"image": 1, "none": 1}
    listed = tables.listing(run, "users", where=["relies_on=none"])
    assert (listed.total, listed.matched, listed.rows["user_id"].tolist()) == (2, 1, ["b"])


def test_the_overview_of_one_segment(run):
    view = tables.overview(run, segment=("category", "Comedy"))
    assert (view.segment, view.interactions, view.users, view.items) == ("category=Comedy", 5, 3, 2)
    assert view.modalities.set_index("modality").loc["image", "poi"] == pytest.approx(3 / 5)


def test_refusals_name_what_there_is(run, tmp_path):
    with pytest.raises(DemureError, match="no category 'Comdy'; there are: Comedy, Drama, Thriller"):
        tables.overview(run, segment=("category", "Comdy"))
    with pytest.raises(DemureError, match="there are: category, reliance, history"):
        tables.segments(run, "zodiac")
    plain = small_run(tmp_path / "plain", timestamps=False)
    with pytest.raises(DemureError, match="no categories"):
        tables.segments(plain, "category")
    with pytest.raises(DemureError, match="no timestamps"):
        tables.segments(plain, "time")
    with pytest.raises(DemureError, match="list items or users"):
        tables.listing(plain, "cats")


def test_agreement_by_hand(run):
    view = tables.overview(run).agreement.iloc[0]
    assert (view["first"], view["second"], view["interactions"]) == ("image", "text", 5)
    shares = [view[name] for name in ("both", "only_first", "only_second", "neither")]
    assert shares == pytest.approx([1 / 5, 2 / 5, 1 / 5, 1 / 5])


def test_one_modality(run):
    view = tables.modality_view(run, "image")
    assert (view.shares["poi"], view.shares["missing"]) == pytest.approx((3 / 6, 1 / 6))
    assert sum(view.histogram) == 5
    assert list(view.by) == ["category", "history", "popularity", "time"]
    assert set(view.items["modality"]) == {"image"}
    with pytest.raises(DemureError, match="no modality 'sound'"):
        tables.modality_view(run, "sound")


def test_rows_in_another_order_read_the_same(run):
    before = DiagnosisReader.open(run).table
    path = run / "diagnosis.parquet"
    frame = pd.read_parquet(path)
    frame.iloc[[7, 2, 11, 0, 5, 9, 1, 3, 10, 4, 8, 6]].to_parquet(path, index=False)
    after = DiagnosisReader.open(run).table

    def values(table):
        names = [(table.user_ids[u], table.item_ids[i]) for u, i in zip(table.user, table.item, strict=True)]
        columns = {name: table.probability[:, m].tolist() for m, name in enumerate(table.modalities)}
        return sorted(zip(names, table.position, columns["image"], columns["text"], strict=True))

    assert values(before) == values(after)
