"""The frames of a video file that an encoder reads, spread evenly over its length."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from demure.images.opening import MAX_PIXELS
from demure.images.unusable import UnusableInput
from demure.media.opening import frames, open_media, seconds_of, seek, states_its_length

_LAST = 0.25  # share of a video's length that may lack frames at its end


class VideoFile:
    """A video file."""

    def __init__(self, path: Path, name: str) -> None:
        """``name``: the file's name in messages."""
        self.path, self.name = path, name

    def frames(self, count: int) -> list[Image.Image]:
        """Return ``count`` frames as upright RGB, of times in the middle of ``count`` equal parts of the video.

        For each time it is the key frame before it, which can be decoded at once; where that is the one of the time
        before, it is the frame that is shown at the time itself. A video of few frames gives some of them repeatedly.
        Raises ``UnusableInput`` for a file without pictures that move, a damaged and a truncated one.
        """
        try:
            with open_media(self.path) as container:
                return self._read(container, count)
        except UnusableInput as problem:
            raise UnusableInput(problem.kind, f"{self.name}: {problem.value}") from problem
        except OSError as error:
            raise UnusableInput("cannot be read", f"{self.name}: {error.strerror or error}") from error

    def _read(self, container: Any, count: int) -> list[Image.Image]:
        stream = next((stream for stream in container.streams.video if not _is_cover(stream)), None)
        if stream is None:
            raise UnusableInput("no video in it", f"{container.format.name} without a video stream")
        context = stream.codec_context
        if context.width * context.height > MAX_PIXELS:
            raise UnusableInput("too many pixels", f"{context.width} x {context.height}")
        context.thread_type = "NONE"  # files are decoded beside each other, in processes of their own
        stated = seconds_of(container, stream) or _measure(container, stream)
        origin = float((stream.start_time or 0) * stream.time_base)
        times = [origin + (k + 0.5) * stated / count for k in range(count)]
        shown = _frames_for(container, stream, times)
        there = [frame for frame in shown if frame is not None]
        if not there:
            raise UnusableInput("no video in it", "0 frames")
        beyond = max(times) - max(_end_of(frame) for frame in there)
        if (None in shown or beyond > max(_LAST, 1 / count) * stated) and states_its_length(container):
            raise UnusableInput("truncated", f"{stated:.1f} s by its header, and no frame of its last {beyond:.1f} s")
        images = {id(frame): _upright(frame) for frame in there}
        return [images[id(frame)] for frame in (*there, *there[-1:] * (count - len(there)))]


def _frames_for(container: Any, stream: Any, times: list[float]) -> list[Any]:
    """Return the frame for each of ``times`` as ``VideoFile.frames`` describes it; None where the file has none."""
    if not seek(container, stream, times[0]):
        return list(_shown_at(container, stream, times))
    matches: list[Any] = [_key_frame(container, stream, time) for time in times]
    first_of: dict[Any, int] = {}
    repeated: dict[int, list[int]] = {}
    for k, frame in enumerate(matches):
        if frame is not None and first_of.setdefault(frame.pts, k) != k:
            repeated.setdefault(first_of[frame.pts], []).append(k)
    for first, others in repeated.items():
        seek(container, stream, times[first])
        for k, frame in zip(others, _shown_at(container, stream, [times[k] for k in others]), strict=True):
            matches[k] = frame
    return matches


def _end_of(frame: Any) -> float:
    """Return the time in seconds until which a frame is shown, as far as the file says so."""
    return float(frame.time or 0.0) + float((frame.duration or 0) * frame.time_base)


def _key_frame(container: Any, stream: Any, time: float) -> Any:
    if not seek(container, stream, time):
        return None
    return next(frames(container, stream), None)


def _shown_at(container: Any, stream: Any, times: list[float]) -> Iterator[Any]:
    """Yield the frame that is shown at each of ``times``, ascending, decoding from the present position on."""
    waiting, shown = deque(times), None
    for frame in frames(container, stream):
        while waiting and shown is not None and frame.time is not None and frame.time > waiting[0]:
            yield shown
            waiting.popleft()
        if not waiting:
            return
        shown = frame
    for _ in waiting:
        yield shown


def _measure(container: Any, stream: Any) -> float:
    """Return the length in seconds of a video whose header does not state it, by its packets."""
    times = (packet.pts for packet in container.demux(stream))
    return float(max((time for time in times if time is not None), default=0) * stream.time_base)


def _is_cover(stream: Any) -> bool:
    """Return whether a stream is the cover picture of a song."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _upright(frame: Any) -> Image.Image:
    """Return a frame as RGB, turned as the file says that it is shown."""
    image: Image.Image = frame.to_image()
    turn = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
    angle = round(frame.rotation / 90) * 90 % 360
    return image.transpose(turn[angle]) if angle else image
