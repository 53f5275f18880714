"""The role of each column, whatever a data set calls it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from demure.data.nested import normalize_name
from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.suggest import did_you_mean, nearest

# Columns of 0 and 1, where 0 says that the user did not choose the item.
FLAG_NAMES = ("label", "isclick", "isclicked", "click", "clicked", "clk")
# As ``normalize_name`` gives them; of several columns of a file, the one whose name comes first here has the role.
NAMES = {
    "user_id": ["userid", "user", "uid", "visitorid", "reviewerid", "customerid", "memberid", "accountid", "username"],
    "item_id": [
        "itemid", "item", "iid", "parentasin", "asin", "movieid", "productid", "articleid", "videoid", "bookid", "isbn",
        "trackid", "songid", "businessid", "sku", "product", "movie", "video", "book", "gmapid", "newsid", "gameid",
        "appid", "recipeid", "animeid", "listingid", "poiid", "venueid",
    ],
    "timestamp": [
        "timestamp", "time", "ts", "unixreviewtime", "unixtime", "unixtimestamp", "datetime", "eventtime", "createdat",
        "date", "tdat", "timestampms", "timems", "reviewtime", "dateadded", "dateupdated", "reviewdate", "reviewedat",
        "ratedat", "eventdate", "eventtimestamp", "orderdate", "purchasedate", "invoicedate", "clickedat",
        "watchedat", "viewedat",
    ],
    "rating": ["rating", "overall", "ratings", "stars", "score", "bookrating", "movierating", "userrating",
               "reviewrating", "starrating", "reviewoverall", "reviewscore", "ratingvalue"],
    "event": ["event", "eventtype", "eventname", "eventaction", "action", "actiontype", "behavior", "behaviour",
              "behaviortype", "behaviourtype", "interactiontype", "activity", "activitytype", "feedbacktype", "type",
              *FLAG_NAMES],
    "split": ["split", "xlabel"],
    "image": ["image", "imagepath", "imagefile", "images", "img", "poster", "posterpath", "picture", "imageurlhighres",
              "imageurl", "imurl", "imageurll", "imageurlm", "imageurls"],
    "audio": ["audio", "audiopath", "audiofile", "audiofilename", "audiourl", "previewurl", "mp3"],
    "video": ["video", "videopath", "videofile", "videofilename", "videourl", "trailer", "trailerurl", "mp4"],
}  # fmt: skip
ITEM_ID_NAMES = [*NAMES["item_id"], "id"]
TEXT_NAMES = {
    "title": [
        "title",
        "name",
        "movietitle",
        "itemname",
        "productname",
        "prodname",
        "booktitle",
        "itemtitle",
        "producttitle",
        "videotitle",
        "articletitle",
        "newstitle",
        "headline",
        "trackname",
        "songname",
        "gamename",
    ],
    "description": ["description", "desc", "detaildesc", "itemdescription", "productdescription", "bookdescription"],
}
ALWAYS_TEXT = {
    *TEXT_NAMES["title"], *TEXT_NAMES["description"], "text", "genres", "genre",
    "categories", "category", "tags", "brand", "author", "artist", "plot", "overview", "summary", "caption",
}  # fmt: skip
# Sums over all time of the users' interactions with an item: a model that has them has seen the held-out part.
BEHAVIOUR_NAMES = {
    "related", "alsobuy", "alsobought", "alsoview", "alsoviewed", "boughttogether", "buyafterviewing", "similaritem",
    "salesrank", "rank", "bestsellersrank", "averagerating", "avgrating", "ratingnumber", "ratingcount",
    "ratingscount", "reviewcount", "reviews", "numreviews", "numratings", "popularity", "likes", "views",
    "viewnumber", "purchases", "similarbooks", "similarproducts", "similaritems", "similarmovies", "similar",
    "popularshelves", "scoredby", "favorites", "favourites", "downloads", "sales", "votes", "plays", "clicks",
    "shares", "comments", "checkins", "stars", "userrating", "userscore", "imdbrating", "imdbscore", "reviewscore",
    "owners", "listeners", "bookmarks", "orders", "playcount", "peakccu", "voteaverage", "weightedscore", "salerank",
}  # fmt: skip
_DEEDS = (
    "rating|review|vote|like|dislike|view|play|download|sale|purchase|click|share|comment|favou?rite|bookmark|watch"
    "|listener|member|owner|follower|order|checkin|recommendation|install|user|customer|repost|reaction"
)
# Counts and means of what users did: ``text_reviews_count``, ``num_likes``, ``totalSales``, ``averageUserRating``.
_SUMMARY = re.compile(
    rf"^(?:(?:avg|average|mean|num|no|number|n|total|sum|count)(?:of)?(?:user|text|work|customer)?(?:{_DEEDS})s?"
    rf"|(?:text|work|user|all)?(?:{_DEEDS})s?(?:count|counts|counter|number|num|total|avg|average|mean|sum|rank))$"
)
DATE_NAMES = {
    "date", "releasedate", "releaseyear", "year", "publicationdate", "publicationyear", "published", "datepublished",
    "yearofpublication", "originalpublicationyear", "pubdate", "datefirstavailable", "firstavailable", "createdat",
    "created", "listedat", "uploaddate", "publishtime",
}  # fmt: skip
_SHORT_ROLES = {"user": "user_id", "item": "item_id", "time": "timestamp"}
_ITEM_ROLES = ("item_id", "image", "audio", "video", "title", "description", "text")
_INTERACTION_ROLES = ("user_id", "item_id", "timestamp", "rating", "event", "split")
_INTERACTION_NAMES = {name for role in _INTERACTION_ROLES for name in (*NAMES[role], normalize_name(role))}
_ROLES_WITH_DIGITS = ("user_id", "item_id", "timestamp", "rating")
_ENCODED_NAMES = {
    name for role in ("user_id", "item_id", "event", "split") for name in (*NAMES[role], normalize_name(role))
}


def _is_name_above_digits(first_row: Sequence[str], next_rows: Sequence[Sequence[str]], index: int) -> bool:
    """Return whether the column ``index`` has a word without digits in the first row, and digits in the next rows."""
    values = [row[index] for row in (first_row, *next_rows) if index < len(row)]
    name, *others = values or [""]
    return _is_word(name) and len(others) > 1 and not any(map(_is_word, others))


def _is_word(value: str) -> bool:
    return bool(value.strip()) and not any(char.isdigit() for char in value)


def names_users_and_items(fields: Sequence[str]) -> bool:
    """Return whether ``fields`` are the names of columns, one of users and one of items among them."""
    names = {normalize_name(field) for field in fields}
    return all(names & {normalize_name(role), *NAMES[role]} for role in ("user_id", "item_id"))


def is_behaviour(name: str) -> bool:
    """Return whether a column of items sums up what users did, by its name."""
    word = normalize_name(name)
    return word in BEHAVIOUR_NAMES or bool(_SUMMARY.match(word))


def columns_by_role(options: Mapping[str, str]) -> dict[str, str]:
    """Return ``--columns`` as role -> column: ``{"user": "visitorid"}`` is ``{"user_id": "visitorid"}``.

    Raises ``DataError`` for an unknown role, and for two columns of one role.
    """
    roles = {**_SHORT_ROLES, **{role: role for role in (*_INTERACTION_ROLES, *_ITEM_ROLES)}}
    roles |= {f"items.{name}": f"items.{role}" for name, role in roles.items() if role in _ITEM_ROLES}
    columns: dict[str, str] = {}
    for name, column in options.items():
        role = roles.get(name.strip().lower())
        if role is None:
            suggestion = did_you_mean(name, roles)
            hint = f"; {suggestion}" if suggestion else ""
            remedy = (
                "use user, item, timestamp, rating, event, split, image, audio, video, title, description, text, or "
                "items.item"
            )
            raise DataError(f"unknown role {name!r}{hint}", where="--columns", remedy=remedy)
        if role in columns:
            raise DataError(f"two columns for {role}", where="--columns", remedy="name one")
        columns[role] = column
    double = next((role for role in columns if role != "item_id" and f"items.{role}" in columns), None)
    if double is not None:
        raise DataError(f"two columns for {double} of the items", where="--columns", remedy="name one")
    return columns


@dataclass(frozen=True)
class ColumnSelection:
    """The columns to read of a file: of interactions the columns that may have a role, of items all.

    Attributes:
        column_of_role: role -> the file's name for it, or its position from 1 in a file without a header.
        items: whether the file has items, not interactions.
        encoding: of a text file; detected where None.
        quotes: what quotation marks mean in delimited text, of ``QUOTES``.
        skips_rows: whether rows of another length are skipped and counted.
        has_types: whether names end in a type (``item_id:token``).
        files: the kinds of files whose names are a column of the items.
        of_dataset: whether ``column_of_role`` is how the files of a prepared dataset were read: a later file may also
            call a column by its role, and histories need no more than users and items.
        sink: takes the rows of text batch by batch, instead of the table; the batches may lack columns.
    """

    column_of_role: Mapping[str, str] = field(default_factory=dict)
    items: bool = False
    encoding: str | None = None
    quotes: str = "auto"
    skips_rows: bool = False
    has_types: bool = False
    of_dataset: bool = False
    files: tuple[str, ...] = ("image",)
    sink: Callable[[pa.Table], None] | None = None

    @property
    def last_place(self) -> int:
        """Return the last of the places of this file's columns; 0 where all are names."""
        return max((int(column) for column in self._own_columns() if column.isdecimal()), default=0)

    def includes(self, name: str) -> bool:
        """Return whether a column is read, by its name after ``rename``."""
        return self.items or normalize_name(name) in _INTERACTION_NAMES

    def may_use(self, name: str) -> bool:
        """Return whether anything is made of a column, by its name after ``rename``."""
        return not is_behaviour(name) if self.items else self.includes(name)

    def is_encoded(self, name: str) -> bool:
        """Return whether a column is read as codes, because its values repeat."""
        return not self.items and normalize_name(name) in _ENCODED_NAMES

    def has_header(self, first_row: Sequence[str], next_rows: Sequence[Sequence[str]] = ()) -> bool:
        """Return whether ``first_row`` has the names of the columns.

        It does where ``column_of_role`` has no places, where a name is that of a role, and where it has words without
        digits above ids, times and ratings with digits in the ``next_rows``.
        """
        places = self._places(first_row)
        if not places or self.has_types or (not self.items and names_users_and_items(first_row)):
            return True
        normalized = {place: normalize_name(name) for place, name in enumerate(first_row, start=1)}
        if any(normalized.get(int(place)) in self._names(role) for role, place in places.items()):
            return True
        indices = [int(place) - 1 for role, place in places.items() if role in _ROLES_WITH_DIGITS]
        return bool(indices) and all(_is_name_above_digits(first_row, next_rows, index) for index in indices)

    def rename(
        self, names: Sequence[str], path: Path, findings: Findings, first_row: Sequence[str] | None = None
    ) -> list[str]:
        """Return the names of the columns, where each column of ``column_of_role`` has the name of its role.

        ``first_row``: of a text, in which columns may be named by their places. Raises ``DataError`` for a column that
        the file does not have.
        """
        shown = list(names)
        names = [name.rpartition(":")[0] or name for name in names] if self.has_types else list(names)
        places = {} if first_row is None else self._places(first_row)
        role_of, absent = {}, dict[str, str]()
        for role, column in (places or self._of_this_file()).items():
            if column in names and not places:
                role_of[column] = role
            elif places and 1 <= int(column) <= len(names):
                role_of[names[int(column) - 1]] = role
            elif (role != "item_id" or column != self._shared_item()) and not (self.of_dataset and role in names):
                absent[role] = column
        self._refuse_absent(absent, shown, path)
        source = "in the files of the dataset" if self.of_dataset else "--columns says"
        for column, role in role_of.items():
            findings.note(f"{path.name}: column {column!r} is taken as {role}, as {source}")
        taken = set(role_of.values())
        return [role_of.get(name) or (f"{name}, not used" if name in taken else name) for name in names]

    def _refuse_absent(self, absent: Mapping[str, str], shown: Sequence[str], path: Path) -> None:
        """Raise ``DataError`` if the file needs one of the columns that it does not have, by role."""
        if self.of_dataset and not self.items:
            absent = {role: column for role, column in absent.items() if role in ("user_id", "item_id")}
        if not absent:
            return
        columns = ", ".join(repr(column) for column in absent.values())
        problem = f"has no column {columns} (there are: {_shown(shown)})"
        if self.of_dataset:
            remedy = f"name them as in the files of the dataset, or {', '.join(absent)}"
            raise DataError(problem, where=path, remedy=remedy)
        role, column = next(iter(absent.items()))
        role = f"items.{role}" if self.items and f"items.{role}" in self.column_of_role else role
        raise DataError(problem, where=path, remedy=f"check --columns {role}={column}")

    def _names(self, role: str) -> list[str]:
        names = ITEM_ID_NAMES if self.items and role == "item_id" else NAMES.get(role, TEXT_NAMES.get(role, []))
        return [*names, normalize_name(role)]

    def _shared_item(self) -> str | None:
        """Return the column of items that is stated for the interactions: the items may have another one."""
        return self.column_of_role.get("item_id") if self.items and "items.item_id" not in self.column_of_role else None

    def _places(self, first_row: Sequence[str]) -> dict[str, str]:
        """Return role -> place from 1 where the columns of this file are places; empty where they are names.

        The place of the items in the interactions is none in the items file, unless another column of it has a place.
        """
        columns, own = self._of_this_file(), self._own_columns()
        is_numbered = any(list(first_row) == [str(k + first) for k in range(len(first_row))] for first in (0, 1))
        if not own or is_numbered or not all(column.isdecimal() for column in own):
            return {}
        return {role: column for role, column in columns.items() if column.isdecimal()}

    def _own_columns(self) -> list[str]:
        is_shared = self._shared_item() is not None
        return [column for role, column in self._of_this_file().items() if role != "item_id" or not is_shared]

    def _of_this_file(self) -> dict[str, str]:
        roles = _ITEM_ROLES if self.items else _INTERACTION_ROLES
        columns = {role: column for role, column in self.column_of_role.items() if role in roles}
        if self.items:
            columns |= {
                role: self.column_of_role[f"items.{role}"] for role in roles if f"items.{role}" in self.column_of_role
            }
        return columns


