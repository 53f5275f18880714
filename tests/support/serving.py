"""A run that is served while a test asks."""

from __future__ import annotations

import json
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from demure.web.serve import Site


@contextmanager
def serving(run: Path, **options: Any) -> Iterator[Site]:
    """Serve ``run`` at any free port; ``options`` as of ``demure.web.serve.site``."""
    from demure.web.serve import site

    opened = site(run, port=0, **options)
    thread = threading.Thread(target=opened.serve, daemon=True)
    thread.start()
    try:
        yield opened
    finally:
        opened.stop()
        thread.join(10)


def ask(site: Site, path: str, **query: str) -> Any:
    """The JSON that the server answers."""
    with urllib.request.urlopen(f"{site.url}{path}?{urllib.parse.urlencode(query)}") as answer:
        return json.loads(answer.read())
