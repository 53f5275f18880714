"""Which column plays which role, whatever a data set calls it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from demure.data.problems import Findings
from demure.errors import DataError

# Compared without case, spaces and underscores; the earlier name wins where several are there.
NAMES = {
    "user_id": ["userid", "user", "uid", "visitorid", "reviewerid", "customerid", "memberid", "accountid", "username"],
    "item_id": [
        "itemid", "item", "iid", "parentasin", "asin", "movieid", "productid", "articleid", "videoid", "bookid", "isbn",
        "trackid", "songid", "businessid", "sku", "product", "movie", "video", "book", "gmapid",
    ],
    "timestamp": [
        "timestamp", "time", "ts", "unixreviewtime", "unixtime", "unixtimestamp", "datetime", "eventtime", "createdat",
        "date", "tdat", "timestampms",
    ],
    "rating": ["rating", "overall", "ratings", "stars", "score"],
    "split": ["split", "xlabel"],
    "image": ["image", "imagepath", "imagefile", "images", "img", "poster", "posterpath", "picture", "imageurlhighres",
              "imageurl", "imurl"],
}  # fmt: skip
ITEM_NAMES = [*NAMES["item_id"], "id"]
TEXTS = {"title": ["title", "name", "movietitle", "itemname", "productname"], "description": ["description", "desc"]}
ALWAYS_TEXT = {
    "title", "name", "movietitle", "itemname", "productname", "description", "desc", "text", "genres", "genre",
    "categories", "category", "tags", "brand", "author", "artist", "plot", "overview", "summary", "caption",
}  # fmt: skip
LISTS = {"genres", "genre", "categories", "category", "tags", "class", "moviegenres"}


def simple(name: str) -> str:
    """A column's name as it is compared: ``userID``, ``user_id`` and ``User ID`` are the same."""
    return re.sub(r"[^0-9a-z]", "", name.lower())


def find(columns: Sequence[str], role: str, path: Path, findings: Findings, *, items: bool = False) -> str | None:
    """The column of ``columns`` that plays ``role``, or None; a guess is noted."""
    names = ITEM_NAMES if items and role == "item_id" else NAMES[role]
    if role in columns:
        return role
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(simple(column), column)
    found = next((by_name[name] for name in names if name in by_name), None)
    if found is not None:
        others = [by_name[name] for name in names if name in by_name and by_name[name] != found]
        instead = f" (not {', '.join(map(repr, others))})" if others else ""
        findings.note(f"{path.name}: column {found!r} is taken as {role}{instead}")
    return found


def require(columns: Sequence[str], role: str, path: Path, findings: Findings, *, items: bool = False) -> str:
    """As ``find``; raises ``DataError`` with the columns that are there if none plays the role."""
    found = find(columns, role, path, findings, items=items)
    if found is None:
        shown = ", ".join(repr(column) for column in columns[:12]) + (", ..." if len(columns) > 12 else "")
        near = difflib.get_close_matches(role, [column.lower() for column in columns], n=1, cutoff=0.7)
        hint = next((f"; did you mean {column!r}?" for column in columns if near and column.lower() == near[0]), "")
        raise DataError(
            f"has no column {role} (there are: {shown}){hint}", where=path, remedy=f"name one of the columns {role}"
        )
    return found
