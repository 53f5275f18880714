"""Texts of every bad kind: what an encoder gets to read."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demure.extraction.cleaning import clean
from demure.extraction.inputs import text_inputs


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("<p>Soft <b>cot</b>ton.</p><p>Washable</p>", "Soft cotton. Washable"),
        ("one<br/>two<BR>three", "one two three"),
        ("<div class='x'>a &amp; b&nbsp;&lt;c&gt;</div>", "a & b <c>"),
        ("<style>p {color: red}</style>seen<script>alert('x < y')</script>", "seen"),
        ("<!-- not shown -->shown", "shown"),
        ("<p>never closed <a href='x'>link", "never closed link"),
        ("Q&amp;A for R&D", "Q&A for R&D"),
        ("caf&eacute; &#8364;5 &#x41;", "café €5 A"),
        ("x < y and z > 3, I <3 it, <unknown> tags", "x < y and z > 3, I <3 it, <unknown> tags"),
        ("AT&T; fish & chips", "AT&T; fish & chips"),
        ("nul\x00and\x07bell\ufeff", "nul and bell"),
        ("broken \ud83d pair", "broken \ufffd pair"),
        ("  much \n\t space \u3000 here ", "much space here"),
        ("naïve 日本語 العربية עברית 🎬", "naïve 日本語 العربية עברית 🎬"),
        ("right\u202eto left", "right to left"),
        ("", ""),
        (" \x00\n", ""),
    ],
)
def test_what_is_read(raw, read):
    assert clean(raw) == read


@given(st.text(st.characters(), max_size=200))
def test_any_text_becomes_one_line_that_can_be_written_down(text):
    made = clean(text)
    made.encode("utf-8")
    assert "\n" not in made
    assert "\0" not in made
    assert made == made.strip()


def test_texts_that_are_the_same_once_cleaned_are_one_input():
    inputs = text_inputs(pd.DataFrame({"title": ["<b>Heat</b>", "Heat", "He\0at", "<p> </p>"]}), ["title"])
    assert inputs.index.tolist() == [0, 0, 1, -1]
    assert inputs.problems == [(3, "empty text", "")]


def test_a_hundred_thousand_characters_are_read_in_no_time():
    long = "<p>word &amp; word</p>" * 5000
    assert len(clean(long)) > 50_000
