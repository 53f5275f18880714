import pytest
from support.runs_by_hand import NOTHING, run_with_interests, small_run

from demure.diagnosis.interests.sentences import NO_INTEREST, describe_profile
from demure.diagnosis.interests.view import profile
from demure.diagnosis.reader import DiagnosisReader
from demure.report.interests import NO_INTERESTS, page_interests


@pytest.fixture
def reader(tmp_path):
    return DiagnosisReader.open(run_with_interests(tmp_path))


def test_the_galleries_hold_what_is_above_its_placebo(reader):
    interests = page_interests(reader)
    image, text = interests.galleries
    assert (image.modality, image.kind, [entry.name for entry in image.interests]) == ("image", "image", ["blue"])
    assert image.total == "1 interest in the pictures explains 45 % of the choices"  # .9 thrice, of 6
    assert text.total == "1 interest in the texts explains 55 % of the choices"  # .2 + .2 + .9 + .9 + .2 + .9
    assert (image.leading, text.leading) == (1, 1)
    assert interests.notes == ["1 more of image explains no more than with shuffled features: not shown."]


def test_an_interest_in_full(reader):
    blue, _ = page_interests(reader).details
    assert (blue["key"], blue["name"], blue["modality"]) == ("image 1", "blue", "image")
    assert blue["sentences"][0].startswith("Blue: explains 45.0 % of the choices")
    assert blue["examples"] == [["i2", 2, 2], ["i1", 1, 3]]
    assert blue["titles"] == ["Brazil", "Alien"]
    assert blue["users"] == [["ann", 2, 3], ["bob", 1, 2]]
    assert [period for period, _ in blue["periods"]] == ["1997-09-22", "1997-09-23", "1997-09-24"]
    assert blue["periods"][0][1] == pytest.approx(100 * 1.8 / 3)


def test_the_items_of_the_first_screen_come_first(reader):
    assert page_interests(reader).example_ids == ["i2", "i1", "i3"]


def test_profiles_are_those_of_inspect(reader):
    interests = page_interests(reader)
    for user, own in enumerate(interests.profiles):
        entries = [{**interests.details[place], "share": percent / 100} for place, percent in own]
        assert describe_profile(entries) == describe_profile(profile(reader, user))
    ann = interests.profiles[reader.table.user_code["ann"]]
    assert ann == [(0, 60), (1, 43)]


def test_a_development_needs_three_periods(tmp_path):
    reader = DiagnosisReader.open(run_with_interests(tmp_path, timestamps=False))
    assert all(detail["periods"] == [] for detail in page_interests(reader).details)


def test_an_earlier_run_explains_how_to_get_interests(tmp_path):
    interests = page_interests(DiagnosisReader.open(small_run(tmp_path)))
    assert interests.galleries == interests.details == interests.example_ids == []
    assert interests.profiles is None
    assert interests.notes == [NO_INTERESTS]


def test_where_nothing_explains_there_are_none(tmp_path):
    reader = DiagnosisReader.open(run_with_interests(tmp_path, manifest={"placebo": NOTHING}))
    interests = page_interests(reader)
    assert interests.galleries == []
    assert interests.notes[0] == NO_INTEREST
    assert [note.split(" has none")[0] for note in interests.notes[1:]] == ["image", "text"]
