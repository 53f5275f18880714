"""`demure recommend`: write the best new items of many users, block by block, into one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from demure.data.titles import item_titles
from demure.errors import DemureError
from demure.files import atomic_file
from demure.preparation.new_users import finding_notes, read_histories
from demure.progress import Listener, Progress, silent

if TYPE_CHECKING:
    import pandas as pd

    from demure.data.histories import Histories
    from demure.preparation.problems import Findings

COLUMNS = ("user_id", "rank", "item_id", "score", "because", "interest")
_USERS_AT_ONCE = 1024
_PREVIEW = 10


@dataclass(frozen=True)
class RecommendReport:
    """The file ``written``: ``rows`` for ``users`` users.

    ``preview``: the first rows of the first user, with titles; ``notes``: problems in a file of histories.
    """

    run: str
    written: str
    users: int
    rows: int
    preview: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def recommend(
    run: Path,
    out: Path,
    *,
    users: Sequence[str] | None = None,
    history: Path | None = None,
    time_format: str | None = None,
    items: Path | None = None,
    images: Path | None = None,
    features: Mapping[str, Path] | None = None,
    only_new: bool = False,
    k: int = 20,
    device: str = "auto",
    listener: Listener = silent,
) -> RecommendReport:
    """Write the ``k`` best items that each user has not had: user_id, rank (1 = best), item_id, score, because, and the
    name of the interest to which the item belongs in that modality.

    ``users``: ids; None stands for all users of the dataset, in its order. With ``history``, a file of interactions,
    the users are those of the file, in the dataset or new, and its rows are their whole history, with times in the
    notation ``time_format``; nothing is trained again. ``items``: a file of items that came after the training, with
    their ``images`` and ``features`` as in ``demure.preparation.new_items``; they are scored by their content among
    the others, with ``only_new`` alone. Raises ``DemureError`` for a user that the dataset does not
    have, for a file without usable rows, and for an ``out`` that is not a Parquet file.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from demure.runs.load import load_run

    if out.suffix != ".parquet":
        raise DemureError("recommendations go to a Parquet file", where=out, remedy="end its name in .parquet")
    loaded = load_run(run, device=device)
    notes: list[str] = []
    titles = item_titles(loaded.dataset.items)
    if items is not None:
        from demure.runs.new_items import with_new_items

        listener(Progress("encode the new items", 0))
        extended = with_new_items(loaded, items, images, features, device)
        loaded, notes = extended.loaded, extended.notes
        titles = {**titles, **item_titles(extended.frame)}
    if history is None:
        user_ids = list(dict.fromkeys(users)) if users is not None else [str(user) for user in loaded.dataset.user_ids]
    else:
        file_users, histories, findings = read_histories(history, loaded.dataset, time_format)
        user_ids, notes = [str(user) for user in file_users], [*notes, *_notes(findings, histories)]
    schema = pa.schema(
        [
            ("user_id", pa.string()),
            ("rank", pa.int64()),
            ("item_id", pa.string()),
            ("score", pa.float64()),
            ("because", pa.string()),
            ("interest", pa.string()),
        ]
    )
    rows, preview = 0, pd.DataFrame(columns=list(COLUMNS))
    with atomic_file(out) as part, pq.ParquetWriter(part, schema) as writer:
        for start in range(0, len(user_ids), _USERS_AT_ONCE):
            block = user_ids[start : start + _USERS_AT_ONCE]
            if history is None:
                frame = loaded.recommend(block, k, only_new=only_new)[list(COLUMNS)]
            else:
                part_of_users = histories.slice_users(start, start + len(block))
                frame = loaded.recommend_to(block, part_of_users, k, only_new=only_new)[list(COLUMNS)]
            writer.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))
            rows += len(frame)
            if not start:
                preview = frame[frame["user_id"] == user_ids[0]].head(_PREVIEW)
            listener(Progress("recommend", min(start + _USERS_AT_ONCE, len(user_ids)), len(user_ids)))
    if titles:
        preview = preview.assign(title=[titles.get(item, "") for item in preview["item_id"]])
    return RecommendReport(str(run), str(out), len(user_ids), rows, preview, notes)


def _notes(findings: Findings, histories: Histories) -> list[str]:
    """Return a line for each kind of problem in a file of histories."""
    notes = finding_notes(findings)
    empty = int((histories.lengths == 0).sum())
    if empty:
        notes.append(f"{empty} users have no item that the dataset knows: they get what is popular")
    return notes
