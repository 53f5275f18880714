"""Audio and video files, made by PyAV."""

from __future__ import annotations

from pathlib import Path

import numpy as np

RATE = 8000
_CODECS = {".wav": "pcm_s16le", ".flac": "flac", ".mp3": "libmp3lame", ".m4a": "aac", ".mkv": "aac", ".ogg": "libopus"}


def tone(seconds: float, first: float = 300.0, last: float | None = None, rate: int = RATE) -> np.ndarray:
    """Return samples (n,) float32 of a tone whose pitch goes from ``first`` to ``last`` Hz, in steps of 16 bits."""
    time = np.arange(round(seconds * rate)) / rate
    last = first if last is None else last
    samples = 0.5 * np.sin(2 * np.pi * (first * time + (last - first) * time**2 / (2 * max(seconds, 1e-9))))
    return (np.round(samples * 32767) / 32768).astype(np.float32)


def write_sound(path: Path, samples: np.ndarray, rate: int = RATE, channels: int = 1) -> Path:
    """Write samples (n,) in the format that the suffix names; ``channels`` of them are alike."""
    import av

    layout = "mono" if channels == 1 else "stereo"
    integers = (samples * 32768).clip(-32768, 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.repeat(integers, channels)[None], format="s16", layout=layout)
    frame.sample_rate = rate
    with av.open(str(path), "w") as container:
        stream = container.add_stream(_CODECS[path.suffix], rate=48000 if path.suffix == ".ogg" else rate)
        stream.layout = layout
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout=layout, rate=stream.rate, frame_size=size
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)] if len(samples) else []:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def write_video(path: Path, frames: np.ndarray, rate: int = 10, key_frames: int = 1000) -> Path:
    """Write frames (n, height, width, 3) uint8; every ``key_frames`` of them can be decoded on its own."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = key_frames
        stream.options = {"sc_threshold": "1000000000"}  # no other key frames where the picture changes
        for k, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def greys(count: int, side: int = 16) -> np.ndarray:
    """Return ``count`` frames, each of one grey that is lighter than the one before."""
    levels = np.linspace(0, 255, count).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, side, side, 3))


def turned(path: Path, out: Path) -> Path:
    """Write an MP4 again that is to be shown turned right by 90 degrees, as phones record upright."""
    data = bytearray(path.read_bytes())
    upright = bytes.fromhex("00010000" + "00" * 12 + "00010000" + "00" * 12 + "40000000")
    start = data.index(upright, data.index(b"tkhd"))
    data[start : start + 36] = bytes.fromhex("00000000" + "00010000" + "00000000" + "ffff0000" + "00" * 16 + "40000000")
    out.write_bytes(data)
    return out
