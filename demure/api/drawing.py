"""Draw objects and frames in a notebook. All text from data is escaped; pictures are small and inline."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from demure.diagnosis.placebo import CANNOT_TELL
from demure.diagnosis.verdict import Verdict, probability_of

if TYPE_CHECKING:
    from demure.api.dataset import Dataset

MOST_ROWS = 40
_PICTURE_BYTES = 1_000_000
# Text and background are both set, so that a badge can be read on light and on dark pages.
_BADGES = {
    Verdict.POI: ("#0b3d1e", "#b7e4c7"),
    Verdict.NOISE: ("#4a3500", "#ffe3a3"),
    Verdict.MISSING: ("#444", "#ddd"),
}
Draw = Callable[[pd.DataFrame], str]


class Drawn(pd.DataFrame):
    """A pandas frame that draws itself by ``draw`` in a notebook; a frame derived from it is a plain frame."""

    _metadata = ["_draw", "_drawn_columns"]  # noqa: RUF012 (pandas looks for it here)
    _draw: Draw | None = None
    _drawn_columns: list[str] | None = None

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str | None:
        if self._draw is None or list(self.columns) != self._drawn_columns or not len(self):
            plain: str | None = pd.DataFrame._repr_html_(self)  # type: ignore[attr-defined]
            return plain
        return self._draw(self)


def drawn(frame: pd.DataFrame, draw: Draw) -> Drawn:
    """Return ``frame`` as a frame that draws itself, as long as its columns do not change."""
    copy = Drawn(frame)
    copy.attrs = dict(frame.attrs)
    object.__setattr__(copy, "_draw", draw)
    object.__setattr__(copy, "_drawn_columns", list(frame.columns))
    return copy


def card(title: str, facts: Mapping[str, object]) -> str:
    """Return a heading with a table of names and values."""
    rows = "".join(
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(str(value))}</td></tr>'
        for name, value in facts.items()
    )
    return f"<div><strong>{html.escape(title)}</strong><table>{rows}</table></div>"


def badge(verdict: Verdict, poi_probability: float) -> str:
    """Return a verdict as a word on its colour, with the probability of that word unless the modality is missing."""
    text = verdict.value
    if verdict is not Verdict.MISSING:
        text = f"{verdict} {probability_of(verdict, poi_probability):.2f}"
    return _span(text, verdict, "white-space:nowrap")


def no_answer() -> str:
    """Return the badge that replaces a verdict where the features of a modality explain nothing."""
    return _span(CANNOT_TELL, Verdict.MISSING)


def _span(text: str, colours_of: Verdict, style: str = "") -> str:
    colour, background = _BADGES[colours_of]
    style = f"color:{colour};background:{background};padding:1px 6px;border-radius:6px;{style}".rstrip(";")
    return f'<span style="{style}">{html.escape(text)}</span>'


def pictures(dataset: Dataset, item_ids: Iterable[str]) -> dict[str, str]:
    """Return item -> a small picture as an HTML element, or an empty text without a readable picture."""
    from demure.report.thumbnails import thumbnails

    items = list(dict.fromkeys(item_ids))
    uris = thumbnails([dataset.picture(item) for item in items], _PICTURE_BYTES)
    return {
        item: f'<img src="{uri}" alt="" style="max-height:64px">' if uri else ""
        for item, uri in zip(items, uris, strict=True)
    }


def rows(cells: list[dict[str, Any]], total: int, *, first: bool = True) -> str:
    """Return rows of elements and escaped text as a table, with a note if there are more rows than these (``total``).

    ``first``: whether these are the first rows of all, or the last.
    """
    frame = pd.DataFrame(cells)
    if "" in frame.columns and not frame[""].any():
        frame = frame.drop(columns="")
    table = frame.to_html(index=False, escape=False, border=0, justify="left")
    left = total - len(cells)
    more = f"<p>and {left:,} {'more' if first else 'before them'}</p>" if left > 0 else ""
    return f"<div>{table}{more}</div>"


def text(value: object) -> str:
    """Return a text from data, escaped."""
    return html.escape(str(value))
