"""Open audio and video files with PyAV (FFmpeg): only formats that hold all of their content themselves.

This is the only module that calls ``av.open``; a guard test holds that. FFmpeg also reads playlists, which name other
files and addresses: a playlist called ``song.mp3`` would be followed.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demure.errors import MachineError
from demure.images.unusable import UnusableInput

# Names of FFmpeg's demuxers. Those of images, playlists, devices and scripts are left out.
FORMATS = (
    "wav", "w64", "aiff", "au", "caf", "flac", "mp3", "aac", "ogg", "amr", "ape", "wv", "tta",
    "mov", "matroska", "avi", "flv", "asf", "mpeg", "mpegts",
)  # fmt: skip
STATES_ITS_LENGTH = ("wav", "w64", "aiff", "au", "caf", "flac", "mov", "matroska", "avi")
"""Formats whose header states how long the content is; in others the length is an estimate."""
_HEAD = 12  # bytes that a message shows
_DAMAGED_PACKETS = 50  # of a stream that are passed over before it is given up


def require_av() -> None:
    """Raise ``MachineError`` if PyAV is not installed."""
    if importlib.util.find_spec("av") is None:
        remedy = "pip install 'demure[media]'"
        raise MachineError("package 'av' is not installed, which decodes audio and video", remedy=remedy)


@contextlib.contextmanager
def open_media(path: Path) -> Iterator[Any]:
    """Open an audio or video file, whatever its suffix is, as a container of PyAV.

    Raises ``UnusableInput``, also for any error of FFmpeg inside the block.
    """
    import av

    with open(path, "rb") as file:  # not by name: FFmpeg would take some names for addresses
        try:
            container = av.open(file, options={"format_whitelist": ",".join(FORMATS)}, metadata_errors="replace")
        except Exception as error:  # FFmpeg's errors, and those of PyAV about a container without content
            file.seek(0)
            value = f"{_reason(error)}, starts with {file.read(_HEAD)!r}"
            raise UnusableInput("not audio or video, or damaged", value) from error
        with container:
            try:
                yield container
            except UnusableInput:
                raise
            except Exception as error:  # decoders of damaged files raise nearly anything
                raise UnusableInput("damaged", _reason(error)) from error


def frames(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the frames of ``stream`` from the present position on, without those of damaged packets."""
    from av import error as av_error

    for _ in range(_DAMAGED_PACKETS):
        try:
            yield from container.decode(stream)
            return
        except av_error.InvalidDataError:  # of one packet: the next call goes on behind it
            continue
        except av_error.EOFError:
            return


def seek(container: Any, stream: Any, seconds: float) -> bool:
    """Go to the last place before ``seconds`` where decoding can begin; return False if the file has no such places."""
    from av import error as av_error

    try:
        container.seek(int(seconds / stream.time_base), stream=stream, backward=True)
    except av_error.FFmpegError:
        return False
    return True


def seconds_of(container: Any, stream: Any) -> float | None:
    """Return how long ``stream`` is by the file's header; None if it does not say."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / 1e6


def states_its_length(container: Any) -> bool:
    """Return whether the length in the file's header is exact, so that less of it means a file cut short."""
    return bool(set(container.format.name.split(",")) & set(STATES_ITS_LENGTH))


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]
