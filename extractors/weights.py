"""Loading transformers models whole: a weight that is not in the files would be random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers

from demure.errors import ExtractorError


def load_model(kind: Any, folder: Path, where: str, *, unused: tuple[str, ...] = ()) -> tuple[Any, set[str]]:
    """A model of class ``kind`` in float32 and evaluation mode, and which of its ``unused`` parts have no weights.

    Raises ``ExtractorError`` if weights of any other part are missing.
    """
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model, facts = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, dtype="float32"
        )
    finally:
        transformers.logging.set_verbosity(before)
    absent = set(facts["missing_keys"])
    empty = {part for part in unused if any(part in name.split(".") for name in absent)}
    needed = sorted(name for name in absent if not empty & set(name.split(".")))
    if needed:
        raise ExtractorError(
            f"{len(needed)} weights of the model are not in its files ({needed[0]}, ...)",
            where=where,
            remedy="the files are of another architecture than config.json says",
        )
    return model.eval(), empty
