"""What the checks of the work list share: the words, pictures, choices and features of every item, by row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from demure.diagnosis.flagging import deviations
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.worklist.item_texts import ItemTexts
from demure.features.kinds import Noun, noun

_SNIPPET = 300  # characters


@dataclass(frozen=True)
class Contents:
    """The items of a run, row k for the k-th item of the dataset (I of them), and where their content is."""

    reader: DiagnosisReader

    @cached_property
    def item_ids(self) -> list[str]:
        """(I,) ids."""
        return [str(item) for item in self.reader.items["item_id"]]

    @cached_property
    def choices(self) -> np.ndarray:
        """(I,) training choices."""
        table = self.reader.table
        counts = dict(zip(map(str, table.item_ids), table.item_counts.tolist(), strict=True))
        return np.array([counts.get(item, 0) for item in self.item_ids], np.int64)

    @cached_property
    def texts(self) -> ItemTexts:
        """The texts of every item."""
        names = self.reader.dataset_manifest.text_columns
        return ItemTexts.of(self.reader.items, names or list(self.reader.items.columns))

    @property
    def columns(self) -> dict[str, list[str]]:
        """``ItemTexts.columns``."""
        return self.texts.columns

    @property
    def normalized(self) -> dict[str, list[str]]:
        """``ItemTexts.normalized``."""
        return self.texts.normalized

    @property
    def prose(self) -> list[str]:
        """``ItemTexts.prose``."""
        return self.texts.prose

    def whole_texts(self) -> list[str]:
        """Return (I,) all texts of each item in one, without differences of case."""
        return [" ".join(filter(None, parts)) for parts in zip(*self.normalized.values(), strict=True)] or [""] * len(
            self.item_ids
        )

    def snippet(self, row: int) -> str:
        """Return the words of an item: its description, else all its texts but the title, at most 300 characters."""
        parts = [self.columns[name][row] for name in self.prose if self.columns[name][row]]
        if not parts:
            parts = [texts[row] for name, texts in self.columns.items() if name != "title" and texts[row]]
        text = " · ".join(parts)
        return text if len(text) <= _SNIPPET else text[: _SNIPPET - 1].rsplit(" ", 1)[0] + "…"

    @cached_property
    def pictures(self) -> list[Path | None]:
        """(I,) picture files; None where an item has none."""
        return self.reader.pictures(self.item_ids)

    @cached_property
    def deviations(self) -> pd.DataFrame:
        """The rows of :func:`demure.diagnosis.flagging.deviations`, by (item_id, modality)."""
        return deviations(self.reader).set_index(["item_id", "modality"], drop=False)

    @cached_property
    def typical_probability(self) -> dict[str, float]:
        """Mean probability of a point of interest over the choices whose item has the modality."""
        table = self.reader.table
        return {
            name: float(table.probability[table.present[:, m], m].mean(dtype=np.float64))
            for m, name in enumerate(table.modalities)
            if table.present[:, m].any()
        }

    def kind_of(self, modality: str) -> str:
        """Return ``image``, ``text`` or another word for what a modality's features were made of."""
        return next((entry.kind for entry in self.reader.placebos.modalities if entry.name == modality), modality)

    def noun(self, modality: str) -> Noun:
        """Return what users call the content of a modality."""
        return noun(self.kind_of(modality), modality)

    def modality_of(self, kind: str) -> str:
        """Return the modality made of texts or of images; ``kind`` itself where the run has none."""
        return next((entry.name for entry in self.reader.placebos.modalities if entry.kind == kind), kind)

    def name(self, row: int) -> str:
        """Return the title, or the id of an item without one."""
        item = self.item_ids[row]
        return self.reader.titles.get(item, "") or item

    def cost(self, item_id: str, modality: str) -> float | None:
        """Return how many more of an item's choices its modality would explain if it were like those of other items;
        None where it was not diagnosed or explains nothing anywhere."""
        if modality in self.reader.placebos.cannot_tell or (item_id, modality) not in self._means:
            return None
        mean, count = self._means[item_id, modality]
        return float(max(0.0, self.typical_probability[modality] - mean) * count)

    @cached_property
    def _means(self) -> dict[tuple[str, str], tuple[float, float]]:
        """(Item id, modality) -> mean probability of a point of interest, and number of choices."""
        names = ["item_id", "modality", "mean_probability", "interactions"]
        rows = zip(*(self.deviations[name].tolist() for name in names), strict=True)
        return {(item, modality): (float(mean), float(count)) for item, modality, mean, count in rows}
