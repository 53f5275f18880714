"""``demure.Run``: a run folder that recommends, diagnoses and is judged, as pandas frames."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from demure.api.dataset import Dataset
from demure.api.drawing import MOST_ROWS, badge, card, drawn, no_answer, pictures, rows, text
from demure.diagnosis.overview import Overview, overview
from demure.diagnosis.placebo import Placebos
from demure.diagnosis.reader import DiagnosisSource
from demure.diagnosis.recommended import made_of
from demure.errors import DatasetError, DemureError
from demure.runs.folder import read_manifest

if TYPE_CHECKING:
    from demure.evaluation.ranking import Scorer
    from demure.runs.load import LoadedRun

_DIAGNOSIS = ("user_id", "position", "item_id", "modality", "poi_probability", "evidence", "verdict")


class Run:
    """What `demure train` wrote: ``Run.load("run")``. The model is loaded when it is first needed."""

    def __init__(self, path: Path, manifest: dict[str, Any], device: str) -> None:
        self.path, self.manifest, self.device = path, manifest, device

    @classmethod
    def load(cls, path: Path | str, device: str = "auto") -> Run:
        """Raises ``RunError`` if ``path`` is no finished run."""
        return cls(Path(path), read_manifest(Path(path)), device)

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset that the run was made from. Raises ``DatasetError`` if it is gone or no longer the same."""
        recorded = self.manifest["dataset"]
        dataset = Dataset.load(recorded["path"])
        changed = [name for name, value in recorded["identity"].items() if dataset.identity.get(name) != value]
        if changed:
            raise DatasetError(
                f"is not what {self.path} was made from ({', '.join(changed)} changed)",
                where=dataset.path,
                remedy="train again, or prepare the dataset as it was",
            )
        return dataset

    @cached_property
    def _loaded(self) -> LoadedRun:
        from demure.runs.load import load_run

        return load_run(self.path, self.device)

    @property
    def modalities(self) -> list[str]:
        """Those that the run judges, or uses; empty for a baseline without content."""
        return list(self.manifest["modalities"])

    def recommend(
        self,
        users: str | Sequence[str] | None = None,
        k: int = 20,
        *,
        history: pd.DataFrame | Path | str | None = None,
    ) -> pd.DataFrame:
        """The ``k`` best items that each user has not had: user_id, rank (1 = best), item_id, score, because (the
        modality that carries the item, or ``history``), and the item's title where there is one.

        ``users``: an id, several, or None for all. With ``history``, a frame or file of interactions, the users are
        those in it, known or new, and its rows are all they had. Raises ``DemureError`` for an unknown user, k below
        1 and a history without usable rows.
        """
        from demure.evaluation.ranking import check_ks

        (k,) = check_ks([k])
        if history is not None:
            frame = self._recommend_to(history, users, k)
        else:
            ids = self.dataset.user_ids if users is None else [users] if isinstance(users, str) else users
            frame = self._loaded.recommend([str(user) for user in ids], k)
        return drawn(self._titled(frame, after="item_id"), self._draw_recommendations)

    def _recommend_to(
        self, history: pd.DataFrame | Path | str, users: str | Sequence[str] | None, k: int
    ) -> pd.DataFrame:
        from demure.prepare.new_users import read_histories

        if isinstance(history, pd.DataFrame):
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "history.parquet"
                history.to_parquet(file, index=False)
                try:
                    found, histories, _ = read_histories(file, self.dataset)
                except DemureError as error:  # the file is ours, and gone by now
                    raise type(error)(error.what, where="history", remedy=error.remedy) from None
        else:
            found, histories, _ = read_histories(Path(history), self.dataset)
        frame = self._loaded.recommend_to([str(user) for user in found], histories, k)
        wanted = None if users is None else {users} if isinstance(users, str) else set(users)
        return frame if wanted is None else frame[frame["user_id"].isin(wanted)].reset_index(drop=True)

    def overview(self, segment: tuple[str, str] | None = None, *, min_count: int = 10, top: int = 10) -> Overview:
        """`demure inspect`: the diagnosis at large, or of one segment such as ``("category", "Drama")``.

        The attributes are the keys of ``inspect --json``, among them ``summary`` (what the modalities explain above
        their placebo, in sentences), ``neither``, ``causes`` and the frame ``modalities``; tables are frames.
        ``min_count``: interactions an item needs to be among the ``top`` that are ``flagged``. Raises as ``diagnose``,
        and ``DemureError`` for an unknown segment.
        """
        return overview(self.path, segment=segment, min_count=min_count, top=top)

    def diagnose(self, user: str | None = None, item: str | None = None) -> pd.DataFrame:
        """Every verdict on the training interactions, of one user or one item where given: user_id, position in the
        user's history, item_id, the item's title, modality, poi_probability, evidence (nats), verdict (poi, noise or
        missing).

        Raises ``RunError`` if the run has no diagnosis, and for an unknown user or item, naming the nearest ids.
        """
        source = DiagnosisSource.open(self.path)
        chosen = {name: value for name, value in (("user_id", user), ("item_id", item)) if value is not None}
        frame = source.diagnosis(_DIAGNOSIS, **chosen).to_pandas()
        if frame.empty and chosen:
            raise source.unknown(*(("user", user) if user is not None else ("item", str(item))))
        frame = frame.sort_values(["user_id", "position"], kind="stable", ignore_index=True)
        frame = self._titled(frame, after="item_id")
        return drawn(frame, self._draw_verdicts) if chosen else frame

    def reliance(self, user: str | None = None) -> pd.DataFrame:
        """What each user, or one, relies on: the expected share of choices by each modality, and by ``none`` that is
        known; one row per user, indexed by user_id. Raises as ``diagnose``."""
        source = DiagnosisSource.open(self.path)
        frame = source.reliance(**({} if user is None else {"user_id": user}))
        if frame.empty and user is not None:
            raise source.unknown("user", user)
        wide = frame.pivot(index="user_id", columns="modality", values="reliance")
        wide.columns.name = None
        return wide[list(frame["modality"].unique())]

    def evaluate(
        self, split: str = "test", k: int | Sequence[int] = (5, 10, 20, 50), by: str | Sequence[str] = ()
    ) -> pd.DataFrame:
        """`demure eval`: one row per k, and per slice where ``by`` names slicings; one column per metric."""
        from demure.runs.evaluate import evaluate_runs

        names = [by] if isinstance(by, str) else by
        ks = [k] if isinstance(k, int) else k
        return evaluate_runs([self.path], split=split, ks=ks, by=names, device=self.device).frame().drop(columns="run")

    def scorer(self, split: str = "test") -> Scorer:
        """Indices of users (B,) -> scores (B, items), for an evaluation of your own."""
        return self._loaded.scorer(split)

    def _titled(self, frame: pd.DataFrame, *, after: str) -> pd.DataFrame:
        titles = self.dataset.titles
        if titles:
            at = list(frame.columns).index(after) + 1
            frame.insert(at, "title", [titles.get(item, "") for item in frame["item_id"]])
        return frame

    def _draw_recommendations(self, frame: pd.DataFrame) -> str:
        shown = frame.head(MOST_ROWS)
        pictured = pictures(self.dataset, shown["item_id"])
        cells = [
            {
                "user": text(row["user_id"]),
                "rank": row["rank"],
                "": pictured[row["item_id"]],
                "item": text(row.get("title") or row["item_id"]),
                "because": text(row["because"]),
                "score": f"{row['score']:.3f}",
            }
            for row in shown.to_dict("records")
        ]
        words = made_of(self.manifest)
        return (f"<p>{text(words)}</p>" if words else "") + rows(cells, len(frame))

    def _draw_verdicts(self, frame: pd.DataFrame) -> str:
        """One row per interaction, the latest of them, with a badge per modality."""
        groups = [part for _, part in frame.groupby(["user_id", "position"], sort=False)]
        shown = groups[-MOST_ROWS:]
        pictured = pictures(self.dataset, (str(part["item_id"].iloc[0]) for part in shown))
        one_user = frame["user_id"].nunique() == 1
        cannot_tell = Placebos.read(self.manifest, list(frame["modality"].unique())).cannot_tell
        cells = []
        for part in shown:
            row = part.iloc[0]
            verdicts = zip(part["modality"], part["verdict"], part["poi_probability"], strict=True)
            badges = {
                text(name): no_answer() if name in cannot_tell and verdict != "missing" else badge(verdict, float(p))
                for name, verdict, p in verdicts
            }
            cells.append(
                {
                    **({} if one_user else {"user": text(row["user_id"])}),
                    "": pictured[row["item_id"]],
                    "item": text(row.get("title") or row["item_id"]),
                    **badges,
                }
            )
        return rows(cells, len(groups), first=False)

    def _repr_html_(self) -> str:
        valid = {f"validation {name}": f"{value:.4f}" for name, value in self.manifest["valid"].items()}
        return card(
            f"Run {self.path}",
            {
                "recipe": self.manifest["recipe"],
                "seed": self.manifest["seed"],
                "dataset": self.manifest["dataset"]["path"],
                "modalities": ", ".join(self.modalities) or "none",
                "best epoch": f"{self.manifest['best_epoch']} of {self.manifest['epochs']}",
                **valid,
            },
        )

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, recipe={self.manifest['recipe']!r}, seed={self.manifest['seed']})"
