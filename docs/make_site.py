"""Build the documentation as a site in build/site: `make docs`.

README is its home page. The pages keep their places, so that their links also work where the repository is read. The
commands and the Python interface are written from the code, the tutorial in a notebook from the notebook.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "build" / "site-source"
PYTHON_PAGE = """# Python interface

```python
import demure
```

::: demure.Run

::: demure.Dataset

::: demure.prepare

::: demure.extract

::: demure.train

::: demure.compare

::: demure.WeightedChoices

::: demure.DemureError
"""


def commands_page() -> str:
    """Return the help of every command as Markdown, written by Typer."""
    typer = [
        sys.executable,
        "-m",
        "typer",
        "demure_cli.app",
        "utils",
        "docs",
        "--name",
        "demure",
        "--title",
        "Commands",
    ]
    return subprocess.run(typer, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def notebook_page(notebook: Path) -> str:
    """Return the texts, the code and the printed results of a notebook as Markdown."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        texts = [output.get("text") or output.get("data", {}).get("text/plain") for output in cell["outputs"]]
        parts += [f"```text\n{''.join(text).rstrip()}\n```" for text in texts if text]
    return "\n\n".join(parts) + "\n"


def stage() -> None:
    """Write the sources of the site."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    (SOURCE / "docs").mkdir(parents=True)
    shutil.copy(ROOT / "README.md", SOURCE / "index.md")
    for name in ("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"):
        shutil.copy(ROOT / name, SOURCE / name)
    pages = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".md", ".svg", ".webp", ".ipynb")]
    for path in sorted([*pages, *(ROOT / "benchmarks").rglob("*.md")]):
        target = SOURCE / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (SOURCE / "docs" / "commands.md").write_text(commands_page(), encoding="utf-8")
    (SOURCE / "docs" / "python.md").write_text(PYTHON_PAGE, encoding="utf-8")
    (SOURCE / "docs" / "notebook.md").write_text(notebook_page(ROOT / "docs" / "quickstart.ipynb"), encoding="utf-8")


def main() -> None:
    """Stage the sources and build; a link that leads nowhere is an error."""
    stage()
    site = ["build", "--clean", "--strict"]
    sys.exit(subprocess.run([str(Path(sys.executable).with_name("zensical")), *site], cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
