"""Parts that several views of `demure inspect` share: verdicts, shares of verdicts, bars, and the table of items."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.bar import Bar
from rich.text import Text

from demure.diagnosis.verdict import DECIDED_PERCENT
from demure_cli.output.characters import unfolded_numbers
from demure_cli.output.style import (
    VERDICT_STYLES,
    aside,
    count,
    heading,
    no_answer,
    or_dash,
    percent,
    row,
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
    "above shuffled: the mean, less that of the same diagnosis with the features shuffled among the items, and its "
    "95 % interval"
)
ITEMS_LEGEND = (
    "noise: share of the choices of the item for which the modality was noise; below: how far the evidence of the item "
    "lies below what is typical of the modality, corrected for few choices; in --sort and --where a number of standard "
    "deviations of the items: from .5 slightly, from 1.5 clearly, from 2 far; ?: may be chance. The picture or text "
    "may be wrong, or only unusual: a row does not prove a fault"
)


def verdicts_legend(modalities: Sequence[str]) -> str:
    """Return what the words and numbers of ``cell`` mean, and the field of ``--where`` that belongs to them."""
    legend = f"the number: probability of the word before it; ?: below .{DECIDED_PERCENT}, either verdict is possible"
    if not modalities:
        return legend
    field = f"in --where and --sort {modalities[0]} is the probability that its {modalities[0]} was a point of interest"
    return f"poi: a point of interest; {legend}; {field}"


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
    columns = ["modality", ">choices", *(f">{word}" for word in VERDICT_STYLES)]
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
    """Return rows of ``demure.diagnosis.flagging.deviations`` as a table; its headings are fields of ``--where``."""
    roomy = terminal.width >= _ROOMY
    category = roomy and frame["category"].ne("").any()
    columns: list[str | tuple[str, dict[str, Any]]] = [("item", ID), ("title", TITLE)]
    columns += [*([("category", TITLE)] if category else []), "modality", ">choices", ">noise", "below"]
    shown = table([*columns, *([">mean probability"] if roomy else [])])
    for line in frame.to_dict("records"):
        noise, mean = Text(percent(line["noise"])), percent(line["mean_probability"])
        below = Text(_below(line["below"], significant=line["clearly"]), style="" if line["clearly"] else "dim")
        if line["modality"] in uninformative:
            noise, mean, below = no_answer(), "-", Text("-", style="dim")
        names = [line["item_id"], or_dash(line["title"]), *([or_dash(line["category"])] if category else [])]
        counted = (line["modality"], count(line["interactions"]), noise, below)
        row(shown, *names, *counted, *([mean] if roomy else []))
    return shown


def _below(deviations: float, *, significant: bool) -> str:
    """Return how far an item lies below what is typical, in words, with a question mark if that may be chance."""
    size = abs(deviations)
    if size < 0.5:
        return "typical"
    words = "far " if size >= 2 else "clearly " if size >= 1.5 else "slightly "
    return f"{words}{'below' if deviations > 0 else 'above'}{'' if significant else '?'}"
