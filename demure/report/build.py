"""`demure report`: one HTML file that holds everything it needs and asks nothing of the network."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from demure import __version__
from demure.diagnosis import tables
from demure.diagnosis.source import VERDICTS, DiagnosisSource
from demure.errors import DemureError
from demure.files import atomic_file, read_json
from demure.progress import Listener, Progress, silent
from demure.report import charts, gather
from demure.report.thumbnails import thumbnails

MEGABYTE = 1_000_000
_MOST_ROWS = 600_000


@dataclass(frozen=True)
class Report:
    """The page: where it is, how large, and how much of the run it holds."""

    run: str
    report: str
    bytes: int
    users: int
    users_total: int
    pictures: int


def report(run: Path | str, out: Path | str, *, megabytes: float = 9.5, listener: Listener = silent) -> Report:
    """Write the page of a run to ``out``, at most ``megabytes`` large as far as users and pictures can give way.

    Raises as ``DiagnosisSource.open``, and ``DemureError`` if ``out`` is not an .html file or cannot be written.
    """
    out = Path(out)
    if out.suffix not in (".html", ".htm"):
        raise DemureError("the report is an HTML page", where=out, remedy="give a name that ends in .html")
    if out.is_dir():
        raise DemureError("is a folder", where=out, remedy="give the name of a file")
    source = DiagnosisSource.open(run)
    listener(Progress("report", 0, 3, {"now": "overview"}))
    seen = tables.overview(run)
    plotly = get_plotlyjs()
    left = int(megabytes * MEGABYTE) - len(plotly.encode()) - 150_000
    listener(Progress("report", 1, 3, {"now": "histories"}))
    columns = list(seen.reliance["modality"])
    told = gather.histories(source, columns, at_most_bytes=max(left // 3, 200_000), at_most_rows=_MOST_ROWS)
    flagged = [str(item) for item in seen.flagged["item_id"]]
    item_ids = list(dict.fromkeys([*told.item_ids, *flagged]))
    described = gather.texts(source, item_ids)
    catalogue: list[list[Any]] = [[item, title, text] for item, (title, text) in zip(item_ids, described, strict=True)]
    left -= len(told.packed) + len(_json([catalogue, told.users]).encode())
    pictures = thumbnails(picture_paths(source, item_ids), max(left, 0), listener)
    listener(Progress("report", 2, 3, {"now": "page"}))
    data = {
        "modalities": source.modalities,
        "reliance": columns,
        "verdicts": VERDICTS,
        "users": told.users,
        "histories": told.packed,
        "items": [[*item, picture] for item, picture in zip(catalogue, pictures, strict=True)],
        "charts": {chart: figure for chart, _, figure in _charts(source, seen)},
    }
    page = _render(source, seen, told, data, plotly, dict(zip(item_ids, pictures, strict=True)))
    with atomic_file(out) as part:
        part.write_text(page, encoding="utf-8")
    listener(Progress("report", 3, 3))
    shown = sum(1 for picture in pictures if picture)
    return Report(str(run), str(out), len(page.encode()), len(told.users), told.total, shown)


def picture_paths(source: DiagnosisSource, item_ids: list[str]) -> list[Path | None]:
    """The picture file of each item, or None: not given, not there, or outside the dataset's folder of images."""
    root = read_json(source.dataset / "dataset.json").get("images_root")
    if root is None or "image" not in source.items.columns:
        return [None] * len(item_ids)
    folder = Path(root).resolve()
    images = source.items.set_index(source.items["item_id"].astype(str))["image"].to_dict()

    def find(item: str) -> Path | None:
        name = images.get(item)
        if not isinstance(name, str) or not name:
            return None
        path = (folder / name).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None

    return [find(item) for item in item_ids]


def _charts(source: DiagnosisSource, seen: tables.Overview) -> list[tuple[str, str, dict[str, Any]]]:
    """(key, caption, figure) of every chart."""
    columns = list(seen.reliance["modality"])
    shown = [
        ("shares", "Share of interactions by verdict", charts.verdict_shares(seen.modalities)),
        ("probabilities", "How sure the verdicts are", charts.probabilities(_histogram(source))),
        ("reliance", "How much users rely on each", charts.reliance(source.reliance(), columns)),
    ]
    return shown + [(f"epochs{k}", title, figure) for k, (title, figure) in enumerate(charts.epochs(source.run))]


def _histogram(source: DiagnosisSource) -> dict[str, np.ndarray]:
    frame = source.diagnosis(["modality", "poi_probability", "verdict"]).to_pandas()
    frame = frame[frame["verdict"] != "missing"]
    edges = np.linspace(0, 1, 21)
    return {
        name: np.histogram(frame.loc[frame["modality"] == name, "poi_probability"].to_numpy(float), edges)[0]
        for name in source.modalities
    }


def _render(
    source: DiagnosisSource,
    seen: tables.Overview,
    told: gather.Histories,
    data: dict[str, Any],
    plotly: str,
    pictures: dict[str, str],
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("demure.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    payload = _json(data)
    recipe = source.run / "recipe.yaml"
    return environment.get_template("page.html.j2").render(
        version=__version__,
        seen=seen,
        told=told,
        pictures=pictures,
        charts={key: caption for key, caption, _ in _charts(source, seen)},
        verdicts=VERDICTS,
        palette=charts.PALETTE,
        grey=charts.NONE_COLOUR,
        manifest=json.dumps(source.manifest, indent=2, ensure_ascii=False),
        dataset_manifest=(source.dataset / "dataset.json").read_text(encoding="utf-8"),
        recipe=recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
        # The only text that goes in unescaped: ours, the library's, and JSON without a single angle bracket.
        plotly=Markup(plotly.replace("</script", "<\\/script")),
        data=Markup(payload),
        nonce=hashlib.sha256(payload.encode()).hexdigest()[:24],
    )


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, nor mean anything to an HTML parser."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
