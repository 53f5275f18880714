"""Print `demure inspect --interests`: what users look at, by modality, and one interest in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from demure_cli.output.characters import safe
from demure_cli.output.pictures import PICTURE_WIDTH, picture
from demure_cli.output.rows import first_rows, more_rows
from demure_cli.output.style import aside, count, facts, heading, or_dash, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import ID, TITLE, bar, sentences

if TYPE_CHECKING:
    from rich.console import RenderableType

    from demure.diagnosis.interests.view import Interest
    from demure.diagnosis.tables import InterestsView, InterestView

_ROOMY = 110
_NAMED_EXAMPLES = 3
_LEGEND = (
    "share: of all choices, those that the interest explains (in a wide terminal with its 95 % interval); user share: "
    "of all users, those with a point of interest in it; examples: the items most chosen for it"
)


def show_interests(view: InterestsView) -> None:
    """Print a sentence about the largest interests, and a table of all."""
    from demure.diagnosis.interests.sentences import hidden_sentences

    terminal.result(*sentences(view.summary), "")
    if view.matched != view.total:
        terminal.result(Text(f"{count(view.matched)} of these {count(view.total)} interests meet the conditions."), "")
    if view.interests:
        interests = first_rows(view.interests)
        terminal.result(_table(view, interests), *more_rows(len(interests), view.matched), aside(_legend(view)))
    terminal.result(*(aside(sentence) for sentence in hidden_sentences(view)))
    terminal.note("more: demure inspect RUN --interests 'image 1' for one interest with its items and users")


def _legend(view: InterestsView) -> str:
    growth = (
        "; growth: of the share in percentage points, later half of the choices against the earlier, ~: not certain"
    )
    together = "; together: what its users also choose by" if terminal.width >= _ROOMY else ""
    return _LEGEND + together + (growth if view.over_time else "")


def _table(view: InterestsView, interests: Sequence[Interest]) -> RenderableType:
    from demure.diagnosis.interests.sentences import together_phrases

    roomy = terminal.width >= _ROOMY
    columns: list[object] = ["interest", ("name", {"overflow": "fold", "min_width": 16})]
    columns += [">share", ">user share", *([">growth"] if view.over_time else [])]
    columns += [("examples", {"no_wrap": True, "min_width": 16})]
    columns += [("together", {"overflow": "fold"})] if roomy else []
    shown = table(columns)  # type: ignore[arg-type]
    for entry in interests:
        interval = f" ({100 * entry.low:.1f}-{100 * entry.high:.1f})" if roomy else ""
        change = [_change(entry.growth, steady=entry.trend == "steady")] if view.over_time else []
        examples = ", ".join(example.title or example.item_id for example in entry.examples[:_NAMED_EXAMPLES])
        together = [*together_phrases(entry)[:1], ""][:1] if roomy else []
        label = f"{entry.modality} {entry.number}"
        row(
            shown,
            label,
            entry.name,
            _percent(entry.share) + interval,
            _percent(entry.user_share),
            *change,
            examples,
            *together,
        )
    return shown


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _change(growth: float | None, *, steady: bool) -> Text:
    if growth is None:
        return Text("-", style="dim")
    return Text(f"{100 * growth:+.1f}{'~' if steady else ''}", style="dim" if steady else "")


def show_interest(view: InterestView) -> None:
    """Print one interest: what it is, its items with pictures where the terminal shows them, and its users."""
    from demure.diagnosis.interests.sentences import interest_sentences, together_phrases

    entry = view.interest
    words = [("words", ", ".join(entry.words))] if entry.words else []
    colours = [("colours", ", ".join(entry.colours))] if entry.colours else []
    together = [("users also choose", "; ".join(together_phrases(entry)))] if entry.together else []
    terminal.result(*sentences(interest_sentences(entry)), "")
    terminal.result(facts([("interest", f"{entry.modality} {entry.number}"), *words, *colours, *together]), "")
    pictures = terminal.shows_pictures
    columns: list[object] = [("", {"width": PICTURE_WIDTH, "no_wrap": True})] if pictures else []
    shown = table([*columns, ("item", ID), ("title", TITLE), ">choices for it", ">of all its choices"])  # type: ignore[list-item]
    for example in entry.examples:
        cells = [picture(example.picture)] if pictures else []
        numbers = (f"{example.choices:.1f}", count(example.interactions))
        row(shown, *cells, example.item_id, or_dash(example.title), *numbers)
    terminal.result(heading("Items most chosen for it"), shown, "")
    users = table([("user", ID), ">choices for it", ">of all their choices", ">share"])
    for user in view.top_users:
        choices, total = f"{user['choices']:.1f}", count(user["interactions"])
        row(users, user["user_id"], choices, total, _percent(user["share"]))
    terminal.result(heading("Users who choose most for it"), users)
    if len(view.over_time) > 1:
        largest = max(period["share"] for period in view.over_time)
        periods = table(["time", ">choices", ">share", ""])
        for period in view.over_time:
            drawn = bar(period["share"] / largest, 1.0) if largest else Text("")
            row(periods, safe(period["period"]), count(period["interactions"]), _percent(period["share"]), drawn)
        terminal.result("", heading("Over time"), periods)
