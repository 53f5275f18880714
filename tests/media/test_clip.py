"""Frames of video files, against the frames that were written."""

import numpy as np
import pytest
from support.media_files import greys, tone, turned, write_sound, write_video

from demure.images.unusable import UnusableInput
from demure.media.clip import VideoFile

pytest.importorskip("av")


def noise(count):
    return np.random.default_rng(0).integers(0, 255, (count, 64, 64, 3), dtype=np.uint8)


def levels(path, count):
    return [round(float(np.asarray(frame).mean())) for frame in VideoFile(path, path.name).frames(count)]


def problem(path):
    with pytest.raises(UnusableInput) as raised:
        VideoFile(path, path.name).frames(4)
    assert raised.value.value.startswith(f"{path.name}: ")
    return raised.value.kind


def test_frames_are_those_of_evenly_spaced_times(tmp_path):
    """In a video of one key frame, 4 s long, the frames at 0.5, 1.5, 2.5 and 3.5 s, but the key frame for the first."""
    path = write_video(tmp_path / "a.mp4", greys(40))
    expected = greys(40)[[0, 15, 25, 35], 0, 0, 0]
    np.testing.assert_allclose(levels(path, 4), expected, atol=6)


def test_key_frames_are_taken_where_there_are_new_ones(tmp_path):
    path = write_video(tmp_path / "a.mp4", greys(40), key_frames=10)
    np.testing.assert_allclose(levels(path, 4), greys(40)[[0, 10, 20, 30], 0, 0, 0], atol=6)


def test_a_video_of_few_frames_gives_them_repeatedly(tmp_path):
    path = write_video(tmp_path / "a.mp4", greys(2), rate=1)
    np.testing.assert_allclose(levels(path, 4), [0, 0, 255, 255], atol=6)


def test_a_video_is_upright(tmp_path):
    frames = np.zeros((3, 32, 48, 3), np.uint8)
    frames[:, :, :24] = 255
    path = turned(write_video(tmp_path / "a.mp4", frames), tmp_path / "turned.mp4")
    image = np.asarray(VideoFile(path, "a").frames(1)[0])
    assert image.shape == (48, 32, 3)  # what was at the left is at the top
    assert image[:20].mean() > 250
    assert image[-20:].mean() < 5


def test_files_that_cannot_be_used(tmp_path):
    whole = write_video(tmp_path / "a.mp4", noise(40)).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # its index is at the end
    (tmp_path / "page.mp4").write_bytes(b"<html></html>")
    for name in ("cut.mp4", "page.mp4"):
        assert problem(tmp_path / name) == "not audio or video, or damaged"
    assert problem(write_sound(tmp_path / "song.mp3", tone(1.0))) == "no video in it"
    assert problem(tmp_path / "gone.mp4") == "cannot be read"


def test_a_video_cut_short(tmp_path):
    whole = write_video(tmp_path / "a.mkv", noise(40), key_frames=5).read_bytes()
    for name, length in (("half.mkv", len(whole) // 2), ("quarter.mkv", len(whole) // 4)):
        (tmp_path / name).write_bytes(whole[:length])
        assert problem(tmp_path / name) == "truncated"


def test_a_frame_of_too_many_pixels_is_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("demure.media.clip.MAX_PIXELS", 200)
    assert problem(write_video(tmp_path / "a.mp4", greys(4))) == "too many pixels"
