"""`demure extractors`: the encoders, and which of them run here without a download."""

from __future__ import annotations

from typing import Any

from demure_cli.command import command


def _show(result: Any) -> None:
    from demure_cli.views.making import show_extractors

    show_extractors(result)


@command(_show)
def extractors() -> Any:
    """List the encoders for texts and images, with which of them can run here without a download."""
    from demure.extraction.catalogue import list_extractors

    return {"extractors": list_extractors()}
