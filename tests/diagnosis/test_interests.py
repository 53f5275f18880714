import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.runs_by_hand import DiagnosisRow, write_run

import demure
from demure.diagnosis import tables
from demure.diagnosis.interests.colours import COLOURS, distinctive_colours
from demure.diagnosis.interests.naming import NO_DESCRIPTION, are_without_description, compose_names, distinctive_terms
from demure.diagnosis.interests.sentences import (
    interest_sentences,
    interests_summary,
    interests_total,
    together_phrases,
)
from demure.diagnosis.interests.shares import InterestShares
from demure.diagnosis.interests.stored import InterestPlacebo, StoredInterest, read_interests, write_interests
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.worklist.item_texts import ItemTexts
from demure.errors import DemureError, RunError
from demure_cli.app import main

SEA = ["The ferry and the harbour", "A harbour town", "Harbour lights and a ferry"]
CITY = ["The server in the city", "City of servers", "A city server hums"]


def test_terms_are_those_of_the_items_of_an_interest():
    texts = [[text] for text in SEA + CITY]
    weight = np.kron(np.eye(2), np.ones(3))
    sea, city = distinctive_terms(weight, texts)
    assert sea[0].term == "harbour"
    assert (sea[0].share, sea[0].share_of_all) == (1.0, 0.5)
    assert city[0].term == "city"
    assert not {term.term for term in sea} & {term.term for term in city}


def test_a_word_of_every_interest_names_none():
    texts = [[f"novel {text}"] for text in SEA + CITY]
    for own in distinctive_terms(np.kron(np.eye(2), np.ones(3)), texts):
        assert "novel" not in [term.term for term in own]


def test_a_pair_of_words_stays_within_a_text():
    texts = [["dark blue", "jeans"]] * 3 + [["light grey", "coat"]] * 3 + [["green", "hat"]] * 3
    own = distinctive_terms(np.kron(np.eye(3), np.ones(3)), texts)[0]
    assert not any("blue jeans" in term.term for term in own)


def test_an_interest_in_placeholder_texts_is_no_taste(run):
    words = ["castle", "violin", "rocket", "meadow", "cactus", "harbour", "lantern", "glacier"]
    plots = [
        f"A story about the {word} and its {other} in {word}ville"
        for word, other in zip(words, words[::-1], strict=True)
    ]
    stub = "We do not have any plot summary for this title yet"
    frame = pd.DataFrame(
        {
            "title": [f"The {word}" for word in words] + ["Amber", "Basil", "Cedar", "Dahlia"],
            "description": plots + [stub] * 4,
        }
    )
    is_stub = np.array([False] * 8 + [True] * 4)
    placeholders = ItemTexts.of(frame, ["title", "description"]).placeholders()
    assert placeholders.tolist() == is_stub.tolist()
    weight = np.array([~is_stub * 1.0, is_stub * 1.0, np.ones(12), np.zeros(12)])
    assert are_without_description(weight, placeholders) == [False, True, False, False]
    entry = replace(tables.interests(run).interests[0], name=NO_DESCRIPTION)
    assert any(sentence.startswith("That is not a taste") for sentence in interest_sentences(entry))


def test_items_without_words_name_nothing():
    assert distinctive_terms(np.eye(2), [[], []]) == [[], []]
    assert compose_names([[], []]) == ["unnamed", "unnamed"]


def test_colours_of_pictures(tmp_path):
    files = []
    for name in ("red", "blue"):
        for k in range(3):  # half of each picture is a white ground
            image = Image.new("RGB", (40, 40), "white")
            image.paste(COLOURS[name], (0, 0, 40, 20))
            files.append(tmp_path / f"{name}{k}.png")
            image.save(files[-1])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    weight = np.zeros((3, 8))
    weight[0, [0, 1, 2, 6]] = weight[1, 3:6] = 1
    assert distinctive_colours(weight, [*files, tmp_path / "broken.png", None]) == [["red"], ["blue"], []]


