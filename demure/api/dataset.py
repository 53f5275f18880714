"""``demure.Dataset``: a dataset folder as pandas frames."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from demure.api.drawing import card
from demure.data import dataset as folder
from demure.data.titles import item_titles
from demure.images.files import ImageFolder
from demure.storage.folders import local_folder

if TYPE_CHECKING:
    import pandas as pd


class Dataset(folder.Dataset):
    """A dataset folder that `demure prepare` wrote: ``Dataset.load("shop")``; ``items`` and ``interactions`` are pandas
    frames."""

    @classmethod
    def load(cls, path: Path | str) -> Dataset:
        """Open a dataset folder, also at a URL. Raises ``DatasetError`` if ``path`` is not one, has another version, or
        is damaged."""
        dataset = super().load(local_folder(path))
        return cls(dataset.path, dataset.manifest)

    @cached_property
    def interactions(self) -> pd.DataFrame:
        """Columns user_id, item_id, split, and timestamp (seconds since 1970) and rating if the data has them."""
        frame: pd.DataFrame = self.files.table("interactions.parquet").to_pandas()
        return frame

    @cached_property
    def titles(self) -> dict[str, str]:
        """Item -> the first of title, text and description that the items have; "" for an item without it."""
        return item_titles(self.items)

    @cached_property
    def _pictures(self) -> dict[str, str]:
        if "image" not in self.items.columns:
            return {}
        pictured = self.items.dropna(subset="image")
        return dict(zip(pictured["item_id"], pictured["image"], strict=True))

    def picture(self, item_id: str) -> Path | None:
        """Return the picture file of an item; None if it has none, or none below ``images_root``."""
        name, root = self._pictures.get(item_id), self.images_root
        if name is None or root is None:
            return None
        return ImageFolder(root).find(name)

    def _repr_html_(self) -> str:
        counts = {name.replace("_", " "): f"{count:,}" for name, count in self.manifest.counts.to_dict().items()}
        return card(
            f"Dataset {self.path}",
            {**counts, "modalities": ", ".join(self.modalities()) or "none yet: extract them", "order": self._order()},
        )

    def _order(self) -> str:
        return "by timestamps" if self.has_time else "none: histories are sets"
