"""The process that ``demure.images.decoders`` starts: it decodes one image file after the other, and may be killed.

It reads requests from standard input and writes replies to standard output, each a line of JSON; the pixels of a
thumbnail follow their line. It imports only what decoding needs, to start fast.
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

from PIL import Image, ImageOps

from demure.images.opening import open_image
from demure.images.time_limit import limited_to
from demure.images.unusable import UnusableInput


def main() -> None:
    """Answer requests until standard input is closed."""
    requests = sys.stdin.buffer
    # Decoders written in C may print, so their standard output is not the pipe of the replies.
    with os.fdopen(os.dup(1), "wb") as replies, open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        replies.write(b"{}\n")  # this process is ready
        replies.flush()
        for line in requests:
            request = json.loads(line)
            data = requests.read(request.get("bytes", 0))
            with limited_to(request["seconds"]):
                reply, pixels = _answer(request, data)
            replies.write(json.dumps(reply).encode() + b"\n" + pixels)
            replies.flush()


def _answer(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the line and the pixels to reply to a request.

    {"bytes"}: decode ``data``, which follow the line, and return the format; {"path", "fit": [width, height]}: return a
    thumbnail of the file.
    """
    try:
        if "bytes" in request:
            with open_image(io.BytesIO(data)) as image:
                image.load()
                return {"format": image.format}, b""
        with open(request["path"], "rb") as file, open_image(file) as image:
            thumbnail = _shrink(image, *request["fit"])
    except UnusableInput as problem:
        return {"problem": [problem.kind, problem.value]}, b""
    except (OSError, ValueError) as error:
        return {"problem": ["cannot be read", str(error)[:200]]}, b""
    return {"size": thumbnail.size}, thumbnail.tobytes()


def _shrink(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return ``image`` upright and in RGB, scaled to fit into ``width`` x ``height`` pixels."""
    image.draft("RGB", (height * 2, height * 2))  # a JPEG is then decoded in a coarser scale
    thumbnail = ImageOps.exif_transpose(image).convert("RGB")
    thumbnail.thumbnail((width, height))
    return thumbnail