@pytest.fixture
def run(tmp_path):
    """Of three users with two choices each, ann and bob choose by interest 0 of the text, cat by interest 1."""
    chosen = [("ann", "i0", 0, 0.8), ("ann", "i1", 0, 0.6), ("bob", "i0", 0, 1.0)]
    chosen += [("bob", "i2", 1, 0.2), ("cat", "i2", 1, 0.9), ("cat", "i3", 2, 0.1)]
    rows = [
        DiagnosisRow(user, k % 2, item, "text", "poi" if p > 0.5 else "noise", p)
        for k, (user, item, _, p) in enumerate(chosen)
    ]
    items = pd.DataFrame({"item_id": ["i0", "i1", "i2", "i3"], "title": ["Ferry", "Harbour", "Server", "Hut"]})
    made = write_run(tmp_path, rows, items, pictures=False)
    frame = pd.read_parquet(made / "diagnosis.parquet")
    frame["interest"] = np.array([cluster for _, _, cluster, _ in chosen], np.int16)
    frame.to_parquet(made / "diagnosis.parquet")
    above, not_above = InterestPlacebo(0.01, 0.4, 0.3, 0.5), InterestPlacebo(0.05, 0.01, -0.02, 0.03)
    write_interests(
        made,
        {
            "text": [
                StoredInterest(0, "ferry, harbour", ["ferry"], [], above),
                StoredInterest(1, "server, city", ["server"], [], above),
                StoredInterest(2, "hut", ["hut"], [], not_above),
            ]
        },
    )
    return made


def test_shares_by_hand(run):
    view = tables.interests(run)
    first, second = view.interests
    assert (first.name, first.number) == ("ferry, harbour", 1)
    assert first.share == pytest.approx((0.8 + 0.6 + 1.0) / 6)
    assert second.share == pytest.approx((0.2 + 0.9) / 6)
    assert (first.users, second.users) == (2, 1)  # bob's i2 is noise
    assert [example.item_id for example in first.examples] == ["i0", "i1"]
    assert first.examples[0].choices == pytest.approx(1.8)
    assert view.below == {"text": 1}


def test_the_interval_is_that_of_the_mean_over_users(run):
    first = tables.interests(run).interests[0]
    by_user = np.array([1.4, 1.0, 0.0])  # of two choices each
    error = 1.96 * np.sqrt(np.square(by_user - by_user.mean()).sum()) / 6
    assert first.high - first.share == pytest.approx(error, rel=1e-4)


def test_growth_compares_the_halves(run):
    reader = DiagnosisReader.open(run)
    shares = InterestShares(reader.table, np.array([0]), np.array([0]))
    late = np.array([0, 1, 0, 1, 0, 1], bool)
    change, _ = shares.growth(late)
    assert change[0] == pytest.approx((0.6 + 0 + 0) / 3 - (0.8 + 1.0 + 0) / 3)


def test_what_users_of_an_interest_also_choose(run):
    reader = DiagnosisReader.open(run)
    shares = InterestShares(reader.table, np.array([0, 0]), np.array([0, 1]))
    lift, _ = shares.lifts()
    # Ann and Bob made four choices, of which .2 fall to the other interest; all users made six, of which 1.1 do.
    assert lift[0, 1] == pytest.approx((0.2 / 4) / (1.1 / 6))


def test_one_interest_by_name_and_number(run):
    for name in ("server", "Text 2", "text:2", "server, city"):
        view = tables.interests(run, name)
        assert view.interest.name == "server, city"
    assert [user["user_id"] for user in view.top_users] == ["cat", "bob"]
    assert tables.interests(run, "hut").interest.above_placebo is False
    with pytest.raises(DemureError, match="no interest 'boats'") as caught:
        tables.interests(run, "boats")
    assert "text 1 (ferry, harbour)" in str(caught.value)


def test_profiles_of_users(run):
    users = tables.listing(run, "users").rows.set_index("user_id")["interests"]
    assert users["ann"] == "ferry, harbour (text, 70 %)"
    assert users["cat"] == "server, city (text, 45 %)"
    assert tables.user_view(run, "ann").interests == [
        {"modality": "text", "name": "ferry, harbour", "share": pytest.approx(0.7)}
    ]


