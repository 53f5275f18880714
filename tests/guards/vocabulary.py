"""Words that are out, each with the word to use instead. The reasons are in CONTRIBUTING.md, "Words"."""

from __future__ import annotations

import re

# Whole names of functions, classes, arguments, variables and attributes. The same words may stand in a compound
# (`at_least`, `one_hot`) or in prose.
NAMES = {
    "alike": "similar_items",
    "at": "the noun: position, start, time, path",
    "expansion": "ef_construction, ef_search",
    "found": "the noun of the result: matches, dataset, rows",
    "given": "the noun: options, columns, weights",
    "hide": "draw_observed",
    "how": "the noun: options, method",
    "known": "the noun: observed, past_items, item_ids",
    "newcomers": "new_users",
    "one": "the noun: item, user, run, key",
    "seen": "the noun: visible, past_items, visited",
    "standing": "deviation",
    "streams": "compression, or the noun",
    "surprise": "negative_log_prior",
    "them": "the noun in the plural",
    "visits": "sessions",
    "what": "the noun: subject, label, kind",
    "who": "the noun: user_ids, users",
    "Care": "TrainingContext",
    "Channel": "ModalityExpert",
    "Descent": "StepOptimizer",
    "Keeper": "CheckpointManager",
    "Neighbours": "ItemItemModel",
    "Own": "LocalRows",
    "Place": "TrainingState",
    "Points": "KernelExpert",
    "Pool": "FusionWeights",
    "Standing": "Deviation",
    "Team": "ProcessGroup",
    "Themes": "ClusterExpert",
    "Walk": "ItemItemParameters",
    "choose_pool": "tune_fusion",
    "neighbours_of": "build_item_item",
    "subnormals_are_zero": "flush_denormals",
    "task_of": "build_task",
}

# Module names that are out, and the module that has taken the place.
MODULES = {
    "alike": "similar_items",
    "cells": "nested",
    "certainty": "uncertainty",
    "descent": "optimizer",
    "interrupts": "signals",
    "newcomers": "new_users",
    "pool": "tune_fusion",
    "presence": "content_presence",
    "ranks": "launcher",
    "repeats": "duplicates",
    "standing": "flagging",
    "streams": "compression",
    "subnormals": "denormals",
    "team": "process_group",
    "visits": "sessions",
    "walk": "item_item",
    "watch": "validation",
}

# Words that are out wherever they stand in a name, between underscores or capitals.
PARTS = {
    **dict.fromkeys(("hear", "hears", "heard", "hearing", "hearings"), "propagate_beliefs, belief_passes, messages"),
    **dict.fromkeys(("say", "says", "said"), "messages, evidence, or the noun"),
    **dict.fromkeys(("tell", "tells", "told"), "evidence, report, or the noun"),
    **dict.fromkeys(
        ("judge", "judges", "judged", "judging", "judgement", "judgements"), "evaluate, validate, score, diagnosis"
    ),
    **dict.fromkeys(("watch", "watched", "watching", "watcher", "watchers"), "validation, tracker, signals"),
    **dict.fromkeys(("subnormal", "subnormals"), "denormals"),
}

# "cannot tell" is the phrase for users where a placebo explains as much; it is also a key of files.
ALLOWED_PARTS = ("cannot_tell",)

# Module -> names that stay there: keys of files, and former arguments that keep working.
ALLOWED_NAMES = {
    "demure.api.steps": {"watch"},
    "demure.diagnosis.item": {"standing"},
    "demure.diagnosis.listing": {"what"},
    "demure.diagnosis.whatif.answer": {"what"},
    "demure.serving.export": {"what"},
}

# Prose: docstrings, comments, messages, --help, pages. A pattern -> the words to use instead; and what may stay.
PROSE = {
    r"hear(?:s|d|ing|ings)?": "belief propagation, messages",
    r"told|tells|said_at|said": "is shown, printed, reported, explains, predicts",
    r"judg(?:e|es|ed|ing|ement|ements)": "evaluate, validate, score, diagnose",
    r"watch(?:es|ed|ing|er|ers)?": "track, validate, handle",
    r"subnormals?": "denormals",
}
ALLOWED_PROSE = (
    r"`watchers\.json`",
    r"`?--watch\b`?",
    r"``watch``",
    r"\bwatch(?:es)? (?:a |the )?(?:film|movie|video)s?\b",
    r"`training\.hearings`",
)

_PROSE = {pattern: re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE) for pattern in PROSE}
_ALLOWED = re.compile("|".join(ALLOWED_PROSE), re.IGNORECASE)
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def replacement(name: str) -> str | None:
    """Return the word to use instead of ``name``; None if the name may stay."""
    for part in ALLOWED_PARTS:
        name = re.sub(part, "", name, flags=re.IGNORECASE)
    if name.lstrip("_") in NAMES:
        return NAMES[name.lstrip("_")]
    return next((PARTS[part.lower()] for part in _PARTS.findall(name) if part.lower() in PARTS), None)


def words_out(text: str) -> list[tuple[int, str, str]]:
    """Return (line of the text from 0, word, words to use instead) for every word of ``text`` that is out."""
    text = _ALLOWED.sub(lambda match: "-" * len(match.group()), text)
    return sorted(
        (text.count("\n", 0, match.start()), match.group(), PROSE[pattern])
        for pattern, compiled in _PROSE.items()
        for match in compiled.finditer(text)
    )
