"""What the card of a user and of an item shows, from the rows of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from demure.diagnosis.explain import DEVIATION_WORDS
from demure.diagnosis.interests.sentences import PROFILE_ENTRY
from demure.diagnosis.placebo import CANNOT_TELL
from demure.diagnosis.verdict import Verdict
from demure.report.charts import colours
from demure.web.card import Badge, Card, Tile
from demure.web.lookup import Lookup

_TILES = 5


def user_card(lookup: Lookup, name: str) -> Card | None:
    """Return the card of a user: profile, reliance and the latest choices; None if there is no such user."""
    answer = lookup.user(name)
    if answer is None:
        return None
    reader = lookup.reader
    user, body, items = answer["user"], answer["body"], answer["items"]
    profile = "; ".join(
        PROFILE_ENTRY.format(
            name=lookup.interests[place]["name"], modality=lookup.interests[place]["modality"], percent=percent
        )
        for place, percent in user.get("profile", ())
    )
    palette = colours(reader.reliance_names)
    bar = [
        (label, percent, palette[label])
        for label, percent in user["reliance"].items()
        if label not in reader.placebos.cannot_tell
    ]
    history = body["history"]
    places = history["item"][-_TILES:]
    first = len(history["item"]) - len(places)
    pictures = reader.pictures([items["id"][place] for place in places])
    tiles = [
        Tile(picture, items["title"][place] or items["id"][place], _badges(lookup, history["verdicts"], first + k))
        for k, (place, picture) in enumerate(zip(places, pictures, strict=True))
    ]
    return Card(
        heading=f"User {name}",
        name=name,
        small_print=f"{_choices(user['choices'])} in training; the latest are below. poi: point of interest",
        sentences=[f"Looks at {profile}."] if profile else [],
        bar=bar,
        tiles=tiles,
    )


def item_card(lookup: Lookup, name: str) -> Card | None:
    """Return the card of an item: picture, words, and how its modalities do; None if there is no such item."""
    answer = lookup.item(name)
    if answer is None:
        return None
    item, usual = answer["item"], lookup.usual_noise
    (picture,) = lookup.reader.pictures([name])
    lines = []
    for modality, deviation in item["deviations"].items():
        if deviation["evidence"] is None:
            lines.append((Badge(f"{modality}: {Verdict.MISSING.value}", Verdict.MISSING.value), ""))
        elif modality in lookup.reader.placebos.cannot_tell:
            lines.append((Badge(f"{modality}: {CANNOT_TELL}", Verdict.MISSING.value), ""))
        else:
            side = "typical" if not deviation["significant"] else "below" if deviation["below"] > 0 else "above"
            kind = {"below": Verdict.NOISE, "above": Verdict.POI}.get(side, Verdict.MISSING)
            noise = f"noise in {deviation['noise']} % of {_choices(deviation['choices'])}"
            usually = f", where {usual[modality]} % is usual" if modality in usual else ""
            lines.append((Badge(f"{modality}: {DEVIATION_WORDS[side]}", kind.value), f"{noise}{usually}"))
    parts = [name if item["title"] else "", item["category"], f"{_choices(item['choices'])} in training"]
    interests = lookup.interests_of(name)
    return Card(
        heading=item["title"] or name,
        name=name,
        small_print=" · ".join(part for part in parts if part),
        sentences=[f"Chosen by {interests}."] if interests else [],
        lines=lines,
        picture=Path(picture) if picture is not None else None,
    )


def _badges(lookup: Lookup, verdicts: dict[str, dict[str, list[Any]]], k: int) -> list[Badge]:
    badges = []
    for modality, columns in verdicts.items():
        word, percent = columns["verdict"][k], columns["percent"][k]
        if word != Verdict.MISSING and modality in lookup.reader.placebos.cannot_tell:
            badges.append(Badge(f"{modality}: {CANNOT_TELL}", Verdict.MISSING.value))
            continue
        own = 100 - percent if word == Verdict.NOISE else percent
        number = "" if word == Verdict.MISSING else f" {own} %" if own >= 50 else " ?"
        badges.append(Badge(f"{modality}: {word}{number}", word))
    return badges


def _choices(count: int) -> str:
    return f"{count:,} choice{'s' if count != 1 else ''}"
