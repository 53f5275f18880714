"""No letter of an id, a title or a name controls the terminal, and JSON keeps every letter."""

import json
import unicodedata

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.runs_by_hand import DiagnosisRow, write_run

from demure.progress import Notice, Progress
from demure_cli.app import main
from demure_cli.output.characters import escape_controls, safe
from demure_cli.output.progress import Lines, bars
from demure_cli.output.terminal import Terminal, terminal

DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
HOSTILE = "\x00\x07\x1b[31m\x7f\x85\x9b31m\u2028\u2029\ufeff" + DIRECTIONS
TEXTS = st.one_of(st.text(max_size=20), st.text(st.sampled_from(HOSTILE + 'aé日‌🙂\ud800"\\\n'), max_size=20))


def controls(text, *, newlines=True):
    """Return the letters of ``text`` that control a terminal."""
    return sorted(
        char
        for char in set(text)
        if (unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in DIRECTIONS)
        and not (newlines and char == "\n")
    )


@settings(max_examples=30)
@given(st.dictionaries(TEXTS, st.one_of(TEXTS, st.lists(TEXTS, max_size=3)), max_size=3))
def test_json_is_one_object_that_controls_nothing(value):
    text = escape_controls(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(text) == value
    assert controls(text) == []
    text.encode("utf-8")


def test_json_stays_readable(capsys):
    terminal.json({"title": "Amélie 日本 می‌خواهم 👩‍👩‍👧 Ж \u009b\u202e\u2028\ufeff"})
    assert capsys.readouterr().out == ('{\n  "title": "Amélie 日本 می‌خواهم 👩‍👩‍👧 Ж \\u009b\\u202e\\u2028\\ufeff"\n}\n')


@settings(max_examples=30)
@given(TEXTS)
def test_safe_text_controls_nothing(text):
    text = text.encode("utf-8", "replace").decode()  # standard output replaces halves of surrogate pairs
    assert controls(safe(text), newlines=False) == []
    assert controls(safe(text, line=False).replace("\t", "")) == []
    assert len(safe(text)) == len(text)
    assert safe("Amélie 日本 می‌خواهم 👩‍👩‍👧") == "Amélie 日本 می‌خواهم 👩‍👩‍👧"


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory):
    """A run whose ids, titles, categories and names of modalities hold every control letter."""
    rows = [
        DiagnosisRow(f"u{k}{HOSTILE}", position, f"i{position}{HOSTILE}", modality, verdict, probability)
        for k in range(3)
        for position in range(12)
        for modality, verdict, probability in (("image", "poi", 0.9), ("text", "noise", 0.1 + position / 30))
    ]
    items = pd.DataFrame(
        {
            "item_id": [f"i{k}{HOSTILE}" for k in range(12)],
            "title": [f"title{HOSTILE}"] * 12,
            "description": [f"text{HOSTILE}"] * 12,
            "genres": [[f"genre{HOSTILE}"]] * 12,
        }
    )
    return write_run(tmp_path_factory.mktemp("hostile"), rows, items)


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--user", "u1" + HOSTILE],
        ["--item", "i1" + HOSTILE],
        ["--item", "nothing" + HOSTILE],
        ["--list", "items"],
        ["--list", "users"],
        ["--modality", "image"],
        ["--modality", HOSTILE],
        ["--segment", "category"],
        ["--segment", "category=genre" + HOSTILE],
        ["--where", f"title~{HOSTILE}"],
        ["--sort", HOSTILE],
    ],
    ids=lambda options: "-".join(part.strip("-") for part in options[:1]) or "overview",
)
def test_no_view_hands_controls_on(capsys, hostile_run, options, form):
    status = main(["inspect", str(hostile_run), *options, *form])
    captured = capsys.readouterr()
    assert status in (0, 2)
    assert "bug" not in captured.err
    assert controls(captured.out) == []
    assert controls(captured.err) == []
    if form and not status:
        json.loads(captured.out)


def test_what_a_view_forgets_is_cleaned(capsys):
    from rich.table import Table
    from rich.text import Text

    table = Table("column" + HOSTILE)
    table.add_row("cell" + HOSTILE)
    terminal.result("plain" + HOSTILE, Text("text" + HOSTILE), table)
    terminal.raw("raw" + HOSTILE)
    out = capsys.readouterr().out
    assert controls(out) == []
    assert all(word in out for word in ("plain", "text", "column", "cell", "raw"))


def test_progress_hands_no_controls_on(capsys):
    from rich.console import Console

    steps = [
        Notice("fetch", 0, text="note" + HOSTILE),
        Progress("fetch", 0, 2, {"now": "name" + HOSTILE}),
        Progress("fetch", 2, 2, {"now": "name" + HOSTILE}),
    ]
    write = Lines(Terminal()._stderr)
    for step in steps:
        write(step)
    assert controls(capsys.readouterr().err) == []
    console = Console(width=120)
    with bars(console) as listener:
        for step in steps:
            listener(step)
    assert controls(capsys.readouterr().out) == []
