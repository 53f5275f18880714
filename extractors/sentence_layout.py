"""Read what the files of a sentence-transformers folder state, and refuse what must not be loaded, before it is loaded.

The library ``sentence-transformers`` builds the model; this module finds what it would do in silence or too late: leave
the folder, run code, read a pickle, or compute something else than the files say.
"""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demure_extractors import hub

from demure.errors import ExtractorError
from demure.suggest import did_you_mean

OWN_CLASSES = "sentence_transformers."
"""Modules of other classes are code that comes with the model."""
DOCUMENTS = ("document", "passage", "corpus")
"""Names of prompts that sentence-transformers' ``encode_document`` looks for, in its order: items are documents."""


@dataclass(frozen=True)
class SentenceLayout:
    """What a model's own files state.

    Attributes:
        stated: whether there is a ``modules.json``, which states the pooling and the normalisation.
        max_tokens: where texts are cut; None if it is not stated.
        lower: whether texts are turned into lower case.
        prompts: name -> text.
        code: notes on code of the folder that was not run.
        default_prompt: name of the prompt that is used without a choice; None if there is none.
    """

    stated: bool
    max_tokens: int | None = None
    lower: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    code: list[str] = field(default_factory=list)


def read_layout(folder: Path, where: str, *, trust_remote_code: bool = False) -> SentenceLayout:
    """Read a model's folder. ``trust_remote_code`` allows modules of classes that come with the model.

    Raises ``ExtractorError`` for files that are no sentence encoder, that lead out of the folder, that bring code, or
    whose weights are pickled.
    """
    modules_file = folder / "modules.json"
    if not modules_file.is_file():
        if not (folder / "config.json").is_file():
            raise ExtractorError(f"no config.json in {folder}", where=where, remedy="give a transformers model")
        hub.require_weights(folder, where)
        return SentenceLayout(stated=False, code=[] if trust_remote_code else hub.unused_code(folder))
    transformers = []
    for kind, part in _modules(modules_file, folder, where, trust_remote_code):
        if kind == "Transformer":
            transformers.append(part)
            hub.require_weights(part, where)
        elif kind == "Dense":
            _check_activation(part / "config.json", where, trust_remote_code)
    _refuse_pickles(folder, where)
    limits = _limits(transformers[0], where) if transformers else {}
    config_file = folder / "config_sentence_transformers.json"
    config = _object(config_file, where) if config_file.is_file() else {}
    kind = config.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise ExtractorError(f"is a {kind}, not a sentence encoder", where=where, remedy="use another model")
    _positive(config, "truncate_dim", config_file, where)
    prompts = config.get("prompts") or {}
    default = config.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise _damaged(config_file, "prompts must be texts by name", where)
    if not isinstance(default, str | None):
        raise _damaged(config_file, f"default_prompt_name is {default!r}", where)
    return SentenceLayout(
        stated=True,
        max_tokens=limits.get("max_seq_length"),
        lower=bool(limits.get("do_lower_case")),
        prompts={name: text or "" for name, text in prompts.items()},
        default_prompt=default,
        code=[] if trust_remote_code else hub.unused_code(*transformers),
    )


def choose_prompt(layout: SentenceLayout, wanted: str | None, where: str) -> tuple[str, list[str]]:
    """Return the text that goes before each item's text, and what a user should know of the choice.

    The prompt called ``wanted``; else as ``encode_document`` documents it: the model's prompt for documents, else its
    default one. A single prompt whose name contains one of these words (``search_document``) is taken, too.
    Raises ``ExtractorError`` if there is no prompt ``wanted``.
    """
    prompts = layout.prompts
    names = ", ".join(prompts) or "none"
    if wanted is not None:
        if wanted not in prompts:
            remedy = did_you_mean(wanted, prompts) or f"there are: {names}"
            raise ExtractorError(f"{where} has no prompt {wanted!r}", where="--prompt", remedy=remedy)
        return prompts[wanted], []
    exact = next((name for name in DOCUMENTS if name in prompts), None)
    if exact is not None:
        return prompts[exact], []
    if layout.default_prompt in prompts:
        return prompts[str(layout.default_prompt)], []
    filled = {name: text for name, text in prompts.items() if text}
    similar = {name for name in filled if any(word in name.lower() for word in DOCUMENTS)}
    if len({filled[name] for name in similar}) == 1:
        name = min(similar)
        return filled[name], [f"prompt {filled[name]!r} before every text (its prompt {name!r}, by its name)"]
    others = [name for name in filled if "query" not in name.lower()]
    notes = []
    if layout.default_prompt is not None:
        notes.append(f"no prompt: its default prompt {layout.default_prompt!r} is not among its prompts ({names})")
    elif others:
        notes.append(f"no prompt: none of its prompts is for documents ({names}); --prompt NAME chooses one")
    return "", notes


