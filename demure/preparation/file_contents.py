"""The kinds of content that are files beside the items: images, audio and video, with the options that name them."""

from __future__ import annotations

from dataclasses import dataclass

from demure.features.kinds import plural
from demure.preparation.fetch.log import IMAGE_SUFFIXES

_AUDIO_SUFFIXES = {
    ".wav", ".wave", ".w64", ".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".aac", ".m4a", ".ogg", ".oga", ".opus",
    ".amr", ".ape", ".wv", ".tta", ".wma", ".weba",
}  # fmt: skip
_VIDEO_SUFFIXES = {
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".asf", ".mpg", ".mpeg", ".ts", ".ogv", ".3gp",
}  # fmt: skip


@dataclass(frozen=True)
class FileContent:
    """A ``kind`` of content in files: the ``option`` of their folder, and the ``suffixes`` of files that may be it."""

    kind: str
    option: str
    suffixes: frozenset[str]

    @property
    def plural(self) -> str:
        """The kind in the plural."""
        return plural(self.kind)

    @property
    def folder(self) -> str:
        """What messages call the folder."""
        return "images folder" if self.kind == "image" else f"{self.kind} folder"


IMAGES = FileContent("image", "--images", frozenset(IMAGE_SUFFIXES))
AUDIO = FileContent("audio", "--audio", frozenset(_AUDIO_SUFFIXES | _VIDEO_SUFFIXES))
"""The sound of a video is audio, too."""
VIDEO = FileContent("video", "--video", frozenset(_VIDEO_SUFFIXES))
CONTENTS = {content.kind: content for content in (IMAGES, AUDIO, VIDEO)}
