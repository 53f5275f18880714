"""Load transformers models: only safetensors, none of a model folder's code, and no weight that its files lack."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import transformers

from demure.errors import ExtractorError


@dataclass
class LoadedWeights:
    """The names of the weights ``absent`` from the files of the models that were loaded: they are random."""

    absent: set[str] = field(default_factory=set)

    def check(self, where: str, *, unused: tuple[str, ...] = ()) -> set[str]:
        """Return the parts of ``unused`` that have no weights; raise ``ExtractorError`` if any other part has none."""
        untrained = {part for part in unused if any(part in name.split(".") for name in self.absent)}
        needed = sorted(name for name in self.absent if not untrained & set(name.split(".")))
        if needed:
            raise ExtractorError(
                f"{len(needed)} weights of the model are not in its files ({needed[0]}, ...)",
                where=where,
                remedy="the files are of another architecture than config.json says",
            )
        return untrained


@contextlib.contextmanager
def quiet_loading() -> Iterator[LoadedWeights]:
    """Record which weights the files lack, for each model that transformers loads inside, and load in silence.

    transformers gives weights that are absent random values, and says so in its log alone. Another library may call it.
    """
    log: Any = transformers.logging  # transformers leaves it untyped
    loaded, before = LoadedWeights(), log.get_verbosity()
    base: Any = transformers.PreTrainedModel
    original = base.__dict__["from_pretrained"]

    def from_pretrained(cls: Any, *args: Any, **options: Any) -> Any:
        asked = options.pop("output_loading_info", False)
        model, facts = original.__func__(cls, *args, **options, output_loading_info=True)
        loaded.absent |= set(facts["missing_keys"])
        return (model, facts) if asked else model

    log.set_verbosity_error()
    log.disable_progress_bar()
    base.from_pretrained = classmethod(from_pretrained)
    try:
        with never_asked():
            yield loaded
    finally:
        base.from_pretrained = original
        log.set_verbosity(before)


@contextlib.contextmanager
def never_asked() -> Iterator[None]:
    """Let transformers refuse code of a model's folder where a library between does not tell it to.

    It would ask on the terminal, and take a ``y`` from a pipe for the answer.
    """
    from transformers import dynamic_module_utils

    code: Any = dynamic_module_utils
    before = code.TIME_OUT_REMOTE_CODE
    code.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        code.TIME_OUT_REMOTE_CODE = before


def load_model(
    kind: Any, folder: Path, where: str, *, unused: tuple[str, ...] = (), trust_remote_code: bool = False
) -> tuple[Any, set[str]]:
    """Return a model of class ``kind``, in float32 and evaluation mode, and its ``unused`` parts that have no weights.

    Raises ``ExtractorError`` if weights of any other part are missing.
    """
    with quiet_loading() as loaded:
        model = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype="float32",
            trust_remote_code=trust_remote_code,
        )
    return model.eval(), loaded.check(where, unused=unused)
