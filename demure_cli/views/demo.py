"""Print the result of `demure demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure.diagnosis.whatif.sentences import interval, signed_percent
from demure_cli.output.style import aside, count, facts, heading, number, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.paired_tests import paired_tests, short_names
from demure_cli.views.user import user_table
from demure_cli.views.verdicts import sentences

if TYPE_CHECKING:
    from demure.demo.run import DemoResult
    from demure.diagnosis.calibration import DiagnosisScore

_METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
_NAMES = {"demure": "demure", "no-denoising": "without denoising", "popularity": "popularity"}


def show(result: DemoResult) -> None:
    """Print the tables of results, the files, and commands to run next."""
    _show_recommendation(result)
    _show_diagnosis(result)
    _show_checks(result)
    user = result.user
    terminal.result(
        "",
        heading(f"User {user.user_id}: the verdict on each choice, and the other choices that support it"),
        user_table(user, terminal.width, caused=result.caused),
        aside("the number: the probability of the word before it; * the modality really was a point of interest"),
        "",
        heading("Files"),
        facts(list(result.files.items())),
        "",
        heading("Commands to run next, and the first one with your own data"),
        f"demure inspect {result.files['run']}",
        f"demure inspect {result.files['run']} --interests",
        f"demure inspect {result.files['run']} --user {user.user_id}",
        f"demure worklist {result.files['run']}",
        f"demure whatif {result.files['run']} --item {result.what_if.item} --without image",
        f"demure train {result.files['dataset']} --out my-run --set denoiser.clusters=12",
        "demure prepare --interactions FILE --items FILE --images DIR --out my-dataset",
        f"and open {result.files['report']} in a browser",
    )
    terminal.note(f"took {sum(result.seconds.values()):.0f} s: " + _spent(result.seconds))


def _spent(seconds: dict[str, float]) -> str:
    return ", ".join(f"{step} {number(value, 1)}" for step, value in seconds.items())


def _show_recommendation(result: DemoResult) -> None:
    runs = result.evaluation.runs
    short = short_names([run.run for run in runs])
    shown = table(["", *(f">{name}" for name in _METRICS)])
    for run in runs:
        name = short[run.run]
        row(shown, _NAMES.get(name, name), *(number(run.metrics.get(metric, float("nan"))) for metric in _METRICS))
    title = f"Recommendation: the test items of {count(runs[0].users)} users, ranked among all items"
    terminal.result(heading(title), shown)
    if result.evaluation.comparison is not None:
        terminal.result("", *paired_tests(result.evaluation.comparison, short))


def _show_diagnosis(result: DemoResult) -> None:
    shown = table(["", ">AUC", ">ECE", ">log-loss", ">noise recall", ">noise precision"])
    for name, score in (("demure", result.diagnosis), ("no-denoising", result.without_denoising)):
        precision = float("nan") if score.noise_precision is None else score.noise_precision
        numbers = (number(score.auc, 3), number(score.ece, 3), number(score.log_loss, 3))
        row(shown, _NAMES[name], *numbers, number(score.noise_recall, 2), number(precision, 2))
    row(shown, "the generator itself", number(result.diagnosis.ceiling, 3), *"----")
    terminal.result(
        "",
        heading("Diagnosis: the cause of each choice, compared with the truth of the generator"),
        shown,
        aside(_by_modality(result.diagnosis)),
        aside(
            "ECE: mean distance of the probabilities from the truth; the generator itself: its own posterior, the best "
            "that is possible"
        ),
    )


def _show_checks(result: DemoResult) -> None:
    """Print what else was found in the catalogue, each beside what is known of it."""
    nouns = {"image": ("pictures", "styles of covers"), "text": ("texts", "topics of stories")}
    lines = [
        f"{own.shown} interests in the {nouns[own.modality][0]} stand for {own.matched} of the {own.kinds} planted "
        f"{nouns[own.modality][1]}; {percent(own.purity)} of what they explain is of their main one."
        for own in result.interests
    ]
    covers, effect = result.wrong_covers, result.what_if
    if covers.wrong:
        lines.append(
            f"{covers.wrong} books have the cover of another one: {covers.matched} of them are among the first "
            f"{covers.first} rows about pictures of the work list."
        )
    if effect.expected:
        change = effect.expected[0]
        lines.append(
            f"{change.what[:1].upper()}{change.what[1:]} would change how often {effect.title or effect.item} is "
            f"chosen by {signed_percent(change.relative)} ({interval(change)}); by the generator "
            f"{signed_percent(effect.true[0])}. Of {len(effect.true)} such changes, the rank correlation with the true "
            f"ones is {number(effect.correlation, 2)}."
        )
    terminal.result("", heading("What people look at, and what to do: compared with the truth"), *sentences(lines))


def _by_modality(score: DiagnosisScore) -> str:
    parts = ", ".join(f"{name} {number(value, 3)}" for name, value in score.auc_by_modality.items())
    return f"over {count(score.pairs)} pairs of interaction and modality; AUC by modality: {parts}"
