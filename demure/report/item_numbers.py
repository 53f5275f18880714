"""Numbers of items in a page: places in its table of items, in the order in which they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demure.report.payload import UserBody


class ItemRegistry:
    """The items of a table in the order in which they were first used."""

    def __init__(self) -> None:
        self._place: dict[int, int] = {}

    def place(self, code: int) -> int:
        """Return the place in the table of the item with this code in the diagnosis."""
        return self._place.setdefault(int(code), len(self._place))

    @property
    def codes(self) -> list[int]:
        """The codes of the items so far."""
        return list(self._place)


class ItemCodes(ItemRegistry):
    """Leaves the codes as they are: for details of users that a page takes later, in its own order."""

    def place(self, code: int) -> int:
        """Return the code."""
        return int(code)


def place_items(body: UserBody, items: ItemRegistry) -> UserBody:
    """Return details that hold codes with their places in ``items``, to which they are added: the choices first, then
    the items that each verdict names."""
    history = body["history"]
    if not history:
        return {**body}
    places = [items.place(code) for code in history["item"]]
    verdicts: dict[str, dict[str, Any]] = history["verdicts"]
    named: dict[str, list[list[int]]] = {name: [] for name in verdicts}
    for row in zip(*(columns["items"] for columns in verdicts.values()), strict=True):
        for name, codes in zip(named, row, strict=True):
            named[name].append([items.place(code) for code in codes])
    placed = {name: {**columns, "items": named[name]} for name, columns in verdicts.items()}
    return {**body, "history": {**history, "item": places, "verdicts": placed}}