def _modules(file: Path, folder: Path, where: str, trust_remote_code: bool) -> list[tuple[str, Path]]:
    """Return the class name and the folder of each module."""
    stated = hub.read_json_file(file, where)
    if not isinstance(stated, list) or not stated or not all(isinstance(module, dict) for module in stated):
        raise _damaged(file, "is not a list of modules", where)
    modules = []
    for module in stated:
        kind, path = module.get("type"), module.get("path")
        if not isinstance(kind, str) or not isinstance(path, str):
            raise _damaged(file, "a module has no type or no path", where)
        part = folder / path
        if not Path(os.path.realpath(part)).is_relative_to(os.path.realpath(folder)):
            raise ExtractorError(
                f"{file} leads out of the model's folder (path {path!r})", where=where, remedy="use another model"
            )
        if not kind.startswith(OWN_CLASSES) and not trust_remote_code:
            raise hub.own_code(where, f"{file.name} names {kind}")
        if kind.startswith(OWN_CLASSES):
            _require_class(kind, file, where)
        modules.append((kind.rpartition(".")[2], part))
    return modules


def _require_class(kind: str, file: Path, where: str) -> None:
    """Raise ``ExtractorError`` if the installed library has no class ``kind``."""
    from sentence_transformers.util import import_from_string

    try:
        import_from_string(kind)
    except (ImportError, AttributeError, ValueError) as error:
        version = importlib.metadata.version("sentence-transformers")
        remedy = f"pip install --upgrade sentence-transformers if a later version has it, correct {file}"
        raise ExtractorError(
            f"modules.json names the module {kind!r}, which sentence-transformers {version} does not have",
            where=where,
            remedy=f"{remedy}, or use another model",
        ) from error


def _check_activation(file: Path, where: str, trust_remote_code: bool) -> None:
    """Refuse an activation that the library would replace by another one, with a line in its log alone."""
    activation = _object(file, where).get("activation_function", "torch.")
    if not str(activation).startswith("torch.") and not trust_remote_code:
        raise hub.own_code(where, f"{file.parent.name} names {activation}")


def _limits(transformer: Path, where: str) -> dict[str, Any]:
    """Return the content of ``sentence_bert_config.json``, under whichever of its names it has."""
    for file in sorted(transformer.glob("sentence_*_config.json")):
        limits = _object(file, where)
        _positive(limits, "max_seq_length", file, where)
        if limits.get("tokenizer_name_or_path"):
            raise ExtractorError(
                f"its tokenizer is elsewhere ({limits['tokenizer_name_or_path']})",
                where=where,
                remedy=f"put the tokenizer's files into {transformer} and leave tokenizer_name_or_path out of {file}",
            )
        return limits
    return {}


def _refuse_pickles(folder: Path, where: str) -> None:
    """Refuse weights that have no safetensors beside them: the library would read the pickle."""
    for pickled in sorted(folder.rglob("pytorch_model*.bin")):
        if not hub.weights(pickled.parent):
            hub.require_weights(pickled.parent, where)


def _object(file: Path, where: str) -> dict[str, Any]:
    content = hub.read_json_file(file, where)
    if not isinstance(content, dict):
        raise _damaged(file, "is not a JSON object", where)
    return content


def _positive(content: dict[str, Any], key: str, file: Path, where: str) -> None:
    value = content.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise _damaged(file, f"{key} is {value!r}, not a whole number above 0", where)


def _damaged(file: Path, problem: str, where: str) -> ExtractorError:
    return ExtractorError(f"{file}: {problem}", where=where, remedy="correct the file, or fetch the model again")
