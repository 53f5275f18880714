"""Print `demure inspect --explain`: the words and the parts of the picture that mattered for one choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from demure_cli.output.characters import safe
from demure_cli.output.pictures import picture
from demure_cli.output.style import aside, facts, heading, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import cell, sentences

if TYPE_CHECKING:
    from demure.diagnosis.attribution import ChoiceExplanation
    from demure.diagnosis.content_effects import PictureEffects, TextEffects

_SHADES = ".123456789"
_WORDS_LEGEND = (
    "[words] without which the text would speak less for this choice; each was taken away by itself, with the other "
    "choices of the user as they are"
)
_GRID_LEGEND = "the picture from above; 9: what matters most, .: what does not matter or speaks against the choice"


def show_explanation(view: ChoiceExplanation) -> None:
    """Print the choice, and what mattered in each modality."""
    title = view.choice.title or view.item_id
    terminal.result(facts([("user", view.user_id), ("choice", title), ("item", view.item_id)]))
    for effects in view.texts:
        _text(view, effects)
    for shown in view.pictures:
        _picture(view, shown)
    terminal.notes(view.notes)


def _title(view: ChoiceExplanation, modality: str) -> None:
    terminal.result("", Text.assemble(heading(modality), ": ", cell(view.choice.verdicts[modality])))


def _text(view: ChoiceExplanation, effects: TextEffects) -> None:
    _title(view, effects.modality)
    if not effects.strongest:
        terminal.result(_marked(effects), *sentences([effects.sentence]))
        return
    shown = table(["word", "without it, the text is"])
    for effect in effects.strongest:
        row(shown, effect.word, effect.sentence)
    terminal.result(_marked(effects), aside(_WORDS_LEGEND), shown)


def _marked(effects: TextEffects) -> Text:
    """Return the text with the words that matter in brackets, so that they are seen without colour."""
    shown = Text()
    for part, matters in effects.parts:
        if matters:
            shown.append(f"[{safe(part)}]", style="bold green")
        else:
            shown.append(" ".join(safe(line) for line in part.split("\n")))
    return shown


def _picture(view: ChoiceExplanation, effects: PictureEffects) -> None:
    _title(view, effects.modality)
    if terminal.shows_pictures:
        terminal.result(picture(effects.written or effects.picture))
    terminal.result(*sentences([effects.sentence]))
    largest = max(max(line) for line in effects.grid)
    shades = [[_shade(value, largest) for value in line] for line in effects.grid]
    terminal.result(*(Text("  " + " ".join(line)) for line in shades), aside(_GRID_LEGEND))
    if effects.written:
        terminal.result(facts([("heat map", effects.written)]))


def _shade(value: float, largest: float) -> str:
    share = max(value, 0.0) / largest if largest > 0 else 0.0
    return _SHADES[round(9 * share)]
