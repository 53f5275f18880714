"""Parts that several views of `demure inspect` share: verdicts, shares of verdicts, bars, and the table of items."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from rich.bar import Bar
from rich.text import Text

from demure_cli.output.characters import unfolded_numbers
from demure_cli.output.style import (
    VERDICT_STYLES,
    aside,
    count,
    heading,
    no_answer,
    number,
    or_dash,
    percent,
    row,
    signed,
    table,
    verdict,
)
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType
    from rich.table import Table

    from demure.diagnosis.verdict import ModalityVerdict

ID: dict[str, Any] = {"no_wrap": True, "max_width": 16}
TITLE: dict[str, Any] = {"no_wrap": True, "ratio": 2, "min_width": 12}
BAR_WIDTH = 20
KINDS = {
    "category": "category of the item",
    "interest": "interest that is a point of interest",
    "reliance": "modality that the user relies on most",
    "history": "number of choices of the user",
    "popularity": "number of choices of the item",
    "time": "time",
}
_ROOMY = 100
_SHARES = "poi: share of the choices for which the modality was a point of interest"
_ABOVE = (
    "; mean: mean probability of a point of interest, which also counts the chances of choices without that verdict; "
    "above shuffled: the mean, less the mean of the same diagnosis with the features shuffled among the items, with a "
    "95 % interval"
)
ITEMS_LEGEND = (
    "evidence: mean evidence, in nats, that the modality was a point of interest; below: how many standard deviations "
    "between items it lies below the typical evidence of the modality, corrected for few choices; ?: not significant. "
    "The picture or text may be wrong, or only unusual: low evidence does not prove a fault"
)


def sentences(texts: Iterable[str]) -> list[Text]:
    """Return sentences as lines that fold to the terminal."""
    return [Text(unfolded_numbers(sentence)) for sentence in texts]


def cell(diagnosed: ModalityVerdict | None, *, informative: bool = True) -> Text:
    """Return a verdict with its probability; no verdict where the features of the modality explain nothing."""
    if diagnosed is None:
        return Text("-", style="dim")
    if not informative and not diagnosed.missing:
        return no_answer()
    return verdict(diagnosed.verdict.value, diagnosed.poi_probability, unsure=diagnosed.undecided)


def bar(share: float, largest: float) -> Bar | Text:
    """Return a bar as long as its share of ``largest``; an empty text for NaN."""
    return Text("") if math.isnan(share) else Bar(largest, 0, share, width=BAR_WIDTH)


def shares(title: str, frame: pd.DataFrame, uninformative: Collection[str]) -> tuple[RenderableType, ...]:
    """Return a heading, a table of verdicts per modality, and its legend. A modality that explains nothing has no share
    of points of interest, and it is not called noise either."""
    has_placebo = "placebo" in frame.columns
    columns = ["modality", ">interactions", *(f">{word}" for word in VERDICT_STYLES)]
    shown = table([*columns, *([">above shuffled", ">mean"] if has_placebo else [])])
    for line in frame.to_dict("records"):
        informative = line["modality"] not in uninformative
        cells = [Text(percent(line[word]), style=style) for word, style in VERDICT_STYLES.items()]
        if not informative:
            cells[:2] = [no_answer(), Text("-", style="dim")]
        means = [percent(line["mean_probability"]) if informative else "-"] if has_placebo else []
        excess = [_excess(line["placebo"], informative=informative)] if has_placebo else []
        row(shown, line["modality"], count(line["interactions"]), *cells, *excess, *means)
    return heading(title), shown, aside(_SHARES + (_ABOVE if has_placebo else ""))


def _excess(placebo: dict[str, float] | None, *, informative: bool) -> str:
    from demure.diagnosis.placebo import PlaceboResult

    if placebo is None:
        return "-"
    if not informative:
        return "nothing"
    excess, interval = PlaceboResult(**placebo).above()
    return f"{excess} ({interval})"


def items_table(frame: pd.DataFrame, uninformative: Collection[str] = ()) -> Table:
    """Return rows of ``demure.diagnosis.flagging.deviations`` as a table."""
    roomy = terminal.width >= _ROOMY
    columns: list[str | tuple[str, dict[str, Any]]] = [("item", ID), ("title", TITLE), "modality", ">choices"]
    columns += [">evidence", *([">typical"] if roomy else []), ">below", ">noise"]
    shown = table([*columns, *([">mean poi probability"] if roomy else [])])
    shown.expand = not roomy
    for line in frame.to_dict("records"):
        mark, style = ("", "yellow") if line["clearly"] else ("?", "dim")
        below = Text(f"{line['below']:+.1f}{mark}", style=style)
        noise, mean = Text(percent(line["noise"])), number(line["mean_probability"], 2)
        if line["modality"] in uninformative:
            noise, mean, below = no_answer(), "-", Text("-", style="dim")
        evidence = [signed(line["evidence"]), *([signed(line["typical"])] if roomy else [])]
        names = (line["item_id"], or_dash(line["title"]), line["modality"])
        row(shown, *names, count(line["interactions"]), *evidence, below, noise, *([mean] if roomy else []))
    return shown