def role_candidates(columns: Sequence[str], role: str, *, items: bool = False) -> list[str]:
    """Return the ``columns`` that may have ``role`` by their names, the most likely first."""
    if role in columns:
        return [role]
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(normalize_name(column), column)
    names = ITEM_ID_NAMES if items and role == "item_id" else NAMES[role]
    return [by_name[name] for name in names if name in by_name]


def find_column(
    columns: Sequence[str], role: str, path: Path, findings: Findings, *, items: bool = False
) -> str | None:
    """Return the one of ``columns`` that has ``role``, or None; a guess is noted."""
    candidates = role_candidates(columns, role, items=items)
    if not candidates:
        return None
    note_choice(candidates[0], candidates, role, path, findings)
    return candidates[0]


def note_choice(column: str, candidates: Sequence[str], role: str, path: Path, findings: Findings) -> None:
    """Note that ``column`` has ``role``, and not the other ``candidates``, unless its name is that of the role."""
    others = [candidate for candidate in candidates if candidate != column]
    instead_of = f" (not {', '.join(map(repr, others))})" if others else ""
    if column != role:
        findings.note(f"{path.name}: column {column!r} is taken as {role}{instead_of}")


def require_column(columns: Sequence[str], role: str, path: Path, findings: Findings, *, items: bool = False) -> str:
    """Return the column as ``find_column`` does; raise ``DataError`` with the names of the columns if there is none."""
    column = find_column(columns, role, path, findings, items=items)
    if column is None:
        by_lower_case: dict[str, str] = {}
        for name in columns:
            by_lower_case.setdefault(name.lower(), name)
        similar = nearest(role, [name.lower() for name in columns], cutoff=0.7)
        hint = f"; did you mean {by_lower_case[similar]!r}?" if similar else ""
        short = next((name for name, long in _SHORT_ROLES.items() if long == role), role)
        remedy = f"name one of the columns {role}, or say --columns {'items.' if items else ''}{short}=NAME"
        if items:
            remedy += "; without a header say the places: --columns items.item=1,items.title=2"
        elif any(re.fullmatch(r"[\d.]+", name) for name in columns):
            remedy += "; without a header say the places: --columns user=1,item=2"
        raise DataError(f"has no column {role} (there are: {_shown(columns)}){hint}", where=path, remedy=remedy)
    return column


def _shown(columns: Sequence[str]) -> str:
    return ", ".join(repr(column) for column in columns[:12]) + (", ..." if len(columns) > 12 else "")
