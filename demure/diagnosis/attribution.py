"""What in the text and what in the picture of an item mattered for a choice, by occlusion.

Each word is taken away, the rest is encoded again, and the density ratio of the choice is compared with that of the
whole text, given the user's other choices. With the built-in ``tfidf`` that is exact for each word. Where an encoder is
slow and a text long, sentences come first, and then the words of the best sentences. Each part of a picture is replaced
by the picture's median colour, and shown alone on it: its effect is the mean of what is lost and what is gained, as in
a Shapley value, since half of an object can be as good as the whole.

Shape suffixes: N variants, T positions of the history, M modalities, G = ``GRID`` cells of a side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demure.diagnosis.content_effects import MATTERS, WORD, PictureEffects, TextEffects, WordEffect
from demure.diagnosis.heat_map import open_picture, write_side_by_side
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.user import Choice, user_history
from demure.errors import DemureError, FeatureError
from demure.progress import Listener, Progress, silent

if TYPE_CHECKING:
    from PIL import Image

    from demure.model.variants import ChoiceVariants
    from demure.runs.load import LoadedRun
    from demure.runs.new_content import ContentEncoder

GRID = 8
"""Cells of a side into which a picture is divided."""
_SIZES = (4, 2)  # of the parts, in cells: coarse and fine
_MANY_WORDS, _BEST_SENTENCES = 60, 3  # of a text, for encoders that are not built in
_MOST_WORDS = 400
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")


@dataclass(frozen=True)
class ChoiceExplanation:
    """What mattered for the choice of ``user_id``: its verdicts, its texts and pictures, and in ``notes`` what cannot
    be shown."""

    run: str
    user_id: str
    item_id: str
    choice: Choice
    texts: list[TextEffects] = field(default_factory=list)
    pictures: list[PictureEffects] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def explain_choice(
    run: Path | str | DiagnosisReader,
    user_id: str,
    item_id: str,
    *,
    out: Path | str | None = None,
    device: str = "auto",
    listener: Listener = silent,
) -> ChoiceExplanation:
    """Return which words and which parts of the picture of ``item_id`` mattered for the choice of ``user_id``.

    ``run``: also the diagnosis of other histories (``demure.diagnosis.history``). Of several choices of the item the
    last counts. ``out``: a PNG file for the picture beside its heat map. Raises ``RunError`` for an unknown user, or an
    item that the user did not choose; ``DemureError`` for another ``out``.
    """
    check_picture_out(out)
    explainer = ChoiceExplainer(DiagnosisReader.of(run), device)
    return explainer.explain(user_id, item_id, out=None if out is None else Path(out), listener=listener)


def check_picture_out(out: Path | str | None) -> None:
    """Raise ``DemureError`` for a file ``out`` that is not a PNG file by its name."""
    if out is not None and Path(out).suffix.lower() != ".png":
        raise DemureError("the heat map is a PNG file", where=out, remedy="give a name that ends in .png")


class ChoiceExplainer:
    """Explains choices that ``reader`` has; the encoders, and the model unless it is ``loaded``, are loaded once, when
    they are first needed."""

    def __init__(self, reader: DiagnosisReader, device: str = "auto", loaded: LoadedRun | None = None) -> None:
        self.reader, self.device, self._loaded = reader, device, loaded

    @cached_property
    def _encoder(self) -> ContentEncoder:
        from demure.runs.load import load_run
        from demure.runs.new_content import ContentEncoder

        return ContentEncoder(self._loaded or load_run(self.reader.run, self.device), self.device)

    def explain(
        self, user_id: str, item_id: str, *, out: Path | None = None, listener: Listener = silent
    ) -> ChoiceExplanation:
        """Return the explanation of a choice; arguments and errors as of :func:`explain_choice`."""
        reader = self.reader
        history = user_history(reader, user_id)
        chosen = [choice for choice in history if choice.item_id == item_id]
        if not chosen:
            if item_id not in reader.item_rows:
                raise reader.unknown_id("item", item_id)
            kind = "training choice" if reader.origin == reader.run else "choice"
            problem = f"user {user_id!r} has no {kind} of item {item_id!r}"
            raise DemureError(problem, where=reader.origin, remedy=f"`--user {user_id}` lists the choices")
        explanation = ChoiceExplanation(str(reader.run), user_id, item_id, chosen[-1])
        if len(chosen) > 1:
            explanation.notes.append(f"chosen {len(chosen)} times: this is the last of them")
        _Occlusion(reader, self._encoder, history, chosen[-1], listener).explain(explanation, out)
        return explanation


class _Occlusion:
    """Takes parts of the content of one choice away."""

    def __init__(
        self,
        reader: DiagnosisReader,
        encoder: ContentEncoder,
        history: list[Choice],
        choice: Choice,
        listener: Listener,
    ) -> None:
        self.reader, self.encoder, self.choice, self.listener = reader, encoder, choice, listener
        self.row = reader.item_rows[choice.item_id]
        self.variants = self._variants(history)

    def _variants(self, history: list[Choice]) -> ChoiceVariants:
        import torch

        from demure.model.variants import ChoiceVariants

        denoiser = self.encoder.denoiser
        kept = _around(len(history), history.index(self.choice))
        items_T = torch.tensor([self.reader.item_rows[choice.item_id] for choice in history[kept]])
        r_TM = torch.tensor(
            [[choice.verdicts[name].poi_probability for name in self.encoder.modalities] for choice in history[kept]]
        )
        target_device = denoiser.popularity_I.device
        position = history.index(self.choice) - kept.start
        return ChoiceVariants(denoiser, items_T.to(target_device), r_TM.to(target_device), position)

    def explain(self, explanation: ChoiceExplanation, out: Path | None) -> None:
        """Add the effects of every modality."""
        for m, name in enumerate(self.encoder.modalities):
            self.listener(Progress("explain", m, len(self.encoder.modalities)))
            verdict = self.choice.verdicts[name]
            if verdict.missing:
                explanation.notes.append(f"{name}: the item has none")
                continue
            if name in self.reader.placebos.cannot_tell:
                explanation.notes.append(f"{name}: cannot tell, its features explain no more than shuffled ones")
                continue
            try:
                kind = self.encoder.encoder(name).kind
            except FeatureError as error:
                explanation.notes.append(f"{name}: {error.problem}, so there is nothing to show in it")
                continue
            if kind == "text":
                explanation.texts.append(self._words(m, name))
            elif kind == "image":
                picture = self._picture(m, name, out)
                if picture is None:
                    explanation.notes.append(f"{name}: the picture cannot be read")
                else:
                    explanation.pictures.append(picture)
            else:
                columns = ", ".join(self.encoder.encoder(name).columns)
                explanation.notes.append(f"{name}: made of the columns {columns}; there is nothing more to show in it")
        self.listener(Progress("explain", len(self.encoder.modalities), len(self.encoder.modalities)))
        if out is not None and not any(effects.written for effects in explanation.pictures):
            explanation.notes.append(f"{out} was not written: there is no picture to explain")

    def _words(self, m: int, name: str) -> TextEffects:
        from demure.extraction.inputs import text_inputs

        frame = self.encoder.loaded.dataset.items.iloc[[self.row]]
        inputs = text_inputs(frame, [name for name in self.encoder.encoder(name).columns if name in frame.columns])
        text = str(inputs.load(0))

        def left(texts: Sequence[str]) -> np.ndarray:
            rows = np.full(len(texts) + 1, self.row)
            content = self.encoder.encode_texts(name, [text, *texts], rows)
            return self._left(m, content.coordinates, content.present)

        words: dict[str, list[tuple[int, int]]] = {}
        for match in WORD.finditer(text):
            words.setdefault(match.group().lower(), []).append(match.span())
        if len(words) > _MANY_WORDS and not self._is_built_in(name):
            words = _within(words, _best_sentences(text, left))
        chosen = list(words.items())[:_MOST_WORDS]
        shares = left([_without(text, spans) for _, spans in chosen])
        effects = [WordEffect(word, len(spans), float(e)) for (word, spans), e in zip(chosen, shares, strict=True)]
        return TextEffects(name, text, sorted(effects, key=lambda effect: effect.left))

    def _is_built_in(self, name: str) -> bool:
        return str((self.reader.manifest.features or {}).get(name, {}).get("encoder", "")).startswith("tfidf")

    def _picture(self, m: int, name: str, out: Path | None) -> PictureEffects | None:
        path = self.reader.pictures([self.choice.item_id])[0]
        image = None if path is None else open_picture(path)
        if image is None:
            return None
        boxes, pixels = _boxes(), np.asarray(image, np.float32)
        # The median is the ground of most pictures; the mean is a colour of its own: see benchmarks/LOG.md.
        plain = np.broadcast_to(np.median(pixels.reshape(-1, 3), axis=0), pixels.shape)
        hidden = [_paste(plain, pixels, box) for box in boxes]
        alone = [_paste(pixels, plain, box) for box in boxes]
        images = [image, *hidden, *alone, _paste(plain, plain, boxes[0])]
        content = self.encoder.encode_images(name, images, np.full(len(images), self.row))
        left = self._left(m, content.coordinates, content.present)
        lost, gained = -np.log(left[: len(boxes)]), np.log(left[len(boxes) : -1] / left[-1])
        grid = _heat(boxes, (lost + gained) / 2)
        row, column = np.unravel_index(grid.argmax(), grid.shape)
        written = None
        if out is not None:
            write_side_by_side(image, grid, out)
            written = str(out)
        around = [box[0] <= row < box[0] + box[2] and box[1] <= column < box[1] + box[2] for box in boxes]
        least = float(left[: len(boxes)][around].min())
        place = _place(int(row), int(column)) if least < MATTERS else ""
        return PictureEffects(name, str(path), grid.round(4).tolist(), place, least, written)

    def _left(self, m: int, coordinates: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Return the share (N,) of the density ratio of the first row that is left in each of the others."""
        import torch

        ratios = self.variants.ratios(m, torch.as_tensor(coordinates), torch.as_tensor(present)).cpu().numpy()
        left: np.ndarray = ratios[1:] / ratios[0]
        return left


