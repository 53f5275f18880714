"""Which column plays which role, whatever a data set calls it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from demure.data.nested import simple
from demure.errors import DataError
from demure.prepare.problems import Findings

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
TEXTS = {
    "title": ["title", "name", "movietitle", "itemname", "productname", "prodname"],
    "description": ["description", "desc", "detaildesc"],
}
ALWAYS_TEXT = {
    *TEXTS["title"], *TEXTS["description"], "text", "genres", "genre",
    "categories", "category", "tags", "brand", "author", "artist", "plot", "overview", "summary", "caption",
}  # fmt: skip
# What users did with an item, summed over all time: to learn from it is to learn from the held-out part.
OF_BEHAVIOUR = {
    "related", "alsobuy", "alsobought", "alsoview", "alsoviewed", "boughttogether", "buyafterviewing", "similaritem",
    "salesrank", "rank", "bestsellersrank", "averagerating", "avgrating", "ratingnumber", "ratingcount", "ratingscount",
    "reviewcount", "reviews", "numreviews", "numratings", "popularity", "likes", "views", "viewnumber", "purchases",
}  # fmt: skip
DATES = {
    "date", "releasedate", "releaseyear", "year", "publicationdate", "publicationyear", "published", "datepublished",
    "datefirstavailable", "firstavailable", "createdat", "created", "listedat", "uploaddate", "publishtime",
}  # fmt: skip
_ASKED = {"user": "user_id", "item": "item_id", "time": "timestamp"}
_OF_ITEMS = ("item_id", "image", "title", "description", "text")
_OF_INTERACTIONS = ("user_id", "item_id", "timestamp", "rating", "split")
_WANTED = {name for role in _OF_INTERACTIONS for name in (*NAMES[role], simple(role))}
_ENCODED = {name for role in ("user_id", "item_id", "split") for name in (*NAMES[role], simple(role))}


def names_both(fields: Sequence[str]) -> bool:
    """Whether these are names of columns, one of users and one of items among them."""
    known = {simple(field) for field in fields}
    return all(known & {simple(role), *NAMES[role]} for role in ("user_id", "item_id"))


def asked_columns(asked: Mapping[str, str]) -> dict[str, str]:
    """``--columns`` as role -> column: ``{"user": "visitorid"}`` is ``{"user_id": "visitorid"}``.

    Raises ``DataError`` for a role that there is not, or that is asked for twice.
    """
    roles = {**_ASKED, **{role: role for role in (*_OF_INTERACTIONS, *_OF_ITEMS)}}
    found: dict[str, str] = {}
    for name, column in asked.items():
        role = roles.get(name.strip().lower())
        if role is None:
            near = difflib.get_close_matches(name, roles, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            known = "user, item, timestamp, rating, split, image, title, description, text"
            raise DataError(f"unknown role {name!r}{hint}", where="--columns", remedy=f"use {known}")
        if role in found:
            raise DataError(f"two columns for {role}", where="--columns", remedy="name one")
        found[role] = column
    return found


@dataclass(frozen=True)
class Wanted:
    """What to read of a file: of interactions the columns that may play a role, of items all.

    ``columns``: role -> the file's own name for it, or its place from 1 in a file without a header. ``typed``: names
    end in a type (``item_id:token``).
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    items: bool = False
    encoding: str | None = None
    typed: bool = False

    def keep(self, name: str) -> bool:
        """Whether a column, by its name after ``named``, is read."""
        return self.items or simple(name) in _WANTED

    def encoded(self, name: str) -> bool:
        """Whether a column is read as codes, because its values come again and again."""
        return not self.items and simple(name) in _ENCODED

    def places(self, names: Sequence[str]) -> bool:
        """Whether ``columns`` are places in a file whose first line, ``names``, is no header."""
        asked = self._asked().values()
        numbered = any(list(names) == [str(k + first) for k in range(len(names))] for first in (0, 1))
        return bool(asked) and all(one.isdecimal() for one in asked) and not numbered

    def named(self, names: Sequence[str], path: Path, findings: Findings) -> list[str]:
        """The columns' names, with those that ``columns`` tells of under their role.

        Raises ``DataError`` for a column that is not there.
        """
        names = [name.rpartition(":")[0] or name for name in names] if self.typed else list(names)
        asked = self._asked()
        role_of = {}
        for role, column in asked.items():
            if column in names:
                role_of[column] = role
            elif not (self.items and role == "item_id"):  # the items may call it otherwise than the interactions
                shown = ", ".join(repr(name) for name in names[:12]) + (", ..." if len(names) > 12 else "")
                reason = f"has no column {column!r} (there are: {shown})"
                raise DataError(reason, where=path, remedy=f"check --columns {role}={column}")
        for column, role in role_of.items():
            findings.note(f"{path.name}: column {column!r} is taken as {role}, as --columns says")
        taken = set(role_of.values())
        return [role_of.get(name) or (f"{name}, not used" if name in taken else name) for name in names]

    def _asked(self) -> dict[str, str]:
        roles = _OF_ITEMS if self.items else _OF_INTERACTIONS
        return {role: column for role, column in self.columns.items() if role in roles}


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
        short = next((name for name, of in _ASKED.items() if of == role), role)
        remedy = f"name one of the columns {role}, or say --columns {short}=NAME"
        if any(re.fullmatch(r"[\d.]+", column) for column in columns):
            remedy += "; without a header say the places: --columns user=1,item=2"
        raise DataError(f"has no column {role} (there are: {shown}){hint}", where=path, remedy=remedy)
    return found
