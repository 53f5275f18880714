"""Print `demure inspect --modality`: the verdicts on one modality, by segment, and its items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import aside, count, facts, heading, no_answer, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import ITEMS_LEGEND, KINDS, bar, items_table, sentences

if TYPE_CHECKING:
    from demure.diagnosis.tables import ModalityView


def show_modality(view: ModalityView) -> None:
    """Print the shares of verdicts, the distribution of probabilities, segments, and items."""
    choices = f"of {count(int(view.shares['interactions']))} choices"
    pairs: list[tuple[str, object]] = [
        ("point of interest", f"{percent(view.shares['poi'])} {choices}"),
        ("noise", percent(view.shares["noise"])),
        ("missing", percent(view.shares["missing"])),
        ("relied on most by", f"{count(view.users)} of {count(view.users_total)} users"),
    ]
    if not view.explains:
        pairs = [("point of interest", no_answer()), ("missing", f"{percent(view.shares['missing'])} {choices}")]
    if view.summary:
        terminal.result(*sentences(view.summary), "")
    terminal.result(facts([("modality", view.modality), *pairs]), "")
    if not view.explains:
        return
    largest = max(view.histogram)
    shown = table([">probability", ">choices", ""])
    for k, size in enumerate(view.histogram):
        row(shown, f"{k / 10:.1f} to {(k + 1) / 10:.1f}", count(size), bar(size / largest, 1.0) if largest else "")
    terminal.result(heading("Distribution of the probability of a point of interest"), shown, "")
    for kind, frame in view.by.items():
        shown = table([(kind, {"overflow": "fold"}), ">choices", ">point of interest", ""])
        for line in frame.to_dict("records"):
            row(shown, line["segment"], count(line["interactions"]), percent(line["poi"]), bar(line["poi"], 1.0))
        terminal.result(heading(f"By {KINDS[kind]}"), shown, "")
    terminal.result(heading(f"Items with this modality ({count(len(view.items))} of {count(view.items_total)})"))
    terminal.result(items_table(view.items), aside(ITEMS_LEGEND))
