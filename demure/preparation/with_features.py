"""``prepare`` and the import of features, as one step that happens whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from demure.cluster.executor import LOCAL, Executor
from demure.features.importing import import_features
from demure.progress import Listener, silent

if TYPE_CHECKING:
    from demure.preparation.prepare import PreparedReport, PrepareOptions


def prepare_with_features(
    options: PrepareOptions, listener: Listener = silent, executor: Executor = LOCAL
) -> PreparedReport:
    """Prepare a dataset with its feature files: ``options.features``, or those beside MMRec's interactions.

    Features are imported inside the unfinished folder, so that a bad file leaves nothing behind. Raises the errors of
    ``demure.preparation.prepare.prepare``, and ``FeatureError``.
    """
    from demure.preparation.prepare import prepare

    def finish(folder: Path, report: PreparedReport) -> None:
        for name, file in report.feature_files.items():
            import_features(folder, name, file, report.item_rows, report.item_file_rows)

    return prepare(options, listener, finish, executor)
