"""The sound of a file, decoded only in the parts that an encoder reads: a few excerpts, spread evenly.

Shapes: n samples of an excerpt.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from demure.images.unusable import UnusableInput
from demure.media.opening import frames, open_media, seconds_of, seek, states_its_length

SILENT = 1e-4
"""A sound none of whose samples reaches this share of full scale (-80 dB) is silent."""
_WHOLE = 0.5  # share of an excerpt that must be there


class SoundFile:
    """An audio file, or the sound of a video file."""

    def __init__(self, path: Path, name: str) -> None:
        """``name``: the file's name in messages."""
        self.path, self.name = path, name

    def excerpts(self, rate: int, seconds: float, most: int) -> list[np.ndarray]:
        """Return at most ``most`` excerpts of at most ``seconds``, each (n,) float32, mono at ``rate`` per second.

        A sound no longer than one excerpt is a single one. Of a longer one there are as many as it takes to cover it,
        at most ``most``, each in the middle of an equal part of the file. Only these parts are decoded, so that memory
        and time do not depend on the length of the file. Raises ``UnusableInput`` for a file without sound, a silent, a
        damaged and a truncated one.
        """
        try:
            with open_media(self.path) as container:
                excerpts = self._read(container, rate, seconds, most)
        except UnusableInput as problem:
            raise UnusableInput(problem.kind, f"{self.name}: {problem.value}") from problem
        except OSError as error:
            raise UnusableInput("cannot be read", f"{self.name}: {error.strerror or error}") from error
        if not all(np.isfinite(excerpt).all() for excerpt in excerpts):
            raise UnusableInput("damaged", f"{self.name}: samples that are not finite")
        peak = max(float(np.abs(excerpt).max()) for excerpt in excerpts)
        if peak < SILENT:
            raise UnusableInput("silent", f"{self.name}: no sample above {peak:.1g} of full scale")
        return excerpts

    def _read(self, container: Any, rate: int, seconds: float, most: int) -> list[np.ndarray]:
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            raise UnusableInput("no sound in it", f"{container.format.name} without an audio stream")
        stated, length = seconds_of(container, stream), round(seconds * rate)
        if stated is not None and stated > most * seconds:
            starts = excerpt_starts(stated, seconds, most)
            excerpts = [_read_from(container, stream, rate, start, length) for start in starts]
            if all(len(excerpt) > _WHOLE * length for excerpt in excerpts):
                return excerpts
            if states_its_length(container):
                lacking = next(start for start, part in zip(starts, excerpts, strict=True) if len(part) < length)
                raise UnusableInput("truncated", f"{stated:.1f} s by its header, nothing from {lacking:.1f} s on")
        whole = _read_from(container, stream, rate, 0.0, most * length)
        if not len(whole):
            raise UnusableInput("no sound in it", "0 samples")
        duration = len(whole) / rate
        if stated is not None and states_its_length(container) and duration < _WHOLE * min(stated, most * seconds):
            raise UnusableInput("truncated", f"{stated:.1f} s by its header, {duration:.1f} s in it")
        starts = excerpt_starts(duration, seconds, most)
        return [whole[round(start * rate) : round(start * rate) + length] for start in starts]


def excerpt_starts(duration: float, seconds: float, most: int) -> list[float]:
    """Return where the excerpts of a sound of ``duration`` seconds start, in seconds."""
    count = min(most, max(1, int(np.ceil(duration / seconds - 1e-6))))
    last = max(0.0, duration - seconds)
    return [min(max((k + 0.5) * duration / count - seconds / 2, 0.0), last) for k in range(count)]


def _read_from(container: Any, stream: Any, rate: int, start: float, most: int) -> np.ndarray:
    """Return at most ``most`` samples (n,) from ``start`` seconds on; fewer where the file ends or is damaged."""
    origin = float((stream.start_time or 0) * stream.time_base)
    if not seek(container, stream, origin + start) and start > 0:
        return np.zeros(0, np.float32)
    blocks: list[np.ndarray] = []
    skip: int | None = None
    total = 0
    for block, time in _blocks(container, stream, rate):
        if skip is None:  # a file can be entered only at some places, which lie before ``start``
            skip = max(0, round((start - (time - origin)) * rate)) if time is not None else 0
        blocks.append(block)
        total += len(block)
        if total >= skip + most:
            break
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    return np.ascontiguousarray(samples[skip or 0 :][:most], dtype=np.float32)


def _blocks(container: Any, stream: Any, rate: int) -> Iterator[tuple[np.ndarray, float | None]]:
    """Yield samples (n,), mono at ``rate``, and the time in seconds of the frame that they came from."""
    import av

    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    time = None
    try:
        for frame in frames(container, stream):
            time = frame.time
            for resampled in resampler.resample(frame):
                yield resampled.to_ndarray()[0], time
    except ValueError:  # rate or channels change in the middle: what came before counts
        return
    for resampled in resampler.resample(None):
        yield resampled.to_ndarray()[0], time
