"""`demure extractors`: the encoders, and which of them run here without a download."""

from __future__ import annotations

from demure_cli.command import command, view


@command(view("extractors"))
def extractors() -> object:
    """List the encoders of texts and images, and which of them run here without a download."""
    from demure.extraction.available import list_extractors

    return {"extractors": list_extractors()}
