"""Print the result of `demure recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from demure_cli.output.style import count, facts, heading, or_dash, row, table
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    from demure.runs.recommend import RecommendReport


def show(result: RecommendReport) -> None:
    """Print what the scores are made of, the file, and the items of the first user."""
    from demure.diagnosis.recommended import describe_scores
    from demure.runs.manifest import read_manifest

    made_of = describe_scores(read_manifest(Path(result.run)))
    if made_of:
        terminal.result(Text(made_of), "")
    if not result.preview.empty:
        titled = "title" in result.preview.columns
        columns: list[str | tuple[str, dict[str, Any]]] = [">rank", ("item", {"no_wrap": True, "max_width": 16})]
        columns += [("title", {"no_wrap": True, "min_width": 12})] if titled else []
        shown = table([*columns, "because of"])
        for line in result.preview.to_dict("records"):
            title = [or_dash(line["title"])] if titled else []
            row(shown, line["rank"], line["item_id"], *title, line["because"])
        terminal.result(heading(f"For user {result.preview['user_id'].iloc[0]}, the first ones"), shown, "")
    terminal.result(
        facts(
            [("users", count(result.users)), ("rows", f"{count(result.rows)}, with scores"), ("file", result.written)]
        )
    )
    terminal.notes(result.notes)
