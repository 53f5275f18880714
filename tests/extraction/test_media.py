"""Audio and video from files to features: `prepare --audio --video`, `extract`, and what becomes of bad files."""

import csv
import json
import shutil
import threading
import urllib.request

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.media_files import RATE, greys, tone, write_sound, write_video
from support.small_sets import QUICK
from support.tiny_models import clap_folder, vit_folder, waveform_folder

import demure
from demure.data.dataset import Dataset
from demure.errors import DemureError
from demure.extraction.extract import extract
from demure.extraction.frames import FRAMES, FrameEncoder
from demure.extraction.new_content import ModalityEncoder
from demure.features import store
from demure.preparation.options import PrepareOptions
from demure.preparation.prepare import prepare
from demure.web.serve import site
from demure_cli.app import main

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("av")

USERS = 6
QUICKLY = [word for option in QUICK for word in ("--set", option)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return f"audio:{clap_folder(tmp_path_factory.mktemp('models') / 'clap')}"


@pytest.fixture
def raw(tmp_path):
    """Ten songs: s0 to s5 are files of their ids, two of them alike, and the others cannot be used."""
    folder = tmp_path / "raw"
    (folder / "songs" / "more").mkdir(parents=True)
    for k in range(5):
        write_sound(folder / "songs" / f"s{k}.wav", tone(0.3 + 0.4 * k, 200 + 300 * k))
    shutil.copy(folder / "songs" / "s1.wav", folder / "songs" / "more" / "s5.wav")
    write_sound(folder / "songs" / "s6.wav", np.zeros(RATE, np.float32))
    (folder / "songs" / "s7.mp3").write_text("<html>not found</html>" * 9)
    (folder / "songs" / "s8.ogg").touch()
    ids = [f"s{k}" for k in range(10)]
    pd.DataFrame({"item_id": ids, "title": [f"song {k % 3}" for k in range(10)]}).to_csv(folder / "items.csv")
    rows = [(f"u{user}", ids[(user + k) % 10], 10 * user + k) for user in range(USERS) for k in range(5)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "clicks.csv", index=False)
    return folder


def prepared(raw, out, **options):
    prepare(PrepareOptions(raw / "clicks.csv", out, raw / "items.csv", **options))
    return out


def test_the_commands_from_files_to_a_run(raw, tmp_path, model, capsys):
    words = ["--interactions", raw / "clicks.csv", "--items", raw / "items.csv", "--audio", raw / "songs"]
    assert main(["prepare", *map(str, words), "--out", str(tmp_path / "shop")]) == 0
    manifest = json.loads((tmp_path / "shop/dataset.json").read_text())
    assert manifest["media_roots"] == {"audio": str(raw / "songs")}
    assert manifest["text_columns"] == ["title"]
    assert any("--audio: 9 of 10 audio files found by the item's id" in note for note in manifest["notes"])
    capsys.readouterr()
    assert main(["extract", str(tmp_path / "shop"), "--audio", model, "--device", "cpu", "--json"]) == 0
    [made] = json.loads(capsys.readouterr().out)["modalities"]
    assert (made["name"], made["kind"], made["present"], made["missing"]) == ("audio", "audio", 6, 4)
    assert (made["distinct"], made["encoded"]) == (7, 7)  # s1 and s5 are the same bytes, s8 and s9 have none
    assert made["problems"] == {
        "silent": 1,
        "not audio or video, or damaged": 1,
        "empty file": 1,
        "no audio given": 1,
    }
    with open(tmp_path / "shop/features/audio/problems.csv", newline="") as file:
        problems = {row["item_id"]: row["value"] for row in csv.DictReader(file)}
    assert problems["s6"].startswith("s6.wav: no sample above")
    assert problems["s7"].startswith("s7.mp3: ")
    features = store.load(tmp_path / "shop", "audio")
    np.testing.assert_array_equal(features.vectors[1], features.vectors[5])
    assert features.present.tolist() == [True] * 6 + [False] * 4
    assert main(["train", str(tmp_path / "shop"), "--out", str(tmp_path / "run"), "--recipe", "tiny", *QUICKLY]) == 0
    assert main(["inspect", str(tmp_path / "run"), "--json"]) == 0
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "page.html")]) == 0
    assert "audio" in (tmp_path / "page.html").read_text()
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "run"), "--item", "s1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == {"audio": str(raw / "songs" / "s1.wav")}
    assert main(["data", "show", str(tmp_path / "shop"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["coverage"]["present"]["audio"] == 9
    check_player(tmp_path / "run", raw / "songs" / "s1.wav")


def check_player(run, file):
    """The page of an item names its file, which the server gives in ranges of bytes, and no other file."""
    opened = site(run, port=0)
    thread = threading.Thread(target=opened.serve, daemon=True)
    thread.start()

    def ask(path, **headers):
        with urllib.request.urlopen(urllib.request.Request(opened.url + path, headers=headers)) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()

    try:
        [medium] = json.loads(ask("api/item?id=s1")[2])["media"]
        assert medium == {"kind": "audio", "name": "s1.wav", "address": "/media?kind=audio&id=s1"}
        status, kind, data = ask(medium["address"][1:], **{"Accept-Encoding": "gzip"})
        assert (status, kind.split("/")[0], data) == (200, "audio", file.read_bytes())
        assert ask(medium["address"][1:], Range="bytes=4-9")[::2] == (206, file.read_bytes()[4:10])
        for path in ("media?kind=audio&id=s9", "media?kind=video&id=s1", "media?kind=audio&id=../clicks.csv", "media"):
            assert ask(path)[0] == 204
        assert b"media-src 'self'" in ask("")[2]
    finally:
        opened.stop()
        thread.join(10)


def test_only_files_that_changed_are_encoded_again(raw, tmp_path, model):
    shop = prepared(raw, tmp_path / "shop", audio=raw / "songs")

    def encoded():
        [made] = extract(shop, audio=model, device="cpu").modalities
        return made.encoded

    assert encoded() == 7
    before = store.load(shop, "audio").vectors
    assert encoded() == 0
    write_sound(raw / "songs" / "s2.wav", tone(0.7, 3000))
    assert encoded() == 3  # the new one, and the two that could not be used
    after = store.load(shop, "audio").vectors
    assert np.flatnonzero(np.abs(before - after).max(1) > 1e-6).tolist() == [2]
    prepared(raw, shop, audio=raw / "songs", overwrite=True)
    assert encoded() == 0


def test_two_encoders_of_one_kind_have_names(raw, tmp_path, model):
    shop = demure.prepare(raw / "clicks.csv", tmp_path / "shop", items=raw / "items.csv", audio=raw / "songs")
    waves = f"waves=audio:{waveform_folder(tmp_path / 'waves')}"
    shop = demure.extract(shop, audio=[model, waves], device="cpu", workers=1).path
    manifests = [store.read_manifest(shop, name) for name in ("audio", "waves")]
    assert [(manifest.kind, manifest.present) for manifest in manifests] == [("audio", 6), ("audio", 6)]
    with pytest.raises(DemureError, match="'audio' would name features of an image"):
        extract(shop, image="audio=color")


def test_a_new_item_is_encoded_as_those_of_the_dataset(raw, tmp_path, model):
    shop = prepared(raw, tmp_path / "shop", audio=raw / "songs")
    extract(shop, audio=model, device="cpu")
    dataset = Dataset.load(shop)
    encoder = ModalityEncoder.open(dataset, "audio", "cpu")
    new = encoder.encode_items(dataset.items.iloc[[4, 6, 9, 0]].reset_index(drop=True), None, dataset.media_roots)
    assert new.present.tolist() == [True, False, False, True]
    np.testing.assert_allclose(new.vectors[[0, 3]], store.load(shop, "audio").vectors[[4, 0]], atol=1e-5)
    assert [problem.kind for problem in new.problems] == ["silent", "no audio given"]
    assert not encoder.encode_items(dataset.items).present.any()  # without the folder


def test_a_column_names_the_files(raw, tmp_path, model):
    items = pd.DataFrame({"item_id": ["a", "b", "c", "d"], "audio_file": ["s0.wav", "../clicks.csv", "gone.wav", None]})
    items.to_csv(raw / "items.csv", index=False)
    rows = [(f"u{user}", item, k) for user in range(4) for k, item in enumerate("abcd")]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(raw / "clicks.csv", index=False)
    shop = prepared(raw, tmp_path / "shop", audio=raw / "songs")
    manifest = Dataset.load(shop).manifest
    kinds = {kind: problem["count"] for kind, problem in manifest.problems.items()}
    assert kinds == {"audio file not there": 1, "audio file outside the audio folder": 1}
    [made] = extract(shop, audio=model, device="cpu").modalities
    assert (made.present, made.problems) == (
        1,
        {"no such file": 1, "no audio given": 1, "outside the audio folder": 1},
    )
    without = prepared(raw, tmp_path / "without")
    assert "audio_file" in [*Dataset.load(without).text_columns, *Dataset.load(without).attribute_columns]


def test_what_is_absent_is_refused_in_a_line(raw, tmp_path, model, capsys, monkeypatch):
    shop = str(prepared(raw, tmp_path / "shop", audio=raw / "songs"))
    for words, message in (
        (["--video", "color"], "the items have no videos; prepare with --video"),
        (["--audio", "color"], "'color' does not encode audio files; use audio"),
        (["--audio", "audio:x[title]"], "names columns, and audio files have only one"),
        (["--audio", "audio"], "'audio' names no model; for example audio:laion/clap-htsat-unfused"),
    ):
        assert main(["extract", shop, *words]) == 2
        assert message in capsys.readouterr().err
    shutil.move(raw / "songs", raw / "elsewhere")
    assert main(["extract", shop, "--audio", model]) == 2
    assert "the folder of audio files is not there any more" in capsys.readouterr().err
    words = ["--interactions", str(raw / "clicks.csv"), "--audio", str(raw / "songs"), "--out", str(tmp_path / "no")]
    assert main(["prepare", *words]) == 2
    assert "no such folder; check --audio" in capsys.readouterr().err
    shutil.move(raw / "elsewhere", raw / "songs")
    monkeypatch.setattr("demure.media.opening.importlib.util.find_spec", lambda name: None)
    assert main(["extract", shop, "--audio", model]) == 2
    assert "package 'av' is not installed" in capsys.readouterr().err


def test_items_without_any_content_are_dropped_where_that_is_asked(raw, tmp_path):
    (raw / "items.csv").write_text("item_id\n" + "\n".join(f"s{k}" for k in range(10)))
    shop = prepared(raw, tmp_path / "shop", audio=raw / "songs", bare_items="drop")
    assert "s9" not in Dataset.load(shop).item_ids.tolist()
    assert "s0" in Dataset.load(shop).item_ids.tolist()


def test_a_video_is_the_mean_of_its_frames(raw, tmp_path):
    (raw / "clips").mkdir()
    for k in range(4):
        write_video(raw / "clips" / f"s{k}.mp4", greys(5 + 10 * k, 32))
    (raw / "clips" / "s4.mp4").write_bytes(b"\0" * 100)
    write_sound(raw / "clips" / "s5.mkv", tone(1.0))
    shop = prepared(raw, tmp_path / "shop", video=raw / "clips")
    vision = f"vision:{vit_folder(tmp_path / 'vit')}"
    made = extract(shop, video=["color", f"seen={vision}"], device="cpu").modalities
    assert [(part.name, part.kind, part.present, part.dim) for part in made] == [
        ("video", "video", 4, 569),
        ("seen", "video", 4, 16),
    ]
    assert made[0].problems == {"not audio or video, or damaged": 1, "no video in it": 1, "no video given": 4}
    from demure_extractors.vision import Vision

    from demure.media.clip import VideoFile

    encoder = Vision(vision.removeprefix("vision:"), None, "cpu")
    frames = VideoFile(raw / "clips" / "s3.mp4", "s3").frames(FRAMES)
    expected = encoder.encode([encoder.prepare(frame) for frame in frames]).mean(0)
    np.testing.assert_allclose(store.load(shop, "seen").vectors[3], expected, atol=1e-5)
    assert store.read_manifest(shop, "seen").provenance["frames"] == {"version": 1, "count": FRAMES, "pooling": "mean"}


def test_the_frames_of_several_videos_do_not_mix():
    class Levels:
        dim, batch = 2, 20

        def prepare(self, image):
            return np.asarray(image, np.float32)[0, 0, :2]

        def encode(self, prepared):
            return np.asarray(prepared) * 2

        def identity(self):
            return {"version": 3}

    class Video:
        def __init__(self, *levels):
            self.images = [Image.new("RGB", (2, 2), (level, 0, 0)) for level in levels]

        def frames(self, count):
            return [self.images[k % len(self.images)] for k in range(count)]

    encoder = FrameEncoder(Levels())
    assert encoder.batch == 20 // FRAMES
    videos = [Video(10, 30), Video(50)]
    np.testing.assert_allclose(encoder.encode([encoder.prepare(video) for video in videos]), [[40, 0], [100, 0]])
    assert encoder.identity()["version"] == 3
