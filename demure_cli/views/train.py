"""Print the result of `demure train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import count, facts, heading, number, percent, row, table
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    from demure.tracking.profile import Profile
    from demure.training.tracked import TrackedReport


def show(result: TrackedReport) -> None:
    """Print the run, its validation metrics, the profile if there is one, and the next commands."""
    epochs = f"{result.epochs}, best on validation: {result.best_epoch}" if result.epochs else "none needed"
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
        terminal.note(f"left out: {name}, another encoding of a modality in use; choose with --set modalities=[...]")
    for name, reason in result.constant.items():
        terminal.note(f"left out: {name}, as {reason}: it can be no reason for a choice (see `demure features check`)")
    if result.profile is not None:
        _show_profile(result.profile)
    terminal.notes(result.notes)
    commands = ["inspect", "eval"] if result.diagnosed else ["eval"]
    terminal.note("next: " + ", ".join(f"demure {command} {result.run}" for command in commands))


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
