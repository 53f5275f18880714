"""Write the tables of docs/recipes.md from the schema: `.venv/bin/python docs/make_recipes.py`."""

from __future__ import annotations

from pathlib import Path

from demure.baselines.reference import reference

PAGE = Path(__file__).with_name("recipes.md")
MARK = "<!-- from here on written by docs/make_recipes.py -->\n"


def page(text: str) -> str:
    """Return ``text`` with everything below the mark replaced by the tables of the schema."""
    return text.partition(MARK)[0] + MARK + "\n" + reference()


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
