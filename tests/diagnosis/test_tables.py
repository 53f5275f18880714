import math

import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.runs_by_hand import small_run

from demure.diagnosis import tables
from demure.diagnosis.reader import nearest_ids
from demure.diagnosis.verdict import Support, Verdict
from demure.errors import DatasetError, DemureError, RunError
from demure.files import read_json, write_json


@pytest.fixture
def run(tmp_path):
    return small_run(tmp_path)


def test_overview_counts_each_verdict(run):
    view = tables.overview(run)
    assert (view.users, view.items, view.interactions) == (3, 3, 6)
    image, text = view.modalities.to_dict("records")
    assert image["modality"] == "image"
    assert (image["poi"], image["noise"], image["missing"]) == pytest.approx((3 / 6, 2 / 6, 1 / 6))
    assert image["mean_probability"] == pytest.approx((3 * 0.9 + 2 * 0.2) / 5)  # the missing one does not count
    assert (text["poi"], text["noise"], text["missing"]) == pytest.approx((3 / 6, 3 / 6, 0))


def test_overview_users_by_what_they_rely_on(run):
    rows = {row["modality"]: row for row in tables.overview(run).reliance.to_dict("records")}
    assert list(rows) == ["image", "text", "none"]
    assert [rows[name]["users"] for name in rows] == [1, 1, 1]
    assert rows["image"]["mean_reliance"] == pytest.approx((0.6 + 0.4 + 0.2) / 3)
    assert sum(row["mean_reliance"] for row in rows.values()) == pytest.approx(1)


def test_overview_flags_items_with_enough_interactions(run):
    flagged = tables.overview(run, min_count=3).flagged
    assert flagged[["item_id", "modality", "interactions"]].values.tolist() == [["i1", "image", 3]]
    assert flagged["noise"].tolist() == pytest.approx([2 / 3])
    assert flagged["title"].tolist() == ["Alien"]
    assert tables.overview(run, min_count=4).flagged.empty
    assert len(tables.overview(run, min_count=1, top=1).flagged) == 1


def test_what_is_flagged_can_be_chosen(run):
    assert tables.overview(run, min_count=1, where=["modality=text"]).flagged.empty
    with pytest.raises(DemureError, match="no field 'colour'"):
        tables.overview(run, where=["colour=red"])


def test_user_view_is_in_time_order_with_supports(run):
    view = tables.user_view(run, "ann")
    assert [choice.item_id for choice in view.history] == ["i1", "i2", "i3"]
    assert [choice.title for choice in view.history] == ["Alien", "Brazil", ""]
    first = view.history[0].verdicts
    assert first["image"].verdict is Verdict.POI
    assert first["image"].poi_probability == pytest.approx(0.9)
    assert first["image"].supports == (Support("i2", "Brazil", 0.8), Support("i3", "", 0.2))
    assert first["text"].supports == ()
    assert view.history[2].verdicts["image"].missing
    assert view.reliance == {"image": 0.6, "text": 0.3, "none": 0.1}
    assert view.history[1].time - view.history[0].time == 86_400


def test_each_verdict_has_its_reason(run):
    first, _, last = (choice.verdicts for choice in tables.user_view(run, "ann").history)
    assert first["image"].reason.sentence() == "like Brazil and i3"
    assert first["text"].reason.sentence() == "none of the 2 other choices supports it"
    assert last["image"].reason.sentence() == "the item has no image"
    alone = tables.user_view(run, "cid")
    sentence = alone.history[0].verdicts["text"].reason.sentence()
    assert sentence == "the only choice: there is nothing to compare it with"
    assert alone.notes == [
        "a single choice, with nothing to compare it with: its probabilities are those of users in general"
    ]
    assert tables.user_view(run, "bob").notes == ["only 2 choices: these probabilities are uncertain"]


def test_choices_can_be_chosen_and_sorted(run):
    def items(**options):
        return [choice.item_id for choice in tables.user_view(run, "ann", **options).history]

    assert items(where=["image.verdict=missing"]) == ["i3"]
    assert items(where=["text<0.5"]) == ["i1", "i2"]
    assert items(sort="-choice", top=2) == ["i3", "i2"]
    assert items(where=["date>=1997-09-23"], sort="title") == ["i3", "i2"]
    assert tables.user_view(run, "ann", top=1).interactions == 3
    with pytest.raises(DemureError, match="did you mean image"):
        items(sort="imag")


