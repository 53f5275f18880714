"""How objects and frames look in a notebook. All text from data is escaped; pictures are small and inline."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from demure.diagnosis.placebo import CANNOT_TELL
from demure.diagnosis.uncertainty import probability_of

if TYPE_CHECKING:
    from demure.api.dataset import Dataset

MOST_ROWS = 40
_PICTURE_BYTES = 1_000_000
# Text and ground are both set, so that a badge can be read on light and on dark pages.
_BADGES = {"poi": ("#0b3d1e", "#b7e4c7"), "noise": ("#4a3500", "#ffe3a3"), "missing": ("#444", "#ddd")}
Draw = Callable[[pd.DataFrame], str]


class Drawn(pd.DataFrame):
    """A pandas frame that draws itself by ``draw`` in a notebook; whatever is derived from it is a plain frame."""

    _metadata = ["_draw", "_drawn_columns"]  # noqa: RUF012 (pandas looks for it here)
    _draw: Draw | None = None
    _drawn_columns: list[str] | None = None

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str | None:
        if self._draw is None or list(self.columns) != self._drawn_columns or not len(self):
            return pd.DataFrame._repr_html_(self)  # type: ignore[attr-defined]
        return self._draw(self)


def drawn(frame: pd.DataFrame, draw: Draw) -> Drawn:
    """``frame`` as one that draws itself, as long as its columns stay what they are."""
    made = Drawn(frame)
    object.__setattr__(made, "_draw", draw)
    object.__setattr__(made, "_drawn_columns", list(frame.columns))
    return made


def card(title: str, facts: Mapping[str, object]) -> str:
    """A heading, and names and values below each other."""
    rows = "".join(
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(str(value))}</td></tr>'
        for name, value in facts.items()
    )
    return f"<div><strong>{html.escape(title)}</strong><table>{rows}</table></div>"


def badge(verdict: str, poi_probability: float) -> str:
    """A verdict as a word on its colour, with the probability of that word unless the modality is missing."""
    ink, ground = _BADGES.get(verdict, _BADGES["missing"])
    text = verdict if verdict == "missing" else f"{verdict} {probability_of(verdict, poi_probability):.2f}"
    style = f"color:{ink};background:{ground};padding:1px 6px;border-radius:6px;white-space:nowrap"
    return f'<span style="{style}">{html.escape(text)}</span>'


def no_answer() -> str:
    """What stands in place of a verdict where the features of a modality explain nothing."""
    ink, ground = _BADGES["missing"]
    return f'<span style="color:{ink};background:{ground};padding:1px 6px;border-radius:6px">{CANNOT_TELL}</span>'


def pictures(dataset: Dataset, item_ids: Iterable[str]) -> dict[str, str]:
    """Item -> a small picture as an element; empty where there is none, or none that can be read."""
    from demure.report.thumbnails import thumbnails

    items = list(dict.fromkeys(item_ids))
    uris = thumbnails([dataset.picture(item) for item in items], _PICTURE_BYTES)
    return {
        item: f'<img src="{uri}" alt="" style="max-height:64px">' if uri else ""
        for item, uri in zip(items, uris, strict=True)
    }


def rows(cells: list[dict[str, Any]], total: int, *, first: bool = True) -> str:
    """Rows of elements and escaped text as a table; says so where these are not all ``total``."""
    frame = pd.DataFrame(cells)
    if "" in frame.columns and not frame[""].any():
        frame = frame.drop(columns="")
    told = frame.to_html(index=False, escape=False, border=0, justify="left")
    left = total - len(cells)
    more = f"<p>and {left:,} {'more' if first else 'before them'}</p>" if left > 0 else ""
    return f"<div>{told}{more}</div>"


def text(value: object) -> str:
    """Text from data, escaped."""
    return html.escape(str(value))
