"""What an item is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("title", "text", "description")


def item_titles(items: pd.DataFrame) -> dict[str, str]:
    """Return item id -> the first of title, text and description that ``items`` has, or "" where the item has none.

    The result is empty if ``items`` has none of these columns.
    """
    column = next((name for name in _COLUMNS if name in items.columns), None)
    if column is None:
        return {}
    return dict(zip(items["item_id"].astype(str), items[column].fillna("").astype(str), strict=True))
