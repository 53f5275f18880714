"""What the commands that make something print: what was made, and what a reader should know about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demure_cli.looks import count, facts, heading, number, row, table
from demure_cli.terminal import terminal

if TYPE_CHECKING:
    from demure.report.build import Report
    from demure.training.recommend import Recommended


def show_recommended(result: Recommended) -> None:
    terminal.result(
        facts([("written", result.written), ("users", count(result.users)), ("rows", count(result.rows))]), ""
    )
    if not result.preview.empty:
        titled = "title" in result.preview.columns
        columns: list[Any] = [">rank", ("item", {"no_wrap": True, "max_width": 16})]
        columns += [("title", {"no_wrap": True, "ratio": 1})] if titled else []
        shown = table([*columns, ">score", "because"])
        for line in result.preview.to_dict("records"):
            title = [line["title"] or "-"] if titled else []
            row(shown, line["rank"], line["item_id"], *title, number(line["score"], 3), line["because"])
        terminal.result(heading(f"For user {result.preview['user_id'].iloc[0]}"), shown)


def show_report(result: Report) -> None:
    users = count(result.users)
    if result.users < result.users_total:
        users += f" of {count(result.users_total)}, spread evenly over the ids"
    size = f"{result.bytes / 1e6:.1f} MB"
    terminal.result(
        facts([("written", result.report), ("size", size), ("users", users), ("pictures", count(result.pictures))])
    )
    terminal.note("open it in a browser; it needs no network")
