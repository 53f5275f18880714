"""Print how much of the training data a split could not have had at test time: for `prepare` and `data show`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from demure_cli.output.style import aside, count, heading, percent, row, table
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    from demure.data.leakage import LeakCounts


def show_leaks(splits: Mapping[str, LeakCounts]) -> None:
    """Print a row per split: sizes, shares of later interactions, and repeated pairs, new users and new items."""
    columns = [">train", ">valid", ">test", ">others' future", ">own future", ">repeated", ">new users", ">new items"]
    shown = table([("split", {"no_wrap": True}), *columns])
    for name, leaks in splits.items():
        learned = leaks.train + leaks.valid
        sizes = (count(size) for size in (leaks.train, leaks.valid, leaks.test))
        shares = ("-" if late is None else percent(late / learned) for late in (leaks.after_cut, leaks.after_own))
        others = (count(n) for n in (leaks.repeated, leaks.users_without_train, leaks.items_without_train))
        row(shown, name, *sizes, *shares, *others)
    terminal.result("", heading("The split and its leakage"), shown)
    terminal.result(
        aside(
            "others' future: share of the train and valid choices that are later than the first held-out choice of "
            "any user; own future: later than the first held-out choice of the same user. repeated: pairs of user and "
            "item that are in train and held out. new: held out, but not in train."
        )
    )
    dated = [f"{name} {count(leaks.items_from_later)}" for name, leaks in splits.items() if leaks.items_from_later]
    if dated:
        terminal.result(aside(f"items in train whose own date is after the first held-out choice: {', '.join(dated)}"))
