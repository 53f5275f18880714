"""What holds of every view: it fits the terminal, its headings are whole, and they are fields of --where and --sort."""

import json
import os
import pty
import re
import sys

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from rich.text import Text
from support.runs_by_hand import ABOVE, CAUSES, FEATURES, DiagnosisRow, write_run

from demure.diagnosis.interests.stored import InterestPlacebo, StoredInterest, write_interests
from demure.progress import Notice, Plan, Progress
from demure_cli.app import main
from demure_cli.output.progress import Lines
from demure_cli.output.style import row, table
from demure_cli.output.terminal import terminal

RULE = re.compile(r"^─+$")
USERS, ITEMS, CHOICES = 12, 40, 30
VIEWS = {
    "overview": ["--min-count", "1"],
    "user": ["--user", "user-0"],
    "user-long": ["--user", "user-0", "--long"],
    "item": ["--item", "item-number-0003"],
    "modality": ["--modality", "image"],
    "users": ["--list", "users"],
    "items": ["--list", "items"],
    "interests": ["--interests"],
    "interest": ["--interests", "text 1"],
    **{
        f"segment-{kind}": ["--segment", kind]
        for kind in ("category", "reliance", "history", "popularity", "time", "interest")
    },
    "segment": ["--segment", "category=outerwear and jackets", "--min-count", "1"],
}
FILTERED = (
    *("overview", "user", "item", "modality", "users", "items", "interests"),
    *(name for name in VIEWS if name.startswith("segment-")),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with long ids, titles and names of interests, and with categories, dates, a placebo and interests."""
    random = np.random.default_rng(0)
    rows, interest = [], []
    for u in range(USERS):
        for position, item in enumerate(random.permutation(ITEMS)[:CHOICES]):
            for name in ("image", "text"):
                probability = float(random.random())
                verdict = "poi" if probability > 0.5 else "noise"
                rows.append(DiagnosisRow(f"user-{u}", position, f"item-number-{item:04}", name, verdict, probability))
                interest.append(int(item) % 3)
    items = pd.DataFrame(
        {
            "item_id": [f"item-number-{k:04}" for k in range(ITEMS)],
            "title": [f"The incomprehensibly long title of number {k} of these items" for k in range(ITEMS)],
            "category": [("outerwear and jackets", "shoes")[k % 2] for k in range(ITEMS)],
        }
    )
    folder = tmp_path_factory.mktemp("views")
    manifest = {"placebo": ABOVE, "causes": CAUSES, "features": FEATURES}
    made = write_run(folder, rows, items, pictures=False, manifest=manifest)
    frame = pd.read_parquet(made / "diagnosis.parquet")
    frame["interest"] = np.array(interest, np.int16)
    frame.to_parquet(made / "diagnosis.parquet")
    above = InterestPlacebo(0.01, 0.4, 0.3, 0.5)
    words = ("waterproof, hooded, drawstring", "knitwear, jumper, sweater", "denim, jeans, washed")
    stored = [StoredInterest(k, name, [name], [], above) for k, name in enumerate(words)]
    write_interests(made, {"image": stored, "text": stored})
    return str(made)


def shown(capsys, *arguments):
    assert main([*arguments, "--quiet"]) == 0
    return capsys.readouterr().out


def headings_of(text):
    """The headings of the last table of ``text`` that has one line of headings."""
    lines = text.splitlines()
    rules = [k for k, line in enumerate(lines) if RULE.match(line)]
    return re.split(r"\s{2,}", lines[rules[-1] - 1].strip())


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("name", VIEWS)
def test_no_line_is_wider_than_the_terminal_and_no_heading_is_cut(capsys, monkeypatch, run, name, width):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = shown(capsys, "inspect", run, *VIEWS[name]).splitlines()
    assert max(map(len, lines)) <= width
    above = [line for k, line in enumerate(lines[:-1]) if RULE.match(lines[k + 1])]
    assert above or name == "interest"
    assert not any("…" in line for line in above)


@pytest.mark.parametrize("name", FILTERED)
def test_each_heading_is_a_field_of_where_and_sort(capsys, monkeypatch, run, name):
    monkeypatch.setenv("COLUMNS", "240")
    text = shown(capsys, "inspect", run, *VIEWS[name])
    headings = [heading for heading in headings_of(text) if heading]
    assert len(headings) >= 4
    for heading in headings:
        filtered = shown(capsys, "inspect", run, *VIEWS[name], "--where", f"{heading}~", "--sort", f"-{heading}")
        assert headings_of(filtered) == headings_of(text)


@pytest.mark.parametrize("name", ["user", "item", "modality", "users", "items", "segment-category"])
def test_a_modality_is_a_field_wherever_rows_have_shares_or_probabilities(capsys, run, name):
    few = shown(capsys, "inspect", run, *VIEWS[name], "--where", "image>=0.6", "--sort", "-image", "--long")
    everything = shown(capsys, "inspect", run, *VIEWS[name], "--long")
    assert len(few.splitlines()) < len(everything.splitlines())


def test_a_view_without_such_a_field_lists_its_fields(capsys, run):
    assert main(["inspect", run, "--interests", "--where", "image>=0.8"]) == 2
    message = capsys.readouterr().err
    assert "no field 'image' in this view" in message
    for heading in ("interest", "name", "share", "user_share", "growth", "examples"):
        assert heading in message


def test_the_items_filtered_by_a_modality_are_those_of_the_row(capsys, run):
    """A row of the text is kept for the image of its item."""
    rows = shown(capsys, "inspect", run, "--list", "items", "--where", "image>=0.6", "--long", "--json")
    everything = shown(capsys, "inspect", run, "--list", "items", "--long", "--json")
    kept, every = (pd.DataFrame(json.loads(text)["rows"]) for text in (rows, everything))
    image = every[every["modality"] == "image"].set_index("item_id")["noise"]
    expected = {(item, name) for item in image[1 - image >= 0.6].index for name in ("image", "text")}
    assert set(zip(kept["item_id"], kept["modality"], strict=True)) == expected


def test_only_segments_that_the_data_has_are_advised(capsys, run, tmp_path):
    assert main(["inspect", run]) == 0
    assert "(category, reliance, history, popularity, time, interest)" in capsys.readouterr().err
    rows = [DiagnosisRow("u", k, f"i{k}", "text", "poi", 0.9) for k in range(6)]
    items = pd.DataFrame({"item_id": [f"i{k}" for k in range(6)]})
    bare = str(write_run(tmp_path, rows, items, pictures=False, timestamps=False))
    assert main(["inspect", bare]) == 0
    assert "(reliance, history, popularity)" in capsys.readouterr().err
    assert main(["inspect", bare, "--segment", "category"]) == 2
    assert "there are: reliance, history, popularity; or give the items a column" in capsys.readouterr().err


def test_interests_are_limited_and_the_summary_is_of_all(capsys, run):
    text = shown(capsys, "inspect", run, "--interests", "--top", "2")
    assert "4 more: --top N for more of them, --long for all" in text
    assert len(re.findall(r"^(?:image|text) \d ", text, re.MULTILINE)) == 2
    assert "3 interests in the pictures" in text
    assert "3 interests in the texts" in text


def drawn(shown_table, width):
    console = Console(width=width, file=open(os.devnull, "w"), record=True)  # noqa: SIM115
    console.print(shown_table)
    return [line.rstrip() for line in console.export_text().splitlines()]


def example():
    shown_table = table(["run", ">recall@20", ">95 % interval", ("title", {"no_wrap": True, "min_width": 8})])
    row(shown_table, "amazon-scientific-default-0", "0.1234", "0.1 to 0.2", "A title of some words")
    row(shown_table, "knn", "0.2345", "0.2 to 0.3", "Another")
    return shown_table


def test_a_table_takes_no_more_room_than_it_needs():
    assert drawn(example(), 160)[0] == "run                          recall@20  95 % interval  title"


def test_names_are_folded_at_their_signs_before_a_heading_is_cut():
    lines = drawn(example(), 52)
    assert sorted(" ".join(lines[:2]).split()) == ["%", "95", "interval", "recall@20", "run", "title"]
    assert [line.split()[0] for line in lines[3:5]] == ["amazon-scientific-", "default-0"]
    assert max(map(len, lines)) <= 52


def test_a_table_that_does_not_fit_becomes_blocks():
    lines = drawn(example(), 34)
    assert lines[:5] == [
        "run: amazon-scientific-default-0",
        "recall@20: 0.1234",
        "95 % interval: 0.1 to 0.2",
        "title: A title of some words",
        "",
    ]


@pytest.mark.parametrize("width", range(20, 100, 7))
def test_every_word_of_a_heading_and_of_a_cell_that_folds_is_there_at_any_width(width):
    text = "".join(drawn(example(), width))
    for word in ("recall@20", "interval", "0.1234", "0.2 to 0.3", "knn"):
        assert word in text or word in " ".join(drawn(example(), width))


def test_an_indented_cell_keeps_its_indentation():
    shown_table = table(["", ">x"])
    row(shown_table, Text("group", style="bold"), "")
    row(shown_table, " the first of these methods - the second", 1)
    lines = drawn(shown_table, 28)
    assert all(line.startswith(" ") for line in lines[3:])
    assert len(lines) > 4


def test_no_color_leaves_pictures_out(monkeypatch):
    for name, value in {"FORCE_COLOR": "1", "COLORTERM": "truecolor", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal.reset()
    assert terminal.shows_pictures
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.shows_pictures


def in_a_terminal(start_python, arguments, **variables):
    """Run demure with a terminal of 80 x 24 as its input and output; return what appears there."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm", **variables}
    process = start_python(
        "-P", "-m", "demure_cli", *arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    assert process.wait(60) == 0
    return b"".join(parts).decode()


@pytest.mark.skipif(sys.platform != "linux", reason="reads a pseudo-terminal to its end as Linux does")
@pytest.mark.parametrize(
    ("arguments", "paged"),
    [
        (["--user", "user-0", "--long"], True),
        (["--user", "user-0", "--long", "--quiet"], False),
        (["--user", "user-0", "--long", "--json"], False),
        (["--segment", "category"], False),
    ],
)
def test_a_result_longer_than_the_terminal_goes_through_the_pager(start_python, run, arguments, paged):
    text = in_a_terminal(start_python, ["inspect", run, *arguments], PAGER="sed s/^/paged:/")
    assert ("paged:" in text) == paged


def test_no_pager_where_the_output_is_not_a_terminal(capsys, monkeypatch, run):
    monkeypatch.setenv("PAGER", "false")
    assert shown(capsys, "inspect", run, "--user", "user-0", "--long").count("\n") > 60


def test_progress_names_the_stage_and_how_many_there_are(monkeypatch):
    lines, now = [], iter(range(0, 1000, 10))
    monkeypatch.setattr("time.monotonic", lambda: float(next(now)))
    listener = Lines(lines.append)
    listener(Plan("plan", 0, stages=("read", "train", "fit", "train", "finish")))
    for progress in (Progress("read", 0), Progress("train", 1, 10), Progress("train", 2, 10), Progress("fit", 1, 2)):
        listener(progress)
    listener(Notice("stopped", 0, text="stopped after epoch 2"))
    listener(Progress("train", 3, 10))
    assert lines == [
        "read 0  (stage 1 of 5)",
        "train 1/10  (stage 2 of 5)",
        "train 2/10  (stage 2 of 5: about 80 s left of it)",
        "fit 1/2  (stage 3 of 5)",
        "note: stopped after epoch 2",
        "train 3/10  (stage 4 of 5)",
    ]


def test_progress_of_an_operation_without_stages_does_not_go_on_in_the_last_plan():
    lines = []
    listener = Lines(lines.append)
    listener(Plan("plan", 0, stages=("read", "finish")))
    listener(Progress("finish", 1, 1))
    listener(Plan("plan", 0, stages=()))
    listener(Progress("evaluate", 1, 1))
    assert lines == ["finish 1/1  (stage 2 of 2)", "evaluate 1/1"]
