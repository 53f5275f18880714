"""A run of every kind of model, made once."""

import pytest
from support.small_sets import QUICK

from demure.training.run import train

KINDS = {
    "popularity": ("popularity", ()),
    "ease-decayed": ("ease-decayed", ("baseline.regularisation=5",)),
    "item-knn": ("item-knn", ("baseline.neighbours=5",)),
    "vbpr": ("vbpr", ("baseline.epochs=2", "baseline.dim=8")),
    "lightgcn": ("lightgcn", ("baseline.epochs=2", "baseline.dim=8")),
    "freedom": ("freedom", ("baseline.epochs=2", "baseline.dim=8")),
    "bm3": ("bm3", ("baseline.epochs=2", "baseline.dim=8")),
    "sasrec": ("sasrec", ("baseline.epochs=2", "baseline.dim=8", "baseline.longest=6", "baseline.layers=1")),
    "mmmlp": ("mmmlp", ("baseline.epochs=2", "baseline.dim=8", "baseline.longest=6", "baseline.layers=1")),
    "demure": ("default", (*QUICK, "denoiser.rounds=1", "training.history=6")),
    "content": ("content-only", (*QUICK, "denoiser.rounds=1", "modalities=[image]")),
}


@pytest.fixture(scope="session")
def runs(timed, tmp_path_factory):
    """Kind -> run folder."""
    folder = tmp_path_factory.mktemp("runs")
    for kind, (recipe, overrides) in KINDS.items():
        train(timed, folder / kind, recipe=recipe, overrides=overrides, device="cpu")
    return {kind: folder / kind for kind in KINDS}
