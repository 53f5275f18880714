"""Print the result of `demure extractors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import count, heading, row, table
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    from demure.extraction.available import ListedFamily


def show(result: dict[str, list[ListedFamily]]) -> None:
    """Print the families of encoders, and their models that run here and that need a download."""
    shown = table(["family", "encodes", ("description", {"ratio": 2}), ("on this machine", {"ratio": 1})])
    shown.expand = True
    for family in result["extractors"]:
        row(shown, family.family, ", ".join(family.encodes), family.about, family.state)
    terminal.result(heading("Encoders for `demure extract --text`, `--image` and `--attributes`"), shown)
    models = [model for family in result["extractors"] for model in family.models]
    for title, available in (("Runs here without a download", True), ("Recommended for download", False)):
        shown = table([("encoder", {"overflow": "fold"}), ">dim", ">MB", *(["where"] if available else [])])
        for model in models:
            if (model.where != "download") == available:
                size = "-" if model.bytes is None else count(round(model.bytes / 1e6))
                about = "about " if model.approximate else ""
                dim = "-" if model.dim is None else count(model.dim)
                row(shown, model.name, dim, about + size, *([model.where] if available else []))
        terminal.result("", heading(title), shown)
    terminal.note(
        "other models: family:owner/model from the hub, clip:ARCHITECTURE/TAG of open_clip, or family:/path/to/folder"
    )
