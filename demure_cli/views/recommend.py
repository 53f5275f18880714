"""Print the result of `demure recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from demure_cli.output.style import count, facts, heading, number, or_dash, row, table
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
    terminal.result(
        facts([("written", result.written), ("users", count(result.users)), ("rows", count(result.rows))]), ""
    )
    if not result.preview.empty:
        titled = "title" in result.preview.columns
        columns: list[str | tuple[str, dict[str, Any]]] = [">rank", ("item", {"no_wrap": True, "max_width": 16})]
        columns += [("title", {"no_wrap": True, "ratio": 1})] if titled else []
        shown = table([*columns, ">score", "because of"])
        for line in result.preview.to_dict("records"):
            title = [or_dash(line["title"])] if titled else []
            row(shown, line["rank"], line["item_id"], *title, number(line["score"], 3), line["because"])
        terminal.result(heading(f"For user {result.preview['user_id'].iloc[0]}"), shown)
    terminal.notes(result.notes)
