"""Load what the diagnosis of new users needs of a run: its denoiser, and the rivals of content that it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from demure.data.dataset import Dataset
from demure.errors import RunError
from demure.model.batch import KnownSideInformation
from demure.model.denoiser import Denoiser
from demure.model.popularity import Periods, fit_periods
from demure.model.rivals import RivalModels
from demure.recipe.load import load_recipe
from demure.runs.folder import RECIPE, RIVAL_MODELS
from demure.runs.load import build_denoiser, load_tensors
from demure.runs.manifest import RunManifest, run_files

if TYPE_CHECKING:
    from demure.data.histories import Histories


@dataclass(frozen=True)
class NewUserModel:
    """A trained denoiser and its rivals. ``rivals`` is None where the recipe has none, and where the run ``lacks`` them
    because it is of an earlier version; ``ordered``: whether the dataset has timestamps."""

    denoiser: Denoiser
    periods: Periods
    rivals: RivalModels | None
    lacks_rivals: bool
    ordered: bool

    def side_information(self, histories: Histories) -> KnownSideInformation:
        """Return the periods of the interactions of new users and, where the run keeps them, the rivals' ratios."""
        if self.rivals is None:
            return KnownSideInformation(self.periods.assign(histories.times, len(histories.items)), None)
        return self.rivals.side_information(histories, self.denoiser, ordered=self.ordered)


def load_new_user_model(path: Path, manifest: RunManifest, dataset: Dataset, device: str = "auto") -> NewUserModel:
    """Load the model of a run with a diagnosis. Raises ``RunError`` if one of its files is damaged."""
    files = run_files(path, manifest)
    recipe = load_recipe(files.file(RECIPE))
    train = dataset.histories("train")
    rivals = None
    if recipe.denoiser.rivals and files.has(RIVAL_MODELS):
        tensors = load_tensors(files, RIVAL_MODELS)
        try:
            rivals = RivalModels.from_tensors(tensors, train.count_items(dataset.n_items))
        except KeyError as error:
            raise RunError(f"does not hold {error}", where=path / RIVAL_MODELS, remedy="train the run again") from error
        except ValueError as error:
            raise RunError(str(error), where=path / RIVAL_MODELS, remedy="train the run again") from error
        periods = rivals.periods
    else:
        periods = fit_periods(train.items, train.times if recipe.denoiser.rivals else None, dataset.n_items)
    factor_IP = periods.popularity_factor_IP if recipe.denoiser.rivals else None
    denoiser = build_denoiser(path, manifest, recipe, dataset.n_items, device, factor_IP)
    lacks_rivals = recipe.denoiser.rivals and rivals is None
    return NewUserModel(denoiser, periods, rivals, lacks_rivals, dataset.has_time)
