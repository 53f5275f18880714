"""From an encoder's name to the encoder: the table in ``demure_extractors``, and what may go wrong on the way."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Sequence
from typing import Any, cast

from demure.errors import DemureError, ExtractorError, MachineError
from demure.extraction.protocol import Family, Spec, parse
from demure.features import store
from demure.features.kinds import BUILT_IN, plural
from demure.suggest import nearest

ALL = "all"


def families() -> dict[str, Family]:
    """Name -> family, in the order of the table."""
    return cast("dict[str, Family]", importlib.import_module("demure_extractors.table").FAMILIES)


def choose(text: str, kind: str) -> tuple[Spec, Family]:
    """Read an encoder's name for a ``kind`` of ``BUILT_IN``; raise ``ExtractorError`` if none is meant."""
    known, spec = families(), parse(text)
    family = known.get(spec.family)
    where = f"--{kind}"
    fitting = [one.name for one in known.values() if one.target(kind)]
    if family is None:
        near = nearest(spec.family, known, cutoff=0.5)
        hint = f"did you mean {near!r}? " if near else ""
        raise ExtractorError(
            f"unknown encoder {text!r}",
            where=where,
            remedy=f"{hint}there are: {', '.join(fitting)}",
        )
    if not family.target(kind):
        raise ExtractorError(
            f"{spec.family!r} does not encode {plural(kind)}", where=where, remedy=f"use {', '.join(fitting)}"
        )
    if spec.columns and kind == "image":
        raise ExtractorError(
            f"{text!r} names columns, and images have only one", where=where, remedy=f"write {where} {spec}"
        )
    if family.built_in and (spec.revision or (spec.model and not family.options)):
        given = f"model, got {spec.model!r}" if spec.model and not spec.revision else f"revision, got {spec.revision!r}"
        raise ExtractorError(f"{spec.family!r} takes no {given}", where=where, remedy=spec.family)
    if family.built_in and spec.model:
        load_encoder(spec, family, kind, "cpu")  # understands the options, and does nothing else yet
    if not family.built_in and not spec.model:
        raise ExtractorError(f"{text!r} names no model", where=where, remedy=f"for example {family.example}")
    return spec, family


def named(kind: str, given: str | Sequence[str]) -> dict[str, str]:
    """Modality -> encoder, from what ``--text`` or ``--image`` was given: ``ENCODER``, which makes the modality called
    ``kind``, or ``NAME=ENCODER``. Raises ``ExtractorError`` for names that do not go together."""
    found: dict[str, str] = {}
    for one in [given] if isinstance(given, str) else given:
        match = re.fullmatch(r"\s*([^=:/\\\s]+)=(.*)", one, re.DOTALL)
        name, encoder = match.groups() if match else (kind, one)
        store.check_name(name)
        if name in BUILT_IN and name != kind:
            raise ExtractorError(f"{name!r} would name features of a {kind}", where=f"--{kind}", remedy="another name")
        if name in found:
            other = f"{kind}-{encoder.partition(':')[0]}"
            raise ExtractorError(
                f"two encoders would both make {name!r}: {found[name]} and {encoder}",
                where=f"--{kind}",
                remedy=f"name one of them: --{kind} {other}={encoder}",
            )
        found[name] = encoder
    return found


def named_attributes(given: str | Sequence[str]) -> dict[str, str]:
    """Modality -> encoder, from what ``--attributes`` was given: ``COLUMN,COLUMN`` or ``all``, with or without
    ``NAME=``. Raises ``ExtractorError`` for names that do not go together."""
    found: dict[str, str] = {}
    for one in [given] if isinstance(given, str) else given:
        name, equals, columns = one.rpartition("=")
        name, columns = name.strip() if equals else "attributes", columns.strip()
        store.check_name(name)
        if name in BUILT_IN and name != "attributes":
            raise ExtractorError(f"{name!r} would name attributes", where="--attributes", remedy="another name")
        if name in found:
            raise ExtractorError(
                f"two lists of columns would both make {name!r}",
                where="--attributes",
                remedy=f"name one of them: --attributes NAME={columns}",
            )
        if not columns or any(mark in columns for mark in "[]"):
            raise ExtractorError(
                f"{one!r} is not a list of columns",
                where="--attributes",
                remedy="write brand,colour or NAME=brand,colour",
            )
        found[name] = BUILT_IN["attributes"] if columns == ALL else f"{BUILT_IN['attributes']}[{columns}]"
    return found


def load_encoder(spec: Spec, family: Family, kind: str, device: str, precision: str = "auto") -> Any:
    """The encoder, ready. Raises ``ExtractorError`` if it cannot be had, ``MachineError`` for broken packages."""
    module, _, name = (family.target(kind) or "").partition(":")
    try:
        if family.built_in:
            make = getattr(importlib.import_module(module), name)
            return make(spec.model) if spec.model else make()
        return getattr(importlib.import_module(module), name)(spec.model, spec.revision, device, precision)
    except DemureError:
        raise
    except Exception as error:
        raise understood(error, spec) from error


def understood(error: Exception, spec: Spec) -> DemureError:
    """One line for whatever loading raised."""
    text = " ".join(str(error).split())
    if "torchvision::" in text or ("torchvision" in text and "undefined symbol" in text):
        found = " and ".join(f"{name} {_version(name)}" for name in ("torch", "torchvision"))
        return MachineError(
            f"{found} do not fit together",
            where=str(spec),
            remedy="install a matching pair: pip install --upgrade --force-reinstall torch torchvision",
        )
    if isinstance(error, ImportError):
        package = (error.name or "").split(".")[0]
        what = f"package {package!r} is not installed" if package else f"an import failed ({text[:200]})"
        return MachineError(what, where=str(spec), remedy="pip install 'demure' again, with all it depends on")
    return ExtractorError(
        f"cannot be loaded: {type(error).__name__}: {text[:300]}", where=str(spec), remedy="check the model's files"
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(absent)"
