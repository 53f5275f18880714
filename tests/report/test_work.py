import pandas as pd
import pytest
from support.runs_by_hand import ABOVE, DiagnosisRow, small_run, write_run

from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.worklist import worklist
from demure.report.work import page_work

WORDS = "A captain finds a door below the lighthouse and does not come back for years"


@pytest.fixture
def reader(tmp_path):
    """Of six items, three have no description, and one of these no picture; i5 has no title."""
    rows = [
        DiagnosisRow(f"u{user}", 0, f"i{k}", modality, "missing" if (k, modality) == (4, "image") else "poi", 0.9)
        for k in range(6)
        for user in range(10 * k, 10 * k + 10 + k)
        for modality in ("image", "text")
    ]
    items = pd.DataFrame(
        {
            "item_id": [f"i{k}" for k in range(6)],
            "title": [*(f"Title {k}" for k in range(5)), None],
            "description": [f"{WORDS} {k}" if k < 3 else None for k in range(6)],
        }
    )
    return DiagnosisReader.open(write_run(tmp_path, rows, items, manifest={"placebo": ABOVE}))


def test_every_item_is_one_task_with_all_its_findings(reader):
    work, rows = page_work(reader), worklist(reader).rows
    assert [task.item_id for task in work.tasks] == list(dict.fromkeys(rows["item_id"]))
    assert sum(len(task.findings) for task in work.tasks) == work.total == len(rows)
    for task in work.tasks:
        own = rows[rows["item_id"] == task.item_id]
        assert [finding.suggestion for finding in task.findings] == own["suggestion"].tolist()
        assert [finding.sign for finding in task.findings] == own["sign"].tolist()
        assert (task.choices, task.words) == (own.iloc[0]["choices"], own.iloc[0]["text"])
    assert work.findings["i4"] == [
        f"{finding.reason} {finding.suggestion}" for finding in find_task(work, "i4").findings
    ]


def find_task(work, item):
    return next(task for task in work.tasks if task.item_id == item)


def test_the_name_is_the_title_or_the_id(reader):
    work = page_work(reader)
    assert find_task(work, "i4").name == "Title 4"
    assert find_task(work, "i5").name == "i5"


def test_the_first_screen_has_each_kind_of_work_once(reader):
    work = page_work(reader)
    suggestions = [task.findings[0].suggestion for task in work.leading]
    assert len(set(suggestions)) == len(suggestions)
    assert all(len(task.findings) == 1 for task in work.leading)
    assert len({task.item_id for task in work.leading}) == len(work.leading)
    counts = worklist(reader).rows["suggestion"].value_counts()
    assert [task.similar for task in work.leading] == [counts[suggestion] - 1 for suggestion in suggestions]
    assert work.item_ids[: len(work.leading)] == [task.item_id for task in work.leading]


def test_a_reason_names_its_cost_once(reader):
    missing = [
        finding for finding in find_task(page_work(reader), "i4").findings if "It has no picture" in finding.reason
    ]
    assert [finding.reason.count("about") for finding in missing] == [1]


def test_a_modality_that_explains_nothing_is_a_task_without_item(tmp_path):
    placebo = {name: values | {"admitted": name == "text"} for name, values in ABOVE.items()}
    work = page_work(DiagnosisReader.open(small_run(tmp_path, manifest={"placebo": placebo})))
    (task,) = [task for task in work.tasks if not task.item_id]
    assert task.name == "A whole modality that explains nothing"
    assert task.findings[0].reason.startswith("Pictures (`image`) explain nothing here")
    assert "" not in work.findings


def test_nothing_to_do(tmp_path):
    work = page_work(DiagnosisReader.open(small_run(tmp_path, pictures=False)))
    assert (work.leading, work.tasks, work.findings, work.item_ids) == ([], [], {}, [])
    assert work.summary == ["Nothing to look at: no item's content stands out."]
