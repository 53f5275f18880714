"""One family of exceptions. Each carries the facts of its one-line message: what is wrong, where, what to do."""

from __future__ import annotations


class DemureError(ValueError):
    """Something a user can cause and mend.

    ``what`` names the problem with the offending value, ``where`` the file and row or the key path, ``remedy`` what to
    do about it. ``str(error)`` is always a single line.
    """

    def __init__(self, what: str, *, where: object = None, remedy: str | None = None) -> None:
        self.what, self.where, self.remedy = what, where, remedy
        parts = [what if where is None else f"{where}: {what}", *([remedy] if remedy else [])]
        super().__init__("; ".join(" ".join(str(part).split()) for part in parts))


class DataError(DemureError):
    """Raw input that cannot be used: a file, a column, a row."""


class DatasetError(DemureError):
    """A dataset folder that is absent, damaged, of another version, or not the one a run was made from."""


class RecipeError(DemureError):
    """A recipe with an unknown key, a value out of range, or an unknown name."""


class ExtractorError(DemureError):
    """An encoder that is unknown, cannot be had here, or does not fit the modality."""


class NothingUsable(ExtractorError):
    """Not a single item has an input of a kind that can be encoded."""


class FeatureError(DemureError):
    """Features that do not match the items, or are not there."""


class RunError(DemureError):
    """A run folder that is absent, damaged, or does not fit its dataset."""


class ProcessGroupError(RunError):
    """Another process of the same training ended."""


class MachineError(DemureError):
    """The machine or its installed packages cannot do what was asked (device, torch and torchvision that differ)."""