def test_segments_by_interest(run):
    table = tables.segments(run, "interest").table.set_index("segment")
    assert table["interactions"].to_dict() == {"text 1 (ferry, harbour)": 3, "text 2 (server, city)": 1}


@pytest.mark.parametrize("width", ["80", "160"])
def test_the_views_in_the_terminal(run, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    assert main(["inspect", str(run), "--interests"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 interests in the texts explain 58 % of the choices, most of all ferry, harbour (40 %)" in shown
    assert "1 more of text explains no more than with shuffled features: not shown." in shown
    assert main(["inspect", str(run), "--interests", "text 1"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Ferry, harbour: explains 40.0 % of the choices" in shown
    assert "40.0 % of the choices more than with shuffled features (30.0 to 50.0 %)" in shown
    assert "i0 Ferry 1.8 2" in shown
    assert main(["inspect", str(run), "--interests", "hut"]) == 0
    assert "That is no more than with shuffled features" in " ".join(capsys.readouterr().out.split())
    assert main(["inspect", str(run), "--interests", "text", "--json"]) == 0
    assert [entry["number"] for entry in json.loads(capsys.readouterr().out)["interests"]] == [1, 2]


def test_interests_are_read_as_they_were_written(run):
    files = DiagnosisReader.open(run).files
    interests = read_interests(files)
    assert interests is not None
    assert interests["text"][0].placebo == InterestPlacebo(0.01, 0.4, 0.3, 0.5)
    content = json.loads((run / "interests.json").read_text())
    content["text"][0]["name"] = 3
    (run / "interests.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"interests.json: cannot be read \(name is 3, not text\)"):
        read_interests(files)


def test_the_frame_in_python(run):
    frame = demure.Run.load(run).interests()
    assert frame["name"].tolist() == ["ferry, harbour", "server, city"]
    assert frame.loc[0, "excess"] == 0.4


def test_a_run_of_an_earlier_version_has_none(run):
    (run / "interests.json").unlink()
    with pytest.raises(RunError, match="an earlier demure made it"):
        tables.interests(run)
    assert tables.user_view(run, "ann").interests == []
    assert "interests" not in tables.listing(run, "users").rows


def test_the_phrases_of_an_interest(run):
    view = tables.interests(run)
    assert view.summary == interests_summary(view.modalities, view.interests)
    assert view.summary[0].startswith(f"{interests_total('text', view.interests)}, most of all ferry")
    assert interests_total("text", view.interests) == "2 interests in the texts explain 58 % of the choices"
    entry = replace(view.interests[0], together=[{"modality": "image", "name": "blue", "lift": 1.84}])
    assert together_phrases(entry) == ["blue (image), 1.8 times as often"]


def test_words_that_an_interest_has_more_of_by_chance_do_not_name_its_pictures():
    random = np.random.default_rng(0)
    words = np.array([f"word{chr(97 + k // 26)}{chr(97 + k % 26)}" for k in range(400)])
    held = random.random((600, 400)) < 0.2
    weight = np.zeros((12, 600))
    weight[random.integers(0, 12, 600), np.arange(600)] = 5.0
    held[:, 0] = weight[3] > 0  # a word of the items of one interest
    terms = distinctive_terms(weight, [[" ".join(words[row])] for row in held])
    assert any(term.share >= 0.3 for c, own in enumerate(terms) if c != 3 for term in own)  # by chance
    assert compose_names(terms, [[f"colour {c}"] for c in range(12)]) == [
        f"colour {c}" + (", wordaa" if c == 3 else "") for c in range(12)
    ]


def test_the_chance_of_a_term_by_hand():
    # "red" is held by all three items of the first interest, and by half of all items: by chance 1/2 * 1/2 * 1/2.
    terms = distinctive_terms(np.kron(np.eye(2), np.ones(3)), [["red"], ["red"], ["red"], ["old"], ["old"], ["old"]])
    assert [term.chance for term in terms[0]] == [pytest.approx(1 / 8)]
