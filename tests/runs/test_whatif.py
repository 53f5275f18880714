"""`demure whatif`: other content of an item, its expected effect, and the assignment for an experiment."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.manifests import rewrite
from support.small_catalogue import catalogue, picture, title
from support.small_sets import QUICK

from demure import Run
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.whatif import Change, SegmentChange, WhatIf, answer, what_if
from demure.diagnosis.whatif.sentences import whatif_summary
from demure.errors import DemureError
from demure.training.run import train
from demure_cli.app import main


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A folder with the raw files and the dataset, of so many users that pictures explain choices."""
    folder = tmp_path_factory.mktemp("whatif")
    catalogue(folder, users=250)
    return folder


@pytest.fixture(scope="module")
def run(raw):
    """A run whose texts are allowed to be changed, although they explain nothing after so few steps."""
    train(raw / "dataset", raw / "run", overrides=QUICK, device="cpu")
    above = {"mean_probability": 0.1, "excess": 0.2, "low": 0.1, "high": 0.3, "admitted": True}
    rewrite(raw / "run" / "run.json", lambda content: content["placebo"].update(text=above))
    return raw / "run"


@pytest.fixture(scope="module")
def reader(run):
    return DiagnosisReader.open(run)


@pytest.fixture(scope="module")
def item(reader):
    """The most chosen item that has all its content."""
    counts = reader.table.item_counts
    ids = [str(reader.table.item_ids[k]) for k in np.argsort(-counts, kind="stable")]
    return next(item for item in ids if item not in ("i3", "i4"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of pictures, one per group, and one file that is none."""
    folder = tmp_path_factory.mktemp("candidates")
    for group in range(4):
        picture(group, 100 + group).save(folder / f"group{group}.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden").write_text("left alone")
    return folder


def test_the_same_content_changes_nothing(reader, raw, item):
    own = raw / "raw" / "images" / f"{item}.png"
    words = str(reader.items.set_index("item_id").loc[item, "title"])
    result = what_if(reader, item, image=own, text=words, device="cpu")
    assert [change.what for change in result.changes] == [f"{item}.png", f"text “{words}”", "all together"]
    for change in result.changes:
        assert change.relative == pytest.approx(0, abs=1e-4)
        assert change.low <= change.relative + 1e-4
        assert change.high >= change.relative - 1e-4


def test_without_content_the_item_loses_what_the_content_causes(reader, item):
    result = what_if(reader, item, without=["image", "text"], device="cpu")
    image, text, both = result.changes
    assert -1 < image.relative < 0
    assert both.relative == pytest.approx(image.relative + text.relative, abs=1e-9)  # the causes add up
    assert both.relative <= min(image.relative, text.relative)
    assert image.low < image.relative < image.high
    assert image.sure == (image.high < 0)
    assert result.choices == reader.table.item_counts[reader.table.item_code[item]]
    by_reliance = [own for own in image.segments if own.segment.startswith("users who")]
    assert by_reliance
    for own in by_reliance:
        assert own.users >= answer._MIN_USERS
        assert -1 <= own.low <= own.relative <= own.high


def test_segments_add_up_to_all_users(reader, item, monkeypatch):
    monkeypatch.setattr(answer, "_MIN_USERS", 1)
    monkeypatch.setattr("demure.diagnosis.segments.MIN_CHOICES", 0)
    (change,) = what_if(reader, item, without=["image"], device="cpu").changes
    own = [segment for segment in change.segments if segment.segment.startswith("users who")]
    assert sum(segment.users for segment in own) == len(reader.table.user_ids)
    assert sum(segment.share for segment in own) == pytest.approx(1)
    assert sum(segment.share * segment.relative for segment in own) == pytest.approx(change.relative)


def test_the_best_of_several_pictures(reader, item, files, tmp_path):
    result = what_if(reader, item, candidates=files, ab_test=tmp_path / "ab.csv", device="cpu")
    assert [change.what for change in result.changes] == [f"group{k}.png" for k in range(4)]
    assert any(note.startswith("left out: notes.txt: ") for note in result.notes)
    relative = [change.relative for change in result.changes]
    assert [change.relative for change in result.ranked] == sorted(relative, reverse=True)
    assert max(relative) > min(relative)
    assert sum(change.best for change in result.changes) <= 1 + 1e-9
    frame = pd.read_csv(tmp_path / "ab.csv", dtype=str)
    assert sorted(frame["user_id"]) == sorted(map(str, reader.table.user_ids))
    counts = frame["variant"].value_counts()
    assert set(counts.index) == {"as it is", *(f"group{k}.png" for k in range(4))}
    assert counts.max() - counts.min() <= 1
    again = what_if(reader, item, candidates=files, ab_test=tmp_path / "again.csv", device="cpu")
    assert again.changes == result.changes
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "ab.csv").read_bytes()
    other = what_if(reader, item, candidates=files, ab_test=tmp_path / "other.csv", seed=1, device="cpu")
    assert [change.relative for change in other.changes] == relative
    assert (tmp_path / "other.csv").read_bytes() != (tmp_path / "ab.csv").read_bytes()


def test_an_assignment_is_balanced_over_the_lengths_of_histories():
    lengths = np.arange(90) % 30
    frame = answer.assign(np.arange(90).astype(str), lengths, ["a", "b"], 0)
    means = pd.Series(lengths).groupby(frame["variant"].to_numpy()).mean()
    assert means.max() - means.min() < 1
    assert frame["variant"].value_counts().tolist() == [30, 30, 30]


def test_python_and_the_terminal_give_the_same(run, item, files, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    picture_file = str(files / "group1.png")
    arguments = ["whatif", str(run), "--item", item, "--image", picture_file, "--device", "cpu"]
    assert main([*arguments, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["item"] == item
    (change,) = content["changes"]
    assert {"what", "relative", "low", "high", "segments"} <= set(change)
    result = Run.load(run, device="cpu").what_if(item, image=picture_file)
    assert result.changes[0].relative == pytest.approx(change["relative"])
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    words = " ".join(shown.split())
    assert "not an experiment" in words
    assert "group1.png" in words
    assert "users who choose mostly by" in words


def test_several_changes_in_the_terminal(run, item, files, capsys, tmp_path):
    out = str(tmp_path / "ab.csv")
    arguments = ["whatif", str(run), "--item", item, "--candidates", str(files), "--ab-test", out]
    assert main([*arguments, "--text", title(0, 7), "--without", "image", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    words = " ".join(captured.out.split())
    assert "The best change for each group of users" in words
    assert "all together" in words
    assert "left out: notes.txt" in " ".join(captured.err.split())
    assert "experiment: " in " ".join(captured.err.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing changes"),
        ({"image": "absent.png"}, "no such picture"),
        ({"image": "notes.txt"}, "notes.txt: not an image"),
        ({"candidates": "absent"}, "no such folder"),
        ({"text": " \n "}, "the text is empty"),
        ({"text": "unheardof"}, "text: the encoder knows nothing in it"),
        ({"without": ["imag"]}, "no modality 'imag'.*did you mean image"),
        ({"without": ["sound"]}, "no modality 'sound'; there are: "),
        ({"without": ["image", "image"]}, "image is changed twice"),
        ({"ab_test": "x.txt", "without": ["image"]}, "the assignment is a CSV file"),
    ],
)
def test_what_cannot_be_used_is_refused(reader, item, files, options, message):
    paths = {"image", "candidates"}
    options = {name: files / value if name in paths else value for name, value in options.items()}
    with pytest.raises(DemureError, match=message):
        what_if(reader, item, device="cpu", **options)


def test_an_assignment_replaces_only_an_assignment(reader, item, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id\nu1,i1\n")
    with pytest.raises(DemureError, match="already exists, and is not an assignment; choose another --ab-test"):
        what_if(reader, item, without=["image"], ab_test=log, device="cpu")
    assert log.read_text() == "user_id,item_id\nu1,i1\n"
    for seed in (0, 1):
        what_if(reader, item, without=["image"], ab_test=tmp_path / "ab.csv", seed=seed, device="cpu")
    assert (tmp_path / "ab.csv").read_text().startswith("user_id,variant\n")


def test_items_that_lack_the_modality_or_are_unknown(reader, files, tmp_path):
    with pytest.raises(DemureError, match="the item has no image"):
        what_if(reader, "i4", without=["image"], device="cpu")
    with pytest.raises(DemureError, match="no item 'i9999'"):
        what_if(reader, "i9999", without=["image"], device="cpu")
    (change,) = what_if(reader, "i4", image=files / "group2.png", device="cpu").changes
    assert change.relative > 0  # a picture where there was none
    (tmp_path / "empty").mkdir()
    with pytest.raises(DemureError, match="the folder is empty"):
        what_if(reader, "i5", candidates=tmp_path / "empty", device="cpu")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"")
    with pytest.raises(DemureError, match=r"none of 1 files can be used: a.png: "):
        what_if(reader, "i5", candidates=tmp_path / "bad", device="cpu")


def test_an_item_that_was_never_chosen(reader):
    result = what_if(reader, "n0", without=["image"], device="cpu")
    assert result.choices == 0
    assert any(note.startswith("chosen 0 times") for note in result.notes)


def test_many_users_are_sampled(reader, item, monkeypatch):
    monkeypatch.setattr("demure.diagnosis.whatif.effects._MOST_USERS", 40)
    result = what_if(reader, item, without=["image"], device="cpu")
    assert any(note.startswith("measured on 40 users") for note in result.notes)


def test_too_many_candidates(reader, item, tmp_path, monkeypatch):
    monkeypatch.setattr("demure.diagnosis.whatif.variants._MOST_CANDIDATES", 1)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    with pytest.raises(DemureError, match="holds 2 files"):
        what_if(reader, item, candidates=tmp_path, device="cpu")


def test_a_modality_that_explains_nothing_is_refused(run, item, files, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    below = {"mean_probability": 0.1, "excess": 0.0, "low": -0.1, "high": 0.1}
    rewrite(copy / "run.json", lambda content: content["placebo"].update(image=below))
    with pytest.raises(DemureError, match="cannot tell: image explains no more than shuffled features"):
        what_if(copy, item, image=files / "group0.png", device="cpu")
    result = what_if(copy, item, without=["image"], device="cpu")
    assert any(note.startswith("image: cannot tell") for note in result.notes)


def summary(*changes):
    changes = [Change(name, relative, relative - 0.1, relative + 0.1, best, []) for name, relative, best in changes]
    return " ".join(whatif_summary(WhatIf("run", "i1", "A cup", 30, changes)))


def test_the_summary_in_words():
    assert summary(("a.png", 0.25, 0.9)) == (
        "A cup (i1), chosen 30 times, would be chosen 25 % more often with a.png, 95 % interval +15 % to +35 %."
    )
    assert "would be chosen 30 % less often without image" in summary(("without image", -0.3, 0.0))
    assert "about as often with a.png: +5.0 %" in summary(("a.png", 0.05, 0.4))
    several = ("a.png", 0.2, 0.85), ("all together", 0.1, 0.1)
    assert summary(*several).endswith("Of 2 changes that is the best for all users, with a probability of 85 %.")
    assert summary(("a.png", 0.2, 0.6), ("b.png", 0.1, 0.3)).endswith("best guess, with a probability of 60 % only.")
    assert summary(("a.png", -0.2, 0), ("all together", -0.1, 0)).endswith("leave it as it is.")


def test_the_best_change_by_segment():
    def segment(relative):
        return SegmentChange("users of jeans", 40, 0.5, relative, relative - 0.1, relative + 0.1, 0.5)

    def best(*relative):
        changes = [Change(f"{k}.png", 0.0, -1.0, 1.0, 0.5, [segment(own)]) for k, own in enumerate(relative)]
        ((own, change),) = WhatIf("run", "i1", "", 3, changes).best_by_segment()
        return own.relative, change and change.what

    assert best(0.1, 0.4, 0.2) == (0.4, "1.png")
    assert best(-0.1, -0.4) == (-0.1, None)
