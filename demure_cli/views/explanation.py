"""Print `demure inspect --explain`: the words and the parts of the picture that mattered for one choice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.text import Text

from demure_cli.output.characters import safe
from demure_cli.output.pictures import picture
from demure_cli.output.style import aside, facts, heading, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import cell, sentences

if TYPE_CHECKING:
    from demure.diagnosis.attribution import ChoiceExplanation, PictureEffects, TextEffects, WordEffect

_LISTED = 8
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
    strong = {effect.word for effect in effects.words if effect.matters}
    terminal.result(_marked(effects.text, strong), *([aside(_WORDS_LEGEND)] if strong else []))
    best = [effect for effect in effects.words if effect.matters][:_LISTED]
    if not best:
        terminal.result(*sentences(["No single word matters: the text without it speaks as much for the choice."]))
        return
    shown = table(["word", "without it, the text is"])
    for effect in best:
        row(shown, effect.word, _sentence(effect))
    terminal.result(shown)


def _sentence(effect: WordEffect) -> str:
    return f"{percent(effect.left)} as much evidence"


def _marked(text: str, strong: set[str]) -> Text:
    """Return the text with the words that matter in brackets, so that they are seen without colour."""
    shown = Text()
    for part in re.split(r"(\w+(?:['’-]\w+)*)", text):
        if part.lower() in strong:
            shown.append(f"[{safe(part)}]", style="bold green")
        else:
            shown.append(" ".join(safe(line) for line in part.split("\n")))
    return shown


def _picture(view: ChoiceExplanation, effects: PictureEffects) -> None:
    _title(view, effects.modality)
    if terminal.shows_pictures:
        terminal.result(picture(effects.written or effects.picture))
    largest = max(max(line) for line in effects.grid)
    if effects.place:
        left = f"without it, the picture is {percent(effects.left)} as much evidence"
        sentence = f"What matters most is {effects.place}: {left}."
    else:
        sentence = "No single part matters: the picture without it speaks as much for the choice."
    terminal.result(*sentences([sentence]))
    shades = [[_shade(value, largest) for value in line] for line in effects.grid]
    terminal.result(*(Text("  " + " ".join(line)) for line in shades), aside(_GRID_LEGEND))
    if effects.written:
        terminal.result(facts([("heat map", effects.written)]))


def _shade(value: float, largest: float) -> str:
    share = max(value, 0.0) / largest if largest > 0 else 0.0
    return _SHADES[round(9 * share)]
