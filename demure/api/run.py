"""``demure.Run``: the recommendations, diagnosis and metrics of a run folder, as pandas frames."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from demure.api.dataset import Dataset
from demure.api.drawing import MOST_ROWS, badge, card, drawn, no_answer, pictures, rows, text
from demure.diagnosis.overview import Overview, overview
from demure.diagnosis.placebo import Placebos
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.recommended import describe_scores
from demure.diagnosis.verdict import FLAG_MIN_INTERACTIONS, Verdict
from demure.errors import DemureError
from demure.runs.manifest import RunManifest, dataset_folder, read_manifest, recorded_dataset, verify_dataset
from demure.storage.folders import local_folder

if TYPE_CHECKING:
    from demure.diagnosis.attribution import ChoiceExplanation
    from demure.diagnosis.search import ContentSearch
    from demure.diagnosis.whatif import WhatIf
    from demure.evaluation.ranking import ArrayScorer
    from demure.runs.load import LoadedRun

_DIAGNOSIS = ("user_id", "position", "item_id", "modality", "poi_probability", "evidence", "verdict")


class Run:
    """A run folder that `demure train` wrote: ``Run.load("run")``. The model is loaded when it is first needed."""

    def __init__(self, path: Path, manifest: RunManifest, device: str) -> None:
        self.path, self.manifest, self.device = path, manifest, device

    @classmethod
    def load(cls, path: Path | str, device: str = "auto") -> Run:
        """Open a run folder, also at a URL. Raises ``RunError`` if ``path`` is not a finished run."""
        path = local_folder(path)
        return cls(path, read_manifest(path), device)

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset that the run was made from. Raises ``DatasetError`` if it is gone or has changed."""
        dataset = Dataset.load(dataset_folder(self.path, self.manifest))
        verify_dataset(self.path, self.manifest, dataset.identity, dataset.path)
        return dataset

    @cached_property
    def _loaded(self) -> LoadedRun:
        from demure.runs.load import load_run

        return load_run(self.path, self.device)

    @property
    def modalities(self) -> list[str]:
        """The modalities that the run diagnoses or uses; empty for a baseline without content."""
        return list(self.manifest.modalities)

    def recommend(
        self,
        users: str | Sequence[str] | None = None,
        k: int = 20,
        *,
        history: pd.DataFrame | Path | str | None = None,
        items: pd.DataFrame | Path | str | None = None,
        images: Path | str | None = None,
        only_new: bool = False,
    ) -> pd.DataFrame:
        """Return the ``k`` best items that each user has not chosen yet: user_id, rank (1 = best), item_id, score,
        because (the modality that contributes most, or ``history``), interest (the name of the item's interest in that
        modality), and the item's title if it has one.

        ``users``: an id, several, or None for all. ``history``: a frame or file of interactions; its users, in the
        dataset or new, get recommendations from these rows alone. ``items``: a frame or file of items that came after
        the training, with the columns of the raw items file and their pictures below ``images``; they are scored by
        their content among the others, with ``only_new`` alone; ``attrs["notes"]`` of the frame says what they lack.
        Raises ``DemureError`` for an unknown user, k below 1 and a history without usable rows.
        """
        from demure.evaluation.ranking import check_ks

        (k,) = check_ks([k])
        loaded, new_titles, notes = self._loaded, {}, list[str]()
        if items is not None:
            from demure.data.titles import item_titles
            from demure.runs.new_items import with_new_items

            table = items if isinstance(items, pd.DataFrame) else Path(items)
            extended = with_new_items(loaded, table, None if images is None else Path(images), device=self.device)
            loaded, new_titles, notes = extended.loaded, item_titles(extended.frame), extended.notes
        if history is not None:
            frame = self._recommend_from(loaded, history, users, k, only_new)
        else:
            ids = self.dataset.user_ids if users is None else [users] if isinstance(users, str) else users
            frame = loaded.recommend([str(user) for user in ids], k, only_new=only_new)
        frame = self._titled(frame, after="item_id", new_titles=new_titles)
        if items is not None:
            frame.attrs["notes"] = notes
        return drawn(frame, self._draw_recommendations)

    def _recommend_from(
        self,
        loaded: LoadedRun,
        history: pd.DataFrame | Path | str,
        users: str | Sequence[str] | None,
        k: int,
        only_new: bool,
    ) -> pd.DataFrame:
        from demure.preparation.later_files import as_file
        from demure.preparation.new_users import read_histories

        with as_file(history, "history") as file:
            user_ids, histories, _ = read_histories(file, self.dataset)
        frame = loaded.recommend_to([str(user) for user in user_ids], histories, k, only_new=only_new)
        if users is None:
            return frame
        selected = {users} if isinstance(users, str) else set(users)
        return frame[frame["user_id"].isin(selected)].reset_index(drop=True)

    def overview(
        self, segment: tuple[str, str] | None = None, *, min_count: int = FLAG_MIN_INTERACTIONS, top: int = 10
    ) -> Overview:
        """Return the overview of `demure inspect`, of the run or of one segment such as ``("category", "Drama")``.

        The attributes are the keys of ``inspect --json``, among them ``summary`` (how much the modalities explain above
        their placebo, in sentences), ``neither``, ``causes`` and the frame ``modalities``; tables are frames.
        ``min_count``: interactions an item needs to be among the ``top`` that are ``flagged``. Raises as ``diagnose``,
        and ``DemureError`` for an unknown segment.
        """
        return overview(self.path, segment=segment, min_count=min_count, top=top)

    def diagnose(
        self,
        user: str | None = None,
        item: str | None = None,
        *,
        history: pd.DataFrame | Path | str | None = None,
    ) -> pd.DataFrame:
        """Return every verdict on the training interactions, or those of one user or one item: user_id, position in the
        user's history, item_id, the item's title, modality, poi_probability, evidence (nats), verdict (poi, noise or
        missing).

        ``history``: a frame or file of interactions of new users, or with fresh histories: the verdicts are on these
        instead, without training; ``attrs["notes"]`` of the frame says what is odd about them.
        Raises ``RunError`` if the run has no diagnosis, and for an unknown user or item, naming the nearest ids;
        ``DemureError`` for a history without usable rows.
        """
        notes: list[str] = []
        if history is None:
            reader = DiagnosisReader.open(self.path)
        else:
            from demure.diagnosis.history import diagnose_histories
            from demure.preparation.later_files import as_file

            with as_file(history, "history") as file:
                reader = diagnosed = diagnose_histories(self.path, file, device=self.device)
            notes = diagnosed.notes
        conditions = {name: value for name, value in (("user_id", user), ("item_id", item)) if value is not None}
        frame = reader.diagnosis(_DIAGNOSIS, **conditions).to_pandas()
        if frame.empty and conditions:
            raise reader.unknown_id(*(("user", user) if user is not None else ("item", str(item))))
        frame = frame.sort_values(["user_id", "position"], kind="stable", ignore_index=True)
        frame = self._titled(frame, after="item_id")
        if history is not None:
            frame.attrs["notes"] = notes
        return drawn(frame, self._draw_verdicts) if conditions else frame

    def worklist(self, kinds: str | Sequence[str] = (), top: int | None = None) -> pd.DataFrame:
        """Return the items whose content fails them, as `demure worklist` does: rank, item_id, title, kind, modality,
        sign (sure, strong, fair or weak), choices, cost, reason, suggestion, text, picture, others.

        ``kinds``: one or several of content, duplicate, missing, modality, label; all by default. Raises as
        ``diagnose``, and ``DemureError`` for an unknown kind.
        """
        from demure.diagnosis.worklist import worklist

        return worklist(self.path, kinds=[kinds] if isinstance(kinds, str) else kinds, top=top).rows

    def explain(
        self,
        user: str,
        item: str,
        *,
        history: pd.DataFrame | Path | str | None = None,
        picture_out: Path | str | None = None,
    ) -> ChoiceExplanation:
        """Return which words and which parts of the picture mattered for the choice of ``item`` by ``user``.

        ``history``: a frame or file of interactions, as of ``diagnose``, that has the choice. ``picture_out``: a PNG
        file for the picture beside its heat map. Raises ``RunError`` for an unknown user or item, ``DemureError`` for
        an item that the user did not choose.
        """
        from demure.diagnosis.history import explain_choice_of
        from demure.preparation.later_files import as_file

        with contextlib.nullcontext() if history is None else as_file(history, "history") as file:
            return explain_choice_of(self.path, file, user, item, out=picture_out, device=self.device)

    def what_if(
        self,
        item: str,
        *,
        image: Path | str | None = None,
        text: str | None = None,
        without: str | Sequence[str] = (),
        candidates: Path | str | None = None,
        ab_test: Path | str | None = None,
        seed: int = 0,
    ) -> WhatIf:
        """Return how much more often ``item`` would be chosen with other content, as `demure whatif` does.

        ``image``: a picture file; ``text``: in place of all texts; ``without``: modalities that the item would lack;
        ``candidates``: a folder of pictures, each a change of its own; ``ab_test``: a CSV file to write, which assigns
        every user to a variant. Raises ``RunError`` for an unknown item, ``DemureError`` for content that cannot be
        used and for a modality that explains nothing.
        """
        from demure.diagnosis.whatif import what_if

        return what_if(
            self.path,
            item,
            image=image,
            text=text,
            without=[without] if isinstance(without, str) else without,
            candidates=candidates,
            ab_test=ab_test,
            seed=seed,
            device=self.device,
        )

    def search(self, words: str, modality: str = "", top: int = 20) -> pd.DataFrame:
        """Return the items whose content is nearest to words, as the text search of `demure ui`: modality, rank
        (1 = best), item_id, the item's title, similarity (cosine); ``top`` rows of each modality, or of one.

        Texts are searched by the encoder that made the features, pictures by the text tower of a CLIP model;
        ``attrs["notes"]`` of the frame says which modality cannot be searched, and which words the encoder does not
        know. Raises ``DemureError`` for empty words, ``top`` below 1 and an unknown modality.
        """
        result = self._content_search.nearest(words, modality, top)
        cells = [
            (name, rank, match.item_id, match.similarity)
            for name, matches in result.matches.items()
            for rank, match in enumerate(matches, start=1)
        ]
        frame = pd.DataFrame(cells, columns=["modality", "rank", "item_id", "similarity"])
        frame = self._titled(frame, after="item_id")
        frame.attrs["notes"] = result.notes
        return drawn(frame, self._draw_matches)

    @cached_property
    def _content_search(self) -> ContentSearch:
        from demure.diagnosis.search import ContentSearch

        return ContentSearch(self.dataset, self.modalities or self.dataset.modalities(), self.device)

    def reliance(self, user: str | None = None) -> pd.DataFrame:
        """Return what each user, or one user, relies on: the expected share of choices caused by each modality, and by
        ``none`` of them; one row per user, indexed by user_id. Raises as ``diagnose``."""
        reader = DiagnosisReader.open(self.path)
        frame = reader.reliance(**({} if user is None else {"user_id": user}))
        if frame.empty and user is not None:
            raise reader.unknown_id("user", user)
        wide = frame.pivot(index="user_id", columns="modality", values="reliance")
        wide.columns.name = None
        return wide[list(frame["modality"].unique())]

    def interests(self, modality: str = "") -> pd.DataFrame:
        """Return the interests above their placebo, of all modalities or of one, largest first: modality, number, name,
        share of the choices with its interval (low, high), users and user_share, placebo, excess over it with its
        interval, growth with its interval, and trend.

        Raises ``RunError`` for a run of an earlier version, ``DemureError`` for an unknown modality.
        """
        from demure.diagnosis.interests.view import InterestsView, interests

        if modality and modality not in self.modalities:
            remedy = f"it has: {', '.join(self.modalities) or 'none'}"
            raise DemureError(f"the run has no modality {modality!r}", where=self.path, remedy=remedy)
        view = interests(self.path, modality)
        assert isinstance(view, InterestsView)  # as the name of a modality is not that of an interest
        return view.frame()

    def evaluate(
        self, split: str = "test", k: int | Sequence[int] = (5, 10, 20, 50), by: str | Sequence[str] = ()
    ) -> pd.DataFrame:
        """Return the metrics of `demure eval`: one row per k, and per slice if ``by`` names slicings; a column each."""
        from demure.runs.evaluate import evaluate_runs

        names = [by] if isinstance(by, str) else by
        ks = [k] if isinstance(k, int) else k
        return evaluate_runs([self.path], split=split, ks=ks, by=names, device=self.device).frame().drop(columns="run")

    def scorer(self, split: str = "test") -> ArrayScorer:
        """Return a function from indices of users (B,) to scores (B, items), for an evaluation of your own."""
        from demure.evaluation.ranking import as_array

        score = self._loaded.scorer(split)
        return lambda users: as_array(score(users))

    def _titled(self, frame: pd.DataFrame, *, after: str, new_titles: Mapping[str, str] | None = None) -> pd.DataFrame:
        titles = {**self.dataset.titles, **(new_titles or {})}
        if titles:
            position = list(frame.columns).index(after) + 1
            frame.insert(position, "title", [titles.get(item, "") for item in frame["item_id"]])
        return frame

    def _draw_recommendations(self, frame: pd.DataFrame) -> str:
        shown = frame.head(MOST_ROWS)
        images = pictures(self.dataset, shown["item_id"])
        cells = [
            {
                "user": text(row["user_id"]),
                "rank": row["rank"],
                "": images[row["item_id"]],
                "item": text(row.get("title") or row["item_id"]),
                "because": text(row["because"]),
                "score": f"{row['score']:.3f}",
            }
            for row in shown.to_dict("records")
        ]
        sentence = describe_scores(self.manifest)
        return (f"<p>{text(sentence)}</p>" if sentence else "") + rows(cells, len(frame))

    def _draw_matches(self, frame: pd.DataFrame) -> str:
        shown = frame.head(MOST_ROWS)
        images = pictures(self.dataset, shown["item_id"])
        cells = [
            {
                "modality": text(row["modality"]),
                "rank": row["rank"],
                "": images[row["item_id"]],
                "item": text(row.get("title") or row["item_id"]),
                "similarity": f"{row['similarity']:.2f}",
            }
            for row in shown.to_dict("records")
        ]
        return "".join(f"<p>{text(note)}</p>" for note in frame.attrs["notes"]) + rows(cells, len(frame))

    def _draw_verdicts(self, frame: pd.DataFrame) -> str:
        """Draw one row per interaction, the latest of them, with a badge per modality."""
        groups = [part for _, part in frame.groupby(["user_id", "position"], sort=False)]
        shown = groups[-MOST_ROWS:]
        images = pictures(self.dataset, (str(part["item_id"].iloc[0]) for part in shown))
        one_user = frame["user_id"].nunique() == 1
        cannot_tell = Placebos.read(self.manifest, list(frame["modality"].unique())).cannot_tell
        cells = []
        for part in shown:
            row = part.iloc[0]
            verdicts = zip(part["modality"], map(Verdict, part["verdict"]), part["poi_probability"], strict=True)
            badges = {
                text(name): no_answer()
                if name in cannot_tell and verdict is not Verdict.MISSING
                else badge(verdict, float(probability))
                for name, verdict, probability in verdicts
            }
            cells.append(
                {
                    **({} if one_user else {"user": text(row["user_id"])}),
                    "": images[row["item_id"]],
                    "item": text(row.get("title") or row["item_id"]),
                    **badges,
                }
            )
        return rows(cells, len(groups), first=False)

    def _repr_html_(self) -> str:
        valid = {f"validation {name}": f"{value:.4f}" for name, value in self.manifest.valid.items()}
        return card(
            f"Run {self.path}",
            {
                "recipe": self.manifest.recipe,
                "seed": self.manifest.seed,
                "dataset": recorded_dataset(self.path, self.manifest).path,
                "modalities": ", ".join(self.modalities) or "none",
                "best epoch": f"{self.manifest.best_epoch} of {self.manifest.epochs}",
                **valid,
            },
        )

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, recipe={self.manifest.recipe!r}, seed={self.manifest.seed})"
