"""Excerpts of audio files, against the samples that were written."""

import numpy as np
import pytest
from support.media_files import RATE, greys, tone, write_sound, write_video

from demure.errors import MachineError
from demure.images.unusable import UnusableInput
from demure.media import opening
from demure.media.sound import SoundFile, excerpt_starts

pytest.importorskip("av")


def problem(path):
    with pytest.raises(UnusableInput) as raised:
        SoundFile(path, path.name).excerpts(RATE, 1.0, 3)
    assert raised.value.value.startswith(f"{path.name}: ")
    return raised.value.kind


def test_excerpts_are_in_the_middle_of_equal_parts():
    assert excerpt_starts(9.0, 10.0, 3) == [0.0]
    assert excerpt_starts(10.0, 10.0, 3) == [0.0]
    assert excerpt_starts(12.0, 10.0, 3) == [0.0, 2.0]
    assert excerpt_starts(60.0, 10.0, 3) == [5.0, 25.0, 45.0]
    assert excerpt_starts(3600.0, 10.0, 3) == [595.0, 1795.0, 2995.0]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".m4a"])
def test_a_long_sound_gives_the_samples_at_these_places(tmp_path, suffix):
    samples = tone(20.0, 200, 1500)
    path = write_sound(tmp_path / f"a{suffix}", samples)
    excerpts = SoundFile(path, "a").excerpts(RATE, 2.0, 3)
    assert [len(excerpt) for excerpt in excerpts] == [2 * RATE] * 3
    for start, excerpt in zip(excerpt_starts(20.0, 2.0, 3), excerpts, strict=True):
        expected = samples[round(start * RATE) :][: 2 * RATE]
        if suffix in (".wav", ".flac"):
            np.testing.assert_allclose(excerpt[RATE // 2 :], expected[RATE // 2 :], atol=1e-4)
        else:  # codecs change the samples, and add some at the ends
            products = np.correlate(excerpt[4000:8000], expected[3000:9000]) / (np.linalg.norm(excerpt[4000:8000]) ** 2)
            assert products.max() > 0.9  # near 0 elsewhere, as the pitch rises


def test_a_short_sound_is_read_as_it_is(tmp_path):
    samples = tone(0.7)
    [excerpt] = SoundFile(write_sound(tmp_path / "a.wav", samples), "a").excerpts(RATE, 1.0, 3)
    np.testing.assert_array_equal(excerpt, samples)
    first, second = SoundFile(write_sound(tmp_path / "b.wav", tone(1.5)), "b").excerpts(RATE, 1.0, 3)
    np.testing.assert_array_equal(first, tone(1.5)[:RATE])
    np.testing.assert_array_equal(second, tone(1.5)[-RATE:])


def test_channels_are_averaged_and_rates_converted(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone(1.0, rate=16000), rate=16000, channels=2)
    [excerpt] = SoundFile(path, "a").excerpts(RATE, 2.0, 1)
    assert len(excerpt) == RATE
    expected = tone(1.0)[200:-200]
    np.testing.assert_allclose(excerpt[200:-200] / np.abs(excerpt).max(), expected / np.abs(expected).max(), atol=0.02)


def test_the_sound_of_a_matroska_file_under_another_name(tmp_path):
    path = write_sound(tmp_path / "a.mkv", tone(1.0)).rename(tmp_path / "a.mp3")
    assert len(SoundFile(path, "a").excerpts(RATE, 2.0, 1)[0]) == pytest.approx(RATE, abs=2100)


def test_files_that_cannot_be_used(tmp_path):
    whole = write_sound(tmp_path / "long.wav", tone(30.0)).read_bytes()
    movie = write_sound(tmp_path / "long.m4a", tone(30.0)).read_bytes()
    for name, data, kind in (
        ("page.mp3", b"<html>404</html>" * 20, "not audio or video, or damaged"),
        ("zeros.wav", bytes(4000), "not audio or video, or damaged"),
        ("head.wav", whole[:20], "not audio or video, or damaged"),
        ("nothing.wav", whole[: whole.index(b"data") + 8], "no sound in it"),
        ("cut.m4a", movie[: len(movie) // 2], "not audio or video, or damaged"),  # its index is at the end
        ("noise.mp3", b"ID3" + np.random.default_rng(0).bytes(5000), None),
    ):
        (tmp_path / name).write_bytes(data)
        assert problem(tmp_path / name) == kind or kind is None, name
    assert problem(write_sound(tmp_path / "silent.wav", np.zeros(RATE, np.float32))) == "silent"
    assert problem(write_sound(tmp_path / "silent-long.wav", np.zeros(20 * RATE, np.float32))) == "silent"
    assert problem(write_video(tmp_path / "mute.mp4", greys(5))) == "no sound in it"
    assert problem(tmp_path / "gone.wav") == "cannot be read"


def test_a_file_cut_short(tmp_path):
    whole = write_sound(tmp_path / "whole.flac", tone(30.0, 200, 3000)).read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 3])
    assert problem(tmp_path / "cut.flac") == "truncated"
    whole = write_sound(tmp_path / "short.mkv", tone(2.5, 200, 3000)).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 3])
    assert problem(tmp_path / "cut.mkv") == "truncated"
    whole = write_sound(tmp_path / "whole.mp3", tone(30.0, 200, 3000)).read_bytes()
    (tmp_path / "cut.mp3").write_bytes(whole[: len(whole) // 3])  # states no length that could be relied on
    assert len(SoundFile(tmp_path / "cut.mp3", "cut.mp3").excerpts(RATE, 1.0, 3)) == 3


def test_damaged_packets_are_passed_over(tmp_path):
    data = bytearray(write_sound(tmp_path / "a.mp3", tone(10.0)).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
    (tmp_path / "a.mp3").write_bytes(data)
    assert [len(part) for part in SoundFile(tmp_path / "a.mp3", "a").excerpts(RATE, 1.0, 3)] == [RATE] * 3


def test_a_playlist_is_not_followed(tmp_path):
    other = write_sound(tmp_path / "secret.mp3", tone(1.0))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n#EXT-X-ENDLIST\n"
    (tmp_path / "song.mp3").write_text(playlist)
    assert problem(tmp_path / "song.mp3") == "not audio or video, or damaged"
    (tmp_path / "list.mp3").write_text(f"ffconcat version 1.0\nfile {other.name}\n")
    assert problem(tmp_path / "list.mp3") == "not audio or video, or damaged"


def test_hours_take_no_longer_than_seconds(tmp_path, monkeypatch):
    """Of three hours, three excerpts are decoded."""
    import wave

    path = tmp_path / "hours.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(RATE)
        file.writeframes(np.tile(np.arange(0, 256, 8, np.uint8), 3 * 3600 * RATE // 32).tobytes())
    counted = []
    real = opening.frames

    def count(container, stream):
        for frame in real(container, stream):
            counted.append(frame.samples)
            yield frame

    monkeypatch.setattr("demure.media.sound.frames", count)
    excerpts = SoundFile(path, "hours").excerpts(RATE, 10.0, 3)
    assert [len(excerpt) for excerpt in excerpts] == [10 * RATE] * 3
    assert sum(counted) < 40 * RATE


def test_without_the_library_the_error_names_the_command_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r"package 'av' is not installed.*; pip install 'demure\[media\]'"):
        opening.require_av()
