"""Files whose names are written in another way than in the items file: composed letters, %20, a backslash,
a suffix in capitals or left out."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from demure.images.files import ImageFolder
from demure.preparation.file_contents import IMAGES


def find_other_spellings(
    folder: ImageFolder, missing: Sequence[str], present: Sequence[str], suffixes: Collection[str] = IMAGES.suffixes
) -> dict[str, str]:
    """Return name -> the name of a file, for the ``missing`` names that lead to a file with another spelling.

    A file that two names lead to, or that one of ``present`` names, is nobody's.
    """
    spelled: dict[str, str] = {}
    for name in dict.fromkeys(missing):
        spelling = next((spelling for spelling in _spellings(name) if folder.find(spelling)), None)
        spellings = (
            [spelling] if spelling else [path for path in _with_other_suffix(name, suffixes) if folder.find(path)]
        )
        if len({folder.find(path) for path in spellings}) == 1:
            spelled[name] = spellings[0]
    names_of = defaultdict(set)
    for name, spelling in spelled.items():
        names_of[folder.find(spelling)].add(name)
    if spelled:
        for name in present:
            names_of[folder.find(name)].add(name)
    return {name: spelling for name, spelling in spelled.items() if len(names_of[folder.find(spelling)]) == 1}


def _spellings(name: str) -> list[str]:
    """Return other ways to spell the path ``name``, the likeliest first."""
    spellings: list[str] = []
    plain = name.strip()
    for path in (plain, plain.replace("\\", "/"), plain.replace("\\", "/").lstrip("/")):
        for decoded in (path, unquote(path), quote(path)):
            spellings += [decoded, unicodedata.normalize("NFC", decoded), unicodedata.normalize("NFD", decoded)]
    return [spelling for spelling in dict.fromkeys(spellings) if spelling != name]


def _with_other_suffix(name: str, suffixes: Collection[str]) -> list[str]:
    """Return the path ``name`` with its suffix in capitals or small letters; without one, with each of ``suffixes``."""
    path = PurePosixPath(name.strip().replace("\\", "/"))
    if not path.name:
        return []
    if path.suffix.lower() in suffixes:
        return [str(path.with_suffix(suffix)) for suffix in (path.suffix.lower(), path.suffix.upper())]
    return [f"{path}{suffix}" for lower in sorted(suffixes) for suffix in (lower, lower.upper())]
