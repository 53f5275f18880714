"""Print `demure selftest`: what is found of the dealt content, in a sentence and in numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from demure_cli.output.style import aside, count, number, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import sentences

if TYPE_CHECKING:
    from rich.console import RenderableType

    from demure.training.selftest import SelfTest


def show(view: SelfTest) -> None:
    """Print a sentence for each modality, and the numbers behind it."""
    shown = table(["modality", ">items", ">dealt", ">tested", ">found", ">by chance", ">AUC", ">least to greatest"])
    for line in view.modalities:
        if math.isnan(line.auc):
            continue
        shares = [f"{100 * share:.0f} %" for share in (line.recall, line.chance)]
        span = f"{number(line.auc_low, 3)} to {number(line.auc_high, 3)}"
        row(
            shown,
            line.modality,
            count(line.items),
            count(line.dealt),
            f"{line.tested:.0f}",
            *shares,
            number(line.auc, 3),
            span,
        )
    legend = (
        f"{view.deals} deal{'s' if view.deals > 1 else ''} of {100 * view.share:g} % of the items. found: share of the "
        "dealt items with enough choices (tested) that are among the first so many of the list; AUC: the chance that a "
        "dealt item lies further below what is typical than another item, over all items with a choice"
    )
    parts: list[RenderableType] = [*sentences(line.sentence for line in view.modalities), ""]
    if shown.row_count:
        parts += [shown, aside(legend)]
    terminal.result(*parts)
