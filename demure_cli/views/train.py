"""Print the result of `demure train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import count, facts, heading, number, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import sentences

if TYPE_CHECKING:
    from demure.tracking.profile import Profile
    from demure.training.tracked import TrackedReport


def show(result: TrackedReport) -> None:
    """Print the run, its validation metrics, the profile if there is one, and the next commands."""
    terminal.result(
        *sentences([_sentence(result)]),
        "",
        facts(
            [
                ("recipe", result.recipe),
                *([("seed", result.seed)] if result.seed else []),
                ("modalities", ", ".join(result.modalities) or "not used"),
                ("seconds", number(result.seconds, 1)),
                ("run", result.run),
            ]
        ),
    )
    for name in result.left_out:
        terminal.note(f"left out: {name}, another encoding of a modality in use; choose with --set modalities=[...]")
    for name, reason in result.constant.items():
        terminal.note(f"left out: {name}, as {reason}: it can be no reason for a choice (see `demure features check`)")
    if result.profile is not None:
        _show_profile(result.profile)
    terminal.notes(result.notes)
    commands = ["inspect", "eval"] if result.diagnosed else ["eval"]
    terminal.note("next: " + ", ".join(f"demure {command} {result.run}" for command in commands))


def _sentence(result: TrackedReport) -> str:
    """Return how long the training went on, which epoch it kept, and how good that one is on validation."""
    valid = ", ".join(f"{name} {number(value)}" for name, value in result.valid.items())
    measured = f"on validation: {valid}" if valid else "there is no validation split"
    if not result.epochs:
        return f"Fitted without epochs; {measured}."
    stopped = f" of at most {result.max_epochs}" if result.epochs < result.max_epochs else ""
    reason = "the best on validation" if valid else "the last"
    epochs = f"Trained {result.epochs}{stopped} epoch{'s' * (result.epochs != 1)}"
    kept = f"kept epoch {result.best_epoch}, {reason}" if result.best_epoch else "kept the state before the first"
    return f"{epochs} and {kept}; {measured}."


def _show_profile(profile: Profile) -> None:
    total = sum(profile.stages.values())
    stages = table(["stage", ">seconds", ">share"])
    for name, seconds in sorted(profile.stages.items(), key=lambda pair: -pair[1]):
        row(stages, name, number(seconds, 2), percent(seconds / max(total, 1e-12)))
    terminal.result("", heading("Time by stage"), stages)
    if profile.trace is None:
        terminal.note("no trace: it starts at the third step, and the training had fewer steps")
        return
    shown = table([("operator", {"no_wrap": True, "overflow": "ellipsis"}), ">calls", ">ms", ">share"])
    for operator in profile.operators:
        milliseconds = number(1000 * operator.seconds, 1)
        row(shown, operator.name, count(operator.calls), milliseconds, percent(operator.share))
    terminal.result("", heading(f"Time by operator, over {profile.steps} traced steps"), shown)
    terminal.note(f"the trace: {profile.trace}, for chrome://tracing or ui.perfetto.dev")
