"""Parse the values of options. Every function raises ``DemureError`` with the option, the value and an example."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from demure.errors import DemureError


def split_words(texts: Iterable[str] | None) -> list[str]:
    """Return ``["a,b", "c"]`` as ``["a", "b", "c"]``."""
    return [word.strip() for text in texts or () for word in text.split(",") if word.strip()]


def parse_cutoffs(text: str) -> list[int]:
    """Return ``"10,5"`` as ``[5, 10]``."""
    parts = split_words([text])
    wrong = [part for part in parts if not (part.isascii() and part.isdigit() and int(part) > 0)]
    if wrong or not parts:
        value = wrong[0] if wrong else text
        raise DemureError(f"{value!r} is not a whole number above zero", where="--k", remedy="for example --k 5,10,20")
    return sorted({int(part) for part in parts})


def parse_ratio(text: str) -> tuple[int, int, int]:
    """Return ``"80/10/10"`` as three numbers."""
    parts = text.split("/")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise DemureError(f"{text!r} is not A/B/C", where="--ratio", remedy="three parts of 100, for example 80/10/10")
    train, valid, test = map(int, parts)
    return train, valid, test


def parse_columns(options: Sequence[str] | None) -> dict[str, str]:
    """Return ``ROLE=NAME,...`` options as a dictionary."""
    pairs = (pair for option in options or () for pair in option.split(","))
    return dict(_named(pairs, "--columns", "ROLE=NAME", "user=visitorid", "one column per role"))


def parse_events(options: Sequence[str] | None) -> dict[str, float | None]:
    """Return ``EVENT,...`` or ``EVENT=WEIGHT,...`` options as event -> weight or None."""
    events: dict[str, float | None] = {}
    for word in split_words(options):
        name, equals, weight = (part.strip() for part in word.partition("="))
        try:
            number = float(weight) if equals else None
        except ValueError:
            number = math.nan
        if not name or (number is not None and not math.isfinite(number)):
            remedy = "for example view,addtocart or view=1,addtocart=3"
            raise DemureError(f"{word!r} is not EVENT or EVENT=WEIGHT", where="--events", remedy=remedy)
        if name in events:
            raise DemureError(f"{name!r} is given twice", where="--events", remedy="name each event once")
        events[name] = number
    if len({number is None for number in events.values()}) > 1:
        raise DemureError("some events have weights, others have none", where="--events", remedy="give all a weight")
    return events


def parse_files(options: Sequence[str] | None) -> dict[str, Path]:
    """Return ``NAME=FILE`` options as a dictionary."""
    pairs = _named(options or (), "--features", "NAME=FILE", "image=image.npy", "one file per name")
    return {name: Path(file) for name, file in pairs}


def parse_lists(options: Sequence[str] | None) -> list[tuple[str, Path]]:
    """Return ``NAME=FILE`` options as pairs; a name may come several times, for files that are its seeds."""
    pairs = []
    for option in options or ():
        ((name, file),) = _named([option], "--lists", "NAME=FILE", "MGCN=lists.csv", "")
        pairs.append((name, Path(file)))
    return pairs


def _named(pairs: Iterable[str], option: str, form: str, example: str, remedy: str) -> Iterator[tuple[str, str]]:
    names = set()
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name and equals and value):
            raise DemureError(f"{pair!r} is not {form}", where=option, remedy=f"for example {example}")
        if name in names:
            raise DemureError(f"{name!r} is given twice", where=option, remedy=remedy)
        names.add(name)
        yield name, value


def refuse_without_items(items: str | None, options: Mapping[str, object]) -> None:
    """Raise ``DemureError`` for the first of the ``options`` (name -> value) that is set without ``items``."""
    option = next((name for name, value in options.items() if value), None)
    if items is None and option is not None:
        raise DemureError("is about the items of --items", where=option, remedy="give --items FILE, too")
