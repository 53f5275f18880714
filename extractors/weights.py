"""Load transformers models, and refuse files that lack a weight, as it would be random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers

from demure.errors import ExtractorError


def load_model(kind: Any, folder: Path, where: str, *, unused: tuple[str, ...] = ()) -> tuple[Any, set[str]]:
    """Return a model of class ``kind``, in float32 and evaluation mode, and its ``unused`` parts that have no weights.

    Raises ``ExtractorError`` if weights of any other part are missing.
    """
    log: Any = transformers.logging  # transformers leaves it untyped
    before = log.get_verbosity()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        model, facts = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, dtype="float32"
        )
    finally:
        log.set_verbosity(before)
    absent = set(facts["missing_keys"])
    untrained = {part for part in unused if any(part in name.split(".") for name in absent)}
    needed = sorted(name for name in absent if not untrained & set(name.split(".")))
    if needed:
        raise ExtractorError(
            f"{len(needed)} weights of the model are not in its files ({needed[0]}, ...)",
            where=where,
            remedy="the files are of another architecture than config.json says",
        )
    return model.eval(), untrained
