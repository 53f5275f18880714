"""`demure report`: one HTML file that holds everything it needs and asks nothing of the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demure.diagnosis.reader import DiagnosisSource
from demure.errors import DemureError
from demure.files import atomic_file
from demure.progress import Listener, Progress, silent
from demure.report.budget import people
from demure.report.overview import shown
from demure.report.page import packed_plotly, page, script_json
from demure.report.payload import Gatherer, Registry
from demure.report.thumbnails import thumbnails

MEGABYTE = 1_000_000
_MOST_ROWS = 600_000
_PAGE = 250_000  # templates, charts and tables


@dataclass(frozen=True)
class Report:
    """The page: where it is, how large, and how much of the run it holds."""

    run: str
    report: str
    bytes: int
    users: int
    users_total: int
    items: int
    pictures: int


def report(
    run: Path | str,
    out: Path | str,
    *,
    megabytes: float = 9.5,
    truth: Path | str | None = None,
    compare: Sequence[Path | str] = (),
    recommend: bool = True,
    listener: Listener = silent,
) -> Report:
    """Write the page of a run to ``out``, at most ``megabytes`` large as far as users and pictures can give way.

    ``truth``: a file that knows what caused each choice, for the calibration; ``compare``: runs on the same split to
    show beside this one; ``recommend``: whether to show what each user would be recommended. Raises as
    ``DiagnosisSource.open`` and ``shown``, and ``DemureError`` if ``out`` is not an .html file or cannot be written.
    """
    out = Path(out)
    if out.suffix not in (".html", ".htm"):
        raise DemureError("the report is an HTML page", where=out, remedy="give a name that ends in .html")
    if out.is_dir():
        raise DemureError("is a folder", where=out, remedy="give the name of a file")
    source = DiagnosisSource.open(run)
    listener(Progress("report", 0, 3, {"now": "overview"}))
    seen = shown(source, truth=truth, compare=compare, listener=listener)
    gatherer = Gatherer(source)
    left = int(megabytes * MEGABYTE) - len(packed_plotly()) - _PAGE
    listener(Progress("report", 1, 3, {"now": "histories"}))
    told = people(
        gatherer,
        at_most_bytes=max(left // 3, 200_000),
        at_most_rows=_MOST_ROWS,
        recommend=recommend,
        listener=listener,
    )
    flagged = [str(item) for item in seen.overview.flagged["item_id"]]
    for item in flagged:
        told.items.place(gatherer.judged.item_code[item])
    compare_with = _comparisons(gatherer, told.items)
    codes = told.items.codes
    ids = [str(gatherer.judged.item_ids[code]) for code in codes]
    rows = [gatherer.item(code, text, "") for code, text in zip(codes, gatherer.texts(codes), strict=True)]
    left -= len(told.packed) + len(script_json([rows, told.users, compare_with]).encode())
    # The flagged items stand in the page twice: once for those who read it without scripts.
    left -= 5000 * len(flagged)
    pictures = thumbnails(source.pictures(ids), max(left, 0), listener)
    listener(Progress("report", 2, 3, {"now": "page"}))
    for row, picture in zip(rows, pictures, strict=True):
        row[3] = picture
    data = {
        "served": False,
        "users": told.users,
        "bodies": told.packed,
        "items": rows,
        "compare": compare_with,
        "total": told.total,
        "long": told.long,
        "drifted": told.drifted,
    }
    text = page(source, seen, data, dict(zip(ids, pictures, strict=True)))
    with atomic_file(out) as part:
        part.write_text(text, encoding="utf-8")
    listener(Progress("report", 3, 3))
    with_pictures = sum(1 for picture in pictures if picture)
    return Report(str(run), str(out), len(text.encode()), len(told.users), told.total, len(rows), with_pictures)


def _comparisons(gatherer: Gatherer, items: Registry) -> dict[str, Any]:
    """Item -> modality -> what ``Gatherer.compared`` tells of each."""
    judged = gatherer.judged
    found: dict[str, Any] = {}
    for (item, modality), others in gatherer.comparisons(items.codes).items():
        lines = [gatherer.compared(one, items) for one in others]
        if lines:
            place = str(items.place(judged.item_code[item]))
            found.setdefault(place, {})[str(judged.modalities.index(modality))] = lines
    return found
