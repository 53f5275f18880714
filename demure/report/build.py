"""`demure report`: one HTML file that needs nothing from the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demure.cluster.executor import LOCAL, Executor
from demure.diagnosis.reader import DiagnosisReader
from demure.errors import DemureError
from demure.files import atomic_file
from demure.progress import Listener, Progress, silent
from demure.report.budget import select_users
from demure.report.overview import page_content
from demure.report.page import packed_plotly, render_page, script_json
from demure.report.payload import PayloadBuilder, to_columns
from demure.report.thumbnails import Thumbnailer, thumbnails

MEGABYTE = 1_000_000
_MAX_ROWS = 600_000
_PAGE_BYTES = 250_000  # templates, charts and tables
_WORK_ITEM_BYTES = 5000


@dataclass(frozen=True)
class Report:
    """The file of the page, its size, and how many users, items and pictures of the run it holds."""

    run: str
    report: str
    bytes: int
    users: int
    users_total: int
    items: int
    pictures: int
    pictures_unreadable: int = 0


def report(
    run: Path | str,
    out: Path | str,
    *,
    megabytes: float = 9.5,
    truth: Path | str | None = None,
    compare: Sequence[Path | str] = (),
    recommend: bool = True,
    listener: Listener = silent,
    executor: Executor = LOCAL,
) -> Report:
    """Write the page of a run to ``out``; users and pictures are left out where it would exceed ``megabytes``.

    ``truth``: a file with the true causes of the choices, for the calibration; ``compare``: runs on the same split to
    show beside this one; ``recommend``: whether to show what each user would be recommended; ``executor``: where the
    details of the users are made. Raises as ``DiagnosisReader.open`` and ``page_content``, and ``DemureError`` if
    ``out`` is not an .html file or not writable.
    """
    out = Path(out)
    if out.suffix not in (".html", ".htm"):
        raise DemureError("the report is an HTML page", where=out, remedy="give a name that ends in .html")
    if out.is_dir():
        raise DemureError("is a folder", where=out, remedy="give the name of a file")
    reader = DiagnosisReader.open(run)
    listener(Progress("report", 0, 3, {"now": "overview"}))
    content = page_content(reader, truth=truth, compare=compare, listener=listener)
    builder = PayloadBuilder(reader, content.interests.profiles)
    bytes_left = int(megabytes * MEGABYTE) - len(packed_plotly()) - _PAGE_BYTES
    listener(Progress("report", 1, 3, {"now": "histories"}))
    sample = select_users(
        builder,
        at_most_bytes=max(bytes_left // 3, 200_000),
        at_most_rows=_MAX_ROWS,
        recommend=recommend,
        listener=listener,
        executor=executor,
    )
    items = sample.items
    leading = [*content.interests.example_ids, *content.work.item_ids]
    for item in leading:
        if item in builder.table.item_code:  # an item that nobody chose has no page
            items.place(builder.table.item_code[item])
    similar = {items.place(code): rows for code, rows in builder.similar(items.codes, items).items()}
    codes = items.codes
    ids = [str(builder.table.item_ids[code]) for code in codes]
    rows = [builder.item(code, text, "") for code, text in zip(codes, builder.texts(codes), strict=True)]
    findings = {place: content.work.findings[item] for place, item in enumerate(ids) if item in content.work.findings}
    data = {
        "users": to_columns(sample.users),
        "bodies": sample.packed,
        "items": to_columns(rows),
        "similar": similar,
        "findings": findings,
        "interests": content.interests.details,
    }
    bytes_left -= len(script_json(data).encode())
    # Items of the work list are in the page twice: once for readers without scripts.
    bytes_left -= _WORK_ITEM_BYTES * len(content.work.item_ids)
    thumbnailer = Thumbnailer()
    first_ids = list(dict.fromkeys([*leading, *ids]))  # where not all fit, the first screen keeps its pictures
    addresses = thumbnails(reader.pictures(first_ids), max(bytes_left, 0), listener, thumbnailer)
    pictures = dict(zip(first_ids, addresses, strict=True))
    listener(Progress("report", 2, 3, {"now": "page"}))
    for row in rows:
        row["picture"] = pictures[row["id"]]
    data["items"] = to_columns(rows)
    text = render_page(reader, content, data, pictures, sample)
    with atomic_file(out) as part:
        part.write_text(text, encoding="utf-8")
    listener(Progress("report", 3, 3))
    return Report(
        run=str(run),
        report=str(out),
        bytes=len(text.encode()),
        users=len(sample.users),
        users_total=sample.total,
        items=len(rows),
        pictures=sum(1 for picture in pictures.values() if picture),
        pictures_unreadable=thumbnailer.n_unreadable,
    )
