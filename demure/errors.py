"""The exceptions of demure. Each has a one-line message: the problem, the place, the remedy."""

from __future__ import annotations


class DemureError(ValueError):
    """An error that a user can cause and correct.

    ``problem`` names the offending value, ``where`` the file and row or the key path, ``remedy`` the correction.
    ``str(error)`` is always a single line.
    """

    def __init__(self, problem: str, *, where: object = None, remedy: str | None = None) -> None:
        self.problem, self.where, self.remedy = problem, where, remedy
        parts = [problem if where is None else f"{where}: {problem}", *([remedy] if remedy else [])]
        super().__init__("; ".join(" ".join(str(part).split()) for part in parts))


class DataError(DemureError):
    """Raw input that cannot be used: a file, a column, a row."""


class DatasetError(DemureError):
    """A dataset folder that is absent, damaged, of another version, or not the one that a run was trained on."""


class RecipeError(DemureError):
    """A recipe with an unknown key, a value out of range, or an unknown name."""


class ExtractorError(DemureError):
    """An encoder that is unknown, is not available here, or does not fit the modality."""


class NothingUsable(ExtractorError):
    """No item has an input that the encoder can use."""


class FeatureError(DemureError):
    """Features that are absent or do not match the items."""


class RunError(DemureError):
    """A run folder that is absent, damaged, or does not fit its dataset."""


class ProcessGroupError(RunError):
    """Another process of the same training ended."""


class StorageError(DemureError):
    """A folder or file at a URL that is absent, refused, changed or cannot be reached."""


class MachineError(DemureError):
    """The machine or an installed package does not support the request, for example its device."""
