import json
import re

import pandas as pd
import pytest
from runs_by_hand import Judged, small_run, write_run

from demure_cli.app import main


@pytest.fixture
def run(tmp_path):
    return str(small_run(tmp_path))


@pytest.fixture(params=[80, 160])
def width(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


def shown(capsys, *arguments):
    assert main(["inspect", *arguments, "--quiet"]) == 0
    return capsys.readouterr().out


def test_overview(capsys, run, width):
    text = shown(capsys, run, "--min-count", "3")
    assert re.search(r"image\s+6\s+50.0 %\s+33.3 %\s+16.7 %\s+0.62", text)
    assert re.search(r"text\s+6\s+50.0 %\s+50.0 %\s+0.0 %\s+0.55", text)
    assert re.search(r"none\s+1\s+33.3 %\s+26.7 %", text)
    assert re.search(r"i1\s+Alien\s+image\s+3\s+66.7 %", text)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text


def test_overview_without_flagged_items(capsys, run):
    assert "No item with at least 50 interactions" in shown(capsys, run, "--min-count", "50")


def test_user(capsys, run, width):
    text = shown(capsys, run, "--user", "ann")
    assert "image 60.0 %, text 30.0 %, none 10.0 %" in text
    rows = [line for line in text.splitlines() if re.match(r"\s*[123]\s", line)]
    assert [re.search(r"i\d", line).group() for line in rows] == ["i1", "i2", "i3"]
    assert re.search(r"Alien\s+poi 0.90\s+noise 0.20", rows[0])
    assert re.search(r"missing\s+poi 0.90", rows[2])
    assert "image: Brazil, i3" in text
    assert ("1997-09-" in text) == (width >= 100)
    assert max(map(len, text.splitlines())) <= width


def test_few_interactions_are_said_to_be_few(capsys, run):
    assert main(["inspect", run, "--user", "cid"]) == 0
    assert "only 1 interactions" in capsys.readouterr().err


def test_item(capsys, run, width):
    text = shown(capsys, run, "--item", "i1")
    assert "Alien" in text
    assert re.search(r"image\s+3\s+33.3 %\s+66.7 %\s+0.0 %", text)
    assert re.search(r"ann\s+poi 0.90\s+noise 0.20", text)


def test_json_of_each(capsys, run):
    overview = json.loads(shown(capsys, run, "--json"))
    assert overview["interactions"] == 6
    assert [row["modality"] for row in overview["modalities"]] == ["image", "text"]
    assert overview["modalities"][0]["poi"] == 0.5
    user = json.loads(shown(capsys, run, "--user", "ann", "--json"))
    assert user["history"][0]["verdicts"]["image"]["verdict"] == "poi"
    assert user["history"][0]["verdicts"]["image"]["supports"][0]["item_id"] == "i2"
    item = json.loads(shown(capsys, run, "--item", "i1", "--json"))
    assert len(item["chosen_by"]) == 3


def test_json_of_data_without_timestamps_has_null(capsys, tmp_path):
    user = json.loads(shown(capsys, str(small_run(tmp_path, timestamps=False)), "--user", "ann", "--json"))
    assert user["history"][0]["time"] is None


def test_export(capsys, run, tmp_path):
    out = tmp_path / "verdicts.parquet"
    assert json.loads(shown(capsys, run, "--export", str(out), "--json")) == {
        "run": run,
        "export": str(out),
        "rows": 12,
    }
    assert len(pd.read_parquet(out)) == 12


def test_unknown_user_names_the_nearest(capsys, run):
    assert main(["inspect", run, "--user", "anna"]) == 2
    assert capsys.readouterr().err == f"demure: {run}: no user 'anna' in this run; nearest: ann\n"


def test_hostile_titles_and_markup_stay_text(capsys, tmp_path, width):
    title = "[red]x[/red]\x1b[31m\n:smile:\u202e" + "long " * 60
    judged = [Judged("u", k, f"[bold]{k}", "[image]", "poi", 0.5) for k in range(6)]
    items = pd.DataFrame({"item_id": [row.item for row in judged], "title": title})
    run = str(write_run(tmp_path, judged, items, pictures=False))
    for arguments in (["--min-count", "1"], ["--user", "u"], ["--item", "[bold]0"]):
        text = shown(capsys, run, *arguments)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "[image]" in text
    assert "[red]x[/red]" in shown(capsys, run, "--item", "[bold]0")
