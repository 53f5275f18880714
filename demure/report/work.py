"""The work list as the page shows it: what to do first, and all that was found about an item in one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.worklist import KINDS, worklist
from demure.diagnosis.worklist.finding import cost_sentence

_SHOWN = 24
_LEADING = 3


@dataclass(frozen=True)
class Finding:
    """What is wrong (``reason``, with its cost) and what to do (``suggestion``), in sentences, and the ``sign``."""

    reason: str
    suggestion: str
    sign: str


@dataclass(frozen=True)
class Task:
    """An item, or a whole modality, and all that was found about it, the most worth the work first.

    ``name``: its title or id, or the kind of finding; ``item_id`` is empty for a modality. ``choices`` concerned,
    ``words``: the item's own. ``similar``: how many more rows have the kind, modality and advice of the first finding.
    """

    item_id: str
    name: str
    choices: int
    words: str
    findings: list[Finding]
    similar: int = 0


@dataclass(frozen=True)
class PageWork:
    """``summary``, ``rule`` and ``notes`` as of ``WorkList``; ``total`` rows, by ``tasks``: all of them in the order of
    the list. ``leading``: the first task of each kind of work, with that work alone."""

    summary: list[str]
    rule: str
    notes: list[str]
    total: int
    leading: list[Task]
    tasks: list[Task]

    @property
    def shown(self) -> list[Task]:
        """The tasks that the page shows in full."""
        return self.tasks[:_SHOWN]

    @cached_property
    def findings(self) -> dict[str, list[str]]:
        """Item id -> what is wrong and what to do, in sentences."""
        return {
            task.item_id: [f"{finding.reason} {finding.suggestion}" for finding in task.findings]
            for task in self.tasks
            if task.item_id
        }

    @property
    def item_ids(self) -> list[str]:
        """Ids of the items that the page shows as work, those of the first screen first."""
        return list(dict.fromkeys(task.item_id for task in [*self.leading, *self.shown] if task.item_id))


def page_work(reader: DiagnosisReader) -> PageWork:
    """Return the work list of a run for the page."""
    view = worklist(reader)
    rows = [{str(column): value for column, value in row.items()} for row in view.rows.to_dict("records")]
    similar = Counter(map(_work, rows))
    tasks: dict[str, Task] = {}
    leading: dict[tuple[str, ...], Task] = {}
    for row in rows:
        finding = _finding(row)
        task = Task(row["item_id"], _name(row), row["choices"], row["text"], [finding], similar[_work(row)] - 1)
        key = row["item_id"] or f"{row['kind']} {row['modality']}"
        if key in tasks:
            tasks[key].findings.append(finding)
        else:
            tasks[key] = task
        if row["item_id"] not in {led.item_id for led in leading.values()}:
            leading.setdefault(_work(row), replace(task, findings=[finding]))
    return PageWork(
        view.summary, view.rule, view.notes, view.total, list(leading.values())[:_LEADING], list(tasks.values())
    )


def _work(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is the same for all rows that ask for the same work."""
    return row["kind"], row["modality"], row["suggestion"]


def _name(row: Mapping[str, Any]) -> str:
    kind = KINDS[row["kind"]]
    return str(row["title"] or row["item_id"] or f"{kind[0].upper()}{kind[1:]}")


def _finding(row: Mapping[str, Any]) -> Finding:
    # The reason of a missing modality holds its cost.
    cost = "" if row["kind"] == "missing" else cost_sentence(row["cost"])
    return Finding(" ".join(filter(None, (row["reason"], cost))), row["suggestion"], row["sign"])