def test_reliance_comes_with_the_interval_of_so_few_choices(run):
    view = tables.user_view(run, "ann")
    for name, share in view.reliance.items():
        low, high = view.reliance_interval[name]
        assert low < share < high
        assert high - low > 0.3  # three choices say next to nothing


def test_without_the_model_a_verdict_can_still_be_looked_at(run):
    view = tables.user_view(run, "ann", recommend=3)
    assert view.recommended is None
    assert view.notes[-1].startswith("no recommendations: ")


def test_user_view_without_timestamps(tmp_path):
    assert all(
        math.isnan(choice.time) for choice in tables.user_view(small_run(tmp_path, timestamps=False), "ann").history
    )


def test_item_view_lists_choosers_and_modalities(run):
    view = tables.item_view(run, "i1")
    assert view.title == "Alien"
    assert {chooser.user_id for chooser in view.chosen_by} == {"ann", "bob", "cid"}
    assert view.modalities.set_index("modality").loc["image", "noise"] == pytest.approx(2 / 3)
    assert view.chosen_by[0].choices == 3
    (image, _text) = view.standing
    assert image["low"] < 2 / 3 < image["high"]
    assert image["says"].startswith("image: noise in 67 % of 3 choices; it explains its choices")
    assert view.notes == ["only 3 choices: these shares are uncertain"]
    assert [chooser.user_id for chooser in tables.item_view(run, "i1", where=["image.verdict=poi"]).chosen_by] == [
        "ann"
    ]
    assert [chooser.user_id for chooser in tables.item_view(run, "i1", sort="choices", top=1).chosen_by] == ["cid"]


def test_unknown_ids_name_the_nearest(run):
    with pytest.raises(RunError, match=r"no user 'anna' in this run; nearest: ann"):
        tables.user_view(run, "anna")
    with pytest.raises(RunError, match=r"no item 'i9' in this run; nearest: i"):
        tables.item_view(run, "i9")
    with pytest.raises(RunError, match=r"'i4' has no training interaction"):
        tables.item_view(run, "i4")
    with pytest.raises(RunError, match=r"ids look like ann, bob, cid"):
        tables.user_view(run, "???????????????")


def test_nearest_compares_only_ids_of_like_length():
    assert nearest_ids("1000", ["1", "10000", "1001", "999999999"])[0] in ("10000", "1001")
    assert nearest_ids("x", []) == []


def test_export_has_exactly_the_columns_of_the_interface(run, tmp_path):
    out = tmp_path / "deep" / "verdicts.parquet"
    done = tables.export(run, out)
    frame = pd.read_parquet(out)
    assert list(frame.columns) == ["user_id", "item_id", "modality", "poi_probability", "evidence", "verdict"]
    assert done.rows == len(frame) == 12
    assert [str(field.type) for field in pq.read_schema(out)] == ["string"] * 3 + ["double"] * 2 + ["string"]
    assert frame["poi_probability"].between(0, 1).all()
    assert set(frame["verdict"]) == {"poi", "noise", "missing"}
    assert not frame.duplicated(["user_id", "item_id", "modality"]).any()


@pytest.mark.parametrize("name", ["verdicts.csv", "verdicts"])
def test_export_to_another_format_is_refused(run, tmp_path, name):
    with pytest.raises(DemureError, match=r"ends in \.parquet"):
        tables.export(run, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_baseline_has_no_diagnosis(run):
    (run / "diagnosis.parquet").unlink()
    with pytest.raises(RunError, match=r"has no diagnosis: recipe 'default' does not diagnose"):
        tables.overview(run)


def test_no_run_and_no_dataset(run, tmp_path):
    with pytest.raises(RunError, match=r"is not a run folder"):
        tables.overview(tmp_path / "nowhere")
    (run.parent / "dataset").rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="gone"):
        tables.overview(run)


def test_a_dataset_that_changed_is_refused(run):
    path = run.parent / "dataset" / "dataset.json"
    manifest = read_json(path)
    manifest["hashes"]["split"] = "other"
    write_json(path, manifest)
    with pytest.raises(DatasetError, match=r"split changed"):
        tables.user_view(run, "ann")


def test_a_damaged_table_is_one_line(run):
    (run / "reliance.parquet").write_bytes(b"not parquet")
    with pytest.raises(RunError, match=r"reliance.parquet: cannot be read") as caught:
        tables.overview(run)
    assert "\n" not in str(caught.value)
