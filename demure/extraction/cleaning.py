"""Clean item texts for an encoder: remove markup, control characters and broken characters."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

POLICY = "HTML tags dropped, entities read; control characters read as spaces; broken characters as U+FFFD"
# Only the names of HTML tags, so that "x < y", "<3" and "<unknown>" stay.
_TAG = re.compile(
    r"</?(?:a|abbr|article|b|blockquote|body|br|center|code|dd|div|dl|dt|em|figure|font|footer|form|h[1-6]|head|header|hr"
    r"|html|i|iframe|img|input|li|link|meta|nav|ol|p|pre|s|script|section|small|span|strike|strong|style|sub|sup|table"
    r"|tbody|td|tfoot|th|thead|title|tr|u|ul|video)(?:\s[^<>]*)?/?>|<!--|<!doctype",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_BROKEN = re.compile(r"[\ud800-\udfff]")
_INLINE = {"a", "abbr", "b", "code", "em", "font", "i", "s", "small", "span", "strike", "strong", "sub", "sup", "u"}
_HIDDEN = {"script", "style", "head", "iframe"}


def clean(text: str) -> str:
    """Return ``text`` cleaned by ``POLICY``, as one line."""
    if "<" in text and _TAG.search(text):
        text = _without_tags(text)
    elif "&" in text and _ENTITY.search(text):
        text = html.unescape(text)
    if not text.isprintable():
        text = _BROKEN.sub("\ufffd", _CONTROL.sub(" ", text))
    return " ".join(text.split())


def _without_tags(text: str) -> str:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return "".join(reader.parts)


class _Reader(HTMLParser):
    """Collects the text that a browser would show, with a space where a block begins or ends."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in _HIDDEN
        self._border(tag)

    def handle_endtag(self, tag: str) -> None:
        self.hidden = max(0, self.hidden - (tag in _HIDDEN))
        self._border(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._border(tag)

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)

    def _border(self, tag: str) -> None:
        if tag not in _INLINE:
            self.parts.append(" ")
