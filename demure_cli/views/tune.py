"""Print the result of `demure tune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import facts, heading, number, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import sentences

if TYPE_CHECKING:
    from demure.tuning.results import TuneReport

_BEST_TRIALS = 10
_FAILURES = 3


def show(result: TuneReport) -> None:
    """Print the study, its best trials, the importance of the keys, failures, and the next command."""
    from demure.recipe.reference import short

    states = [trial.state for trial in result.trials]
    trials = ", ".join(f"{states.count(name)} {name}" for name in ("complete", "pruned", "failed") if name in states)
    trials += f"; {result.left} left" if result.left else ""
    first = result.trials[0].value
    best = f"Trial {result.best.number} is the best: {result.metric} {number(result.best.value or 0)} on validation"
    before = "" if first is None else f", and {number(first)} with the unchanged recipe (trial 0)"
    terminal.result(
        *sentences([f"{best}{before}."]),
        "",
        facts(
            [("trials", trials), ("recipe", result.recipe), ("best recipe", result.written), ("study", result.study)]
        ),
    )
    shown = table([">trial", f">{result.metric}", ">epochs", ">seconds", ("values", {"overflow": "fold"})])
    complete = sorted((trial for trial in result.trials if trial.value is not None), key=lambda t: -(t.value or 0))
    for trial in complete[:_BEST_TRIALS]:
        values = "  ".join(f"{key.rpartition('.')[2]} {short(value)}" for key, value in trial.params.items())
        row(shown, trial.number, number(trial.value or 0), trial.epochs or "-", number(trial.seconds, 1), values)
    terminal.result("", heading("The best trials"), shown)
    if result.importance:
        shown = table(["key", ("searched", {"overflow": "fold"}), ">best", ">importance"])
        for key, share in result.importance.items():
            row(shown, key, result.space[key], short(result.best.params[key]), percent(share))
        terminal.result("", heading("Importance of the keys"), shown)
    failed = [trial for trial in result.trials if trial.error]
    terminal.notes((f"trial {trial.number} failed: {trial.error}" for trial in failed[:_FAILURES]), prefix="")
    if result.left:
        terminal.note("the same command continues with the trials that are left")
    terminal.note(f"charts: {result.page}")
    terminal.note(f"next: demure train {result.dataset} --out RUN --recipe {result.written}")
