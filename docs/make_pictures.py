"""Draw the picture of the README from a finished demo: `.venv/bin/python docs/make_pictures.py demo`."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from rich.console import Console

from demure.demo.run import illustrative_user
from demure.diagnosis.tables import user_view
from demure_cli.views.user import user_table

WIDTH = 112
CHOICES = 7


def main(demo: Path, out: Path) -> None:
    """Write `demure inspect RUN --user U` of the demo's example user, the first choices, to ``out`` as SVG."""
    run = demo / "runs" / "demure"
    user = illustrative_user(pd.read_parquet(demo / "noise-demure.parquet"))
    view = user_view(run, user, top=CHOICES)
    with open("/dev/null", "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(f"[bold]$ demure inspect {run} --user {user} --top {CHOICES}[/bold]\n")
        console.print(user_table(view, WIDTH, pictures=True))
    out.write_text(console.export_svg(title="demure inspect", unique_id="demure"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent / "inspect.svg")
