"""Draw the pictures of the README from a finished demo: `.venv/bin/python docs/make_pictures.py demo`.

The picture of the interests needs Chromium.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd
from PIL import Image
from rich.console import Console

from demure.demo.run import illustrative_user
from demure.diagnosis.tables import user_view
from demure.report.build import report
from demure_cli.views.user import user_table

WIDTH = 112
CHOICES = 7
PAGE_WIDTH = 1180  # pixels
INTERESTS = 6  # of each modality
# Keeps the headings, and the first interests of each modality.
_SHORTEN = """(count) => {
  for (const gallery of document.querySelectorAll(".gallery")) {
    for (const card of [...gallery.children].slice(count)) card.remove();
  }
  for (const small of document.querySelectorAll("#interests > .small")) small.remove();
}"""


def draw_history(demo: Path, out: Path) -> None:
    """Write `demure inspect RUN --user U` of the demo's example user, the newest choices, to ``out`` as SVG."""
    run = demo / "runs" / "demure"
    user = illustrative_user(pd.read_parquet(demo / "noise-demure.parquet"))
    view = user_view(run, user, top=CHOICES)
    with open("/dev/null", "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(f"[bold]$ demure inspect {run} --user {user} --top {CHOICES} --long[/bold]\n")
        console.print(user_table(view, WIDTH, pictures=True))
    out.write_text(console.export_svg(title="demure inspect", unique_id="demure"), encoding="utf-8")


def draw_interests(run: Path, out: Path) -> None:
    """Write the interests of the page of ``run``, the first of each modality, to ``out`` as WebP."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "page.html"
        report(run, page, recommend=False)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": PAGE_WIDTH, "height": 900}, color_scheme="light")
        view.goto(page.as_uri())
        view.wait_for_selector("html[data-ready=true]")
        view.evaluate(_SHORTEN, INTERESTS)
        picture = view.locator("#interests").screenshot()
        browser.close()
    Image.open(io.BytesIO(picture)).save(out, "WEBP", quality=82)


def main(demo: Path, folder: Path) -> None:
    """Write both pictures to ``folder``."""
    draw_interests(demo / "runs" / "demure", folder / "interests.webp")
    draw_history(demo, folder / "inspect.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent)
