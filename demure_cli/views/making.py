"""What the commands that make something print: what was made, and what a reader should know about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from demure.recipe.reference import short
from demure_cli.output.style import aside, count, facts, heading, number, percent, row, table
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    from demure.extraction.catalogue import Listed
    from demure.extraction.extract import ExtractReport
    from demure.report.build import Report
    from demure.runs.recommend import Recommended
    from demure.serving.export import ExportReport
    from demure.tracking.profile import Profile
    from demure.training.tracked import TrackedReport
    from demure.tuning.results import TuneReport


_COLUMNS = 3  # of the items, that a table names


def show_recommended(result: Recommended) -> None:
    from demure.diagnosis.recommended import made_of
    from demure.runs.folder import read_manifest

    words = made_of(read_manifest(Path(result.run)))
    terminal.result(*([Text(words), ""] if words else []))
    terminal.result(
        facts([("written", result.written), ("users", count(result.users)), ("rows", count(result.rows))]), ""
    )
    if not result.preview.empty:
        titled = "title" in result.preview.columns
        columns: list[Any] = [">rank", ("item", {"no_wrap": True, "max_width": 16})]
        columns += [("title", {"no_wrap": True, "ratio": 1})] if titled else []
        shown = table([*columns, ">score", "because"])
        for line in result.preview.to_dict("records"):
            title = [line["title"] or "-"] if titled else []
            row(shown, line["rank"], line["item_id"], *title, number(line["score"], 3), line["because"])
        terminal.result(heading(f"For user {result.preview['user_id'].iloc[0]}"), shown)
    for words in result.notes:
        terminal.note(f"note: {words}")


def show_report(result: Report) -> None:
    users = count(result.users)
    if result.users < result.users_total:
        users += f" of {count(result.users_total)}, spread evenly over the ids"
    size = f"{result.bytes / 1e6:.1f} MB"
    terminal.result(
        facts([("written", result.report), ("size", size), ("users", users), ("pictures", count(result.pictures))])
    )
    terminal.note("open it in a browser; it needs no network")


def show_extracted(result: ExtractReport) -> None:
    shown = table(
        ["modality", ("encoder", {"overflow": "fold"}), ">dim", ">items", ">with features", ">missing", ">seconds"]
    )
    for made in result.modalities:
        there, missing = count(made.present), count(made.missing)
        few = ", ".join(made.columns) if len(made.columns) <= _COLUMNS else f"{len(made.columns)} columns"
        columns = f" of {few}" if made.columns else ""
        encoder, seconds = f"{made.encoder}{columns}", number(made.seconds, 1)
        row(shown, made.name, encoder, made.dim, count(made.items), there, missing, seconds)
    terminal.result(facts([("dataset", result.dataset)]), "", shown)
    problems = [(made, kind, n) for made in result.modalities for kind, n in made.problems.items()]
    if problems:
        listed = table(["modality", "problem", ">items", ("for example", {"no_wrap": True})])
        for made, kind, n in problems:
            example = next((f"{one['item_id']} {one['value']}" for one in made.first if one["problem"] == kind), "")
            row(listed, made.name, kind, count(n), example)
        terminal.result("", heading("Recorded as missing"), listed)
        files = ", ".join(str(made.folder / "problems.csv") for made in result.modalities if made.problems)
        terminal.result(aside(f"all of them: {files}"))
    for made in result.modalities:
        if made.kept is not None:
            terminal.note(f"{made.name}: {made.kept}")
        elif made.resumed:
            terminal.note(f"{made.name}: {count(made.resumed)} of {count(made.distinct)} inputs were encoded before")
        for words in (*made.assumed, *made.notes):
            terminal.note(f"{made.name}: {words}")
    for words in result.left_out:
        terminal.note(f"left out: {words}")


def show_extractors(result: dict[str, list[Listed]]) -> None:
    shown = table(["family", "encodes", ("what it is", {"ratio": 2}), ("here", {"ratio": 1})])
    shown.expand = True
    for listed in result["extractors"]:
        row(shown, listed.family, ", ".join(listed.encodes), listed.about, listed.state)
    terminal.result(heading("Encoders for `demure extract --text`, `--image` and `--attributes`"), shown)
    models = [model for listed in result["extractors"] for model in listed.models]
    for title, here in (("Runs here without a download", True), ("Worth a download", False)):
        some = [model for model in models if (model.where != "download") == here]
        shown = table([("encoder", {"overflow": "fold"}), ">dim", ">MB", *(["where"] if here else [])])
        for model in some:
            size = "-" if model.bytes is None else count(round(model.bytes / 1e6))
            about = "about " if model.approximate else ""
            dim = "-" if model.dim is None else count(model.dim)
            row(shown, model.name, dim, about + size, *([model.where] if here else []))
        terminal.result("", heading(title), shown)
    terminal.note(
        "any other: family:owner/model from the hub, clip:ARCHITECTURE/TAG of open_clip, or family:/path/to/folder"
    )


def show_recipes(result: dict[str, list[dict[str, str]]]) -> None:
    shown = table(["recipe", "model", ("what it is for", {"overflow": "fold"})])
    for recipe in result["recipes"]:
        row(shown, recipe["name"], recipe["model"], recipe["about"])
    terminal.result(shown)
    terminal.note("one in full: demure recipes show NAME; to change one: demure recipes copy NAME FILE")


def show_keys(result: dict[str, Any]) -> None:
    columns: list[Any] = [("key", {"no_wrap": True}), ("default", {"overflow": "fold"}), "range"]
    shown = table([*columns, ("meaning", {"ratio": 2}), *([("source", {"ratio": 1})] if terminal.width >= 120 else [])])
    shown.expand = True
    for key in result["keys"]:
        default = "" if key.default in ("", []) else short(key.default)
        row(shown, key.name, default, key.range, key.doc, *([key.source] if terminal.width >= 120 else []))
    terminal.result(heading(f"Keys of a recipe with model: {result['model']}"), shown)
    if result["model"] == "demure":
        terminal.note("the options of a baseline: demure recipes keys MODEL")


def show_trained(result: TrackedReport) -> None:
    epochs = f"{result.epochs}, the best by validation: {result.best_epoch}" if result.epochs else "none needed"
    valid = ", ".join(f"{name} {number(value)}" for name, value in result.valid.items()) or "no validation split"
    terminal.result(
        facts(
            [
                ("run", result.run),
                ("recipe", result.recipe),
                *([("seed", result.seed)] if result.seed else []),
                ("modalities", ", ".join(result.modalities) or "not used"),
                ("epochs", epochs),
                ("validation", valid),
                ("seconds", number(result.seconds, 1)),
            ]
        )
    )
    for name in result.left_out:
        terminal.note(f"left out: {name}, a second encoding of what is used; to choose: --set modalities=[...]")
    if result.profile is not None:
        _show_profile(result.profile)
    for words in result.notes:
        terminal.note(f"note: {words}")
    told = f"demure inspect {result.run}, demure eval {result.run}" if result.diagnosed else f"demure eval {result.run}"
    terminal.note(f"next: {told}")


def _show_profile(profile: Profile) -> None:
    total = sum(profile.stages.values())
    stages = table(["stage", ">seconds", ">share"])
    for name, seconds in sorted(profile.stages.items(), key=lambda pair: -pair[1]):
        row(stages, name, number(seconds, 2), percent(seconds / max(total, 1e-12)))
    terminal.result("", heading("Where the time went"), stages)
    if profile.trace is None:
        terminal.note("too few steps for a trace: the first two are not traced")
        return
    shown = table([("operator", {"no_wrap": True, "overflow": "ellipsis"}), ">calls", ">ms", ">share"])
    for one in profile.operators:
        row(shown, one.name, count(one.calls), number(1000 * one.seconds, 1), percent(one.share))
    terminal.result("", heading(f"In {profile.steps} traced steps"), shown)
    terminal.note(f"the trace: {profile.trace}, for chrome://tracing or ui.perfetto.dev")


_BEST_TRIALS = 10


def show_tuned(result: TuneReport) -> None:
    states = [one.state for one in result.trials]
    told = ", ".join(f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed") if state in states)
    first = result.trials[0].value
    terminal.result(
        facts(
            [
                ("study", result.study),
                ("recipe", result.recipe),
                ("trials", f"{told}" + (f"; {result.left} left" if result.left else "")),
                ("before", "-" if first is None else f"{result.metric} {number(first)} (trial 0, the recipe as it is)"),
                ("best", f"{result.metric} {number(result.best.value or 0)} (trial {result.best.number})"),
                ("written", result.written),
            ]
        )
    )
    shown = table([">trial", f">{result.metric}", ">epochs", ">seconds", ("with", {"overflow": "fold"})])
    complete = sorted((one for one in result.trials if one.value is not None), key=lambda one: -(one.value or 0))
    for one in complete[:_BEST_TRIALS]:
        params = "  ".join(f"{key.rpartition('.')[2]} {short(value)}" for key, value in one.params.items())
        row(shown, one.number, number(one.value or 0), one.epochs or "-", number(one.seconds, 1), params)
    terminal.result("", heading("The best trials"), shown)
    if result.importance:
        mattered = table(["key", ("searched", {"overflow": "fold"}), ">best", ">importance"])
        for key, share in result.importance.items():
            row(mattered, key, result.space[key], short(result.best.params[key]), percent(share))
        terminal.result("", heading("What mattered"), mattered)
    for one in [one for one in result.trials if one.error][:3]:
        terminal.note(f"trial {one.number} failed: {one.error}")
    if result.left:
        terminal.note("the same command goes on with the trials that are left")
    terminal.note(f"charts: {result.page}")
    terminal.note(f"next: demure train {result.dataset} --out RUN --recipe {result.written}")


def show_exported(result: ExportReport) -> None:
    checked = [
        f"{one.what} of {one.users} users within {one.difference:.1g} of their spread, {percent(one.same_top)} of the "
        f"first {one.top} the same"
        for one in result.checks
    ]
    terminal.result(
        facts(
            [
                ("written", result.out),
                ("model", result.model),
                *(("holds", words) for words in result.holds),
                *(("not in it", words) for words in result.lacks),
                *(("checked", words) for words in checked),
            ]
        )
    )
    files = table([("file", {"overflow": "fold"}), ">MB"])
    for name, size in result.files.items():
        row(files, name, number(size / 1e6, 2))
    terminal.result("", files)
    if result.indexes:
        shown = table(["index", ">items", ">dim", ">recall", ">k", ">build s", ">exact ms", ">index ms"])
        for one in result.indexes:
            timed = (number(one.build_seconds, 1), number(one.exact_ms, 2), number(one.approximate_ms, 2))
            row(shown, one.file, count(one.items), one.dim, number(one.recall), one.k, *timed)
        terminal.result("", heading("Approximate search, against the exact one"), shown)