def _around(length: int, position: int, most: int = 2000) -> slice:
    """Return at most ``most`` positions of a long history around ``position``."""
    start = max(0, min(position - most // 2, length - most))
    return slice(start, min(length, start + most))


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    parts, start = [], 0
    for first, stop in spans:
        parts.append(text[start:first])
        start = stop
    return "".join([*parts, text[start:]])


def _best_sentences(text: str, left: Callable[[Sequence[str]], np.ndarray]) -> list[tuple[int, int]]:
    """Return the spans of the sentences without which the least of the evidence is left."""
    sentences = [match.span() for match in _SENTENCE.finditer(text)]
    order = np.argsort(left([_without(text, [span]) for span in sentences]), kind="stable")
    return [sentences[k] for k in order[:_BEST_SENTENCES]]


def _within(
    words: dict[str, list[tuple[int, int]]], sentences: Sequence[tuple[int, int]]
) -> dict[str, list[tuple[int, int]]]:
    """Return the words that occur in one of the ``sentences``."""
    return {
        word: spans
        for word, spans in words.items()
        if any(first <= span[0] < stop for span in spans for first, stop in sentences)
    }


def _boxes() -> list[tuple[int, int, int]]:
    """Return row, column and side, in cells, of the parts of the picture; those of one size overlap."""
    return [
        (row, column, side)
        for side in _SIZES
        for row in range(0, GRID - side + 1, side // 2)
        for column in range(0, GRID - side + 1, side // 2)
    ]


def _paste(part: np.ndarray, whole: np.ndarray, box: tuple[int, int, int]) -> Image.Image:
    """Return the picture ``whole`` with the pixels of ``part`` in ``box``."""
    from PIL import Image

    row, column, side = box
    height, width = whole.shape[:2]
    changed = whole.copy()
    rows = slice(row * height // GRID, -(-(row + side) * height // GRID))
    columns = slice(column * width // GRID, -(-(column + side) * width // GRID))
    changed[rows, columns] = part[rows, columns]
    return Image.fromarray(changed.round().astype(np.uint8))


def _heat(boxes: Sequence[tuple[int, int, int]], effect: np.ndarray) -> np.ndarray:
    """Return what each cell adds, (G, G) nats: the mean of the parts that cover it, each divided among its cells."""
    heat = np.zeros((GRID, GRID))
    for side in sorted({box[2] for box in boxes}):
        total, covered = np.zeros((GRID, GRID)), np.zeros((GRID, GRID))
        for (row, column, size), value in zip(boxes, effect, strict=True):
            if size == side:
                total[row : row + side, column : column + side] += value / side**2
                covered[row : row + side, column : column + side] += 1
        heat += total / np.maximum(covered, 1) / len(_SIZES)
    return heat


def _place(row: int, column: int) -> str:
    vertical = ("top", "middle", "bottom")[row * 3 // GRID]
    horizontal = ("left", "centre", "right")[column * 3 // GRID]
    return f"{vertical} {horizontal}"
