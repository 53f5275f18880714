"""Print the result of `demure export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import count, facts, heading, number, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views import verdict_export

if TYPE_CHECKING:
    from demure.serving.export import ExportReport
    from demure.serving.verdicts import VerdictExport


def show(result: ExportReport | VerdictExport) -> None:
    """Print what was written, the checks against the run, the files, and the indexes."""
    from demure.serving.verdicts import VerdictExport

    if isinstance(result, VerdictExport):
        verdict_export.show(result)
        return
    checked = [
        f"{check.what} of {check.users} users within {check.difference:.1g} of their spread, {percent(check.same_top)} "
        f"of the first {check.top} the same"
        for check in result.checks
    ]
    terminal.result(
        facts(
            [
                ("written", result.out),
                ("model", result.model),
                *([("new items", f"{count(result.new_items)}, the last in item_ids.json")] if result.new_items else []),
                *(("contains", part) for part in result.holds),
                *(("does not contain", part) for part in result.lacks),
                *(("checked", sentence) for sentence in checked),
            ]
        )
    )
    files = table([("file", {"overflow": "fold"}), ">MB"])
    for name, size in result.files.items():
        row(files, name, number(size / 1e6, 2))
    terminal.result("", files)
    if result.indexes:
        shown = table(["index", ">items", ">dim", ">recall", ">k", ">build s", ">exact ms", ">index ms"])
        for index in result.indexes:
            times = (number(index.build_seconds, 1), number(index.exact_ms, 2), number(index.approximate_ms, 2))
            row(shown, index.file, count(index.items), index.dim, number(index.recall), index.k, *times)
        terminal.result("", heading("Approximate search, compared with exact search"), shown)
    terminal.notes(result.notes)
