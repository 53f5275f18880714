"""What `demure demo` prints at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import aside, count, facts, heading, number, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.eval import paired_tests, short_names
from demure_cli.views.inspect_one import user_table

if TYPE_CHECKING:
    from demure.demo.run import DemoResult
    from demure.diagnosis.calibration import DiagnosisScore

_METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
_WORDS = {
    "demure": "demure",
    "no-denoising": "without denoising",
    "popularity": "popularity",
}


def show(result: DemoResult) -> None:
    """Print the four tables, where the files are, and what to run next."""
    _recommending(result)
    _diagnosing(result)
    user = result.user
    terminal.result(
        "",
        heading(f"User {user.user_id}: each choice, what demure says it was for, and which choices speak for that"),
        user_table(user, terminal.width, caused=result.caused),
        aside("the number: the probability of the word before it; * the modality truly was a point of interest"),
        "",
        heading("Where everything is"),
        facts(list(result.files.items())),
        "",
        heading("What to run next, and then with your own data"),
        f"demure inspect {result.files['run']}",
        f"demure inspect {result.files['run']} --user {user.user_id}",
        f"demure train {result.files['dataset']} --out my-run --set denoiser.themes=12",
        "demure prepare --interactions FILE --items FILE --images DIR --out my-dataset",
        f"and open {result.files['report']} in a browser",
    )
    terminal.note(f"took {sum(result.seconds.values()):.0f} s: " + _spent(result.seconds))


def _spent(seconds: dict[str, float]) -> str:
    return ", ".join(f"{step} {number(value, 1)}" for step, value in seconds.items())


def _recommending(result: DemoResult) -> None:
    judged = result.judgement.runs
    short = short_names([run.run for run in judged])
    shown = table(["", *(f">{name}" for name in _METRICS)])
    for run in judged:
        name = short[run.run]
        row(shown, _WORDS.get(name, name), *(number(run.metrics.get(metric, float("nan"))) for metric in _METRICS))
    terminal.result(heading(f"Recommending: the test items of {count(judged[0].users)} users, among all items"), shown)
    if result.judgement.comparison is not None:
        terminal.result("", *paired_tests(result.judgement.comparison, short))


def _diagnosing(result: DemoResult) -> None:
    shown = table(["", ">AUC", ">ECE", ">log-loss", ">noise found", ">rightly so"])
    for name, score in (("demure", result.diagnosis), ("no-denoising", result.without_denoising)):
        precision = float("nan") if score.noise_precision is None else score.noise_precision
        told = (number(score.auc, 3), number(score.ece, 3), number(score.log_loss, 3))
        row(shown, _WORDS[name], *told, number(score.noise_recall, 2), number(precision, 2))
    row(shown, "the generator itself", number(result.diagnosis.ceiling, 3), *"----")
    terminal.result(
        "",
        heading("Diagnosing: what caused each choice, against what the generator knows"),
        shown,
        aside(_by_modality(result.diagnosis)),
        aside(
            "ECE: how far the probabilities are from the truth; the generator itself: its own posterior, the ceiling"
        ),
    )


def _by_modality(score: DiagnosisScore) -> str:
    parts = ", ".join(f"{name} {number(value, 3)}" for name, value in score.auc_by_modality.items())
    return f"over {count(score.pairs)} interaction-modality pairs; AUC by modality: {parts}"
