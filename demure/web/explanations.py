"""What mattered in a choice, as the script of the page shows it."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from demure.diagnosis.attribution import ChoiceExplainer, ChoiceExplanation
from demure.diagnosis.content_effects import PictureEffects, TextEffects
from demure.diagnosis.heat_map import heat_map, open_picture
from demure.errors import DemureError


def explain(explainer: ChoiceExplainer, user: str, item: str) -> dict[str, Any]:
    """Return the explanation of a choice, or the ``problem`` for which there is none.

    ``texts``: ``modality``, ``parts`` (the text cut at its words: each a text and whether the choice rests on it) and
    ``sentence``; ``pictures``: ``modality``, ``heat`` (a data URI) and ``sentence``; ``notes``.
    """
    try:
        explanation = explainer.explain(user, item)
    except DemureError as error:
        return {"problem": str(error)}
    return _answer(explanation)


def _answer(explanation: ChoiceExplanation) -> dict[str, Any]:
    pictures = [_picture(effects) for effects in explanation.pictures]
    return {
        "texts": [_text(effects) for effects in explanation.texts],
        "pictures": [answer for answer in pictures if answer is not None],
        "notes": explanation.notes,
    }


def _text(effects: TextEffects) -> dict[str, Any]:
    return {"modality": effects.modality, "parts": effects.parts, "sentence": effects.sentence}


def _picture(effects: PictureEffects) -> dict[str, Any] | None:
    image = open_picture(Path(effects.picture))
    if image is None:  # it has gone meanwhile
        return None
    buffer = io.BytesIO()
    heat_map(image, np.array(effects.grid)).save(buffer, "JPEG", quality=80)
    heat = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
    return {"modality": effects.modality, "heat": heat, "sentence": effects.sentence}
