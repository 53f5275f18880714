import json
import re
from pathlib import Path

import pandas as pd
import pytest
from support.runs_by_hand import (
    ABOVE,
    CAUSES,
    FEATURES,
    IMAGE_EXPLAINS_NOTHING,
    NOTHING,
    DiagnosisRow,
    small_run,
    write_run,
)

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
    assert re.search(r"image\s+6\s+50.0 %\s+33.3 %\s+16.7 %\n", text)
    assert re.search(r"text\s+6\s+50.0 %\s+50.0 %\s+0.0 %\n", text)
    assert re.search(r"none\s+1\s+33.3 %\n", text)
    assert re.search(r"i1\s+Alien\s+image\s+3\s+66.7 %\s+typical", text)
    assert re.search(r"image, text\s+20.0 %\s+40.0 %\s+20.0 %\s+20.0 %", text)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text


def test_an_older_run_has_no_placebo(capsys, run):
    text = shown(capsys, run)
    assert text.startswith("Neither: 17 % of the choices have no point of interest in the content.\n\ndiagnosed ")
    assert "shuffled" not in text
    overview = json.loads(shown(capsys, run, "--json"))
    assert overview["neither"] == pytest.approx(1 / 6)
    assert overview["causes"] is None
    assert "placebo" not in overview["modalities"][0]


def with_placebo(folder, placebo):
    return str(small_run(folder, manifest={"placebo": placebo, "causes": CAUSES, "features": FEATURES}))


def unfolded(text):
    return " ".join(text.split())


def test_the_first_lines_show_the_excess_over_the_placebo(capsys, tmp_path, width):
    run = with_placebo(tmp_path, ABOVE)
    text = shown(capsys, run)
    assert unfolded(text).startswith(
        "Pictures explain 19 % of the choices more than shuffled pictures do (17 to 21 %). "
        "Texts explain 30 % of the choices more than shuffled texts do (26 to 34 %). "
        "Neither: 17 % of the choices have no point of interest in the content; of the causes other than content, "
    )
    assert re.search(r"image\s+6\s+50.0 %\s+33.3 %\s+16.7 %\s+19 % \(17 to 21 %\)\s+62.0 %\n", text)  # 3.1 of 5
    assert max(map(len, text.splitlines())) <= width
    overview = json.loads(shown(capsys, run, "--json"))
    assert next(iter(overview)) == "summary"
    assert " ".join(overview["summary"]) == unfolded(text.split("\n\n")[0])
    assert overview["causes"] == CAUSES
    assert [row["placebo"] for row in overview["modalities"]] == [
        {"mean_probability": 0.02, "excess": 0.19, "low": 0.17, "high": 0.21},
        {"mean_probability": 0.02, "excess": 0.3, "low": 0.26, "high": 0.34},
    ]


def test_no_number_is_folded_away_from_its_per_cent_sign(capsys, tmp_path, monkeypatch):
    run = with_placebo(tmp_path, ABOVE)
    for columns in range(40, 80, 3):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert re.search(r"\d\s*\n\s*%", shown(capsys, run)) is None


def test_short_histories_are_counted_where_lists_call_them_too_short(capsys, run):
    text = unfolded(shown(capsys, run))
    assert "; 3 of these users have fewer than 5 choices, and --list and --segment call them too short to tell" in text
    assert json.loads(shown(capsys, run, "--json"))["short_histories"] == 3
    assert shown(capsys, run, "--list", "users").count("too short to tell") == 3


def test_times_that_are_only_an_order_are_not_shown_as_dates(capsys, tmp_path):
    run = str(small_run(tmp_path, first_time=0.0))
    for arguments in (["--user", "ann", "--recommend", "0"], ["--item", "i1"]):
        assert "1970" not in shown(capsys, run, *arguments)
    assert main(["inspect", run, "--segment", "time"]) == 2
    assert "the timestamps are no dates from 1990 on" in capsys.readouterr().err


def test_a_modality_that_explains_nothing_is_not_called_noise(capsys, tmp_path, width):
    run = with_placebo(tmp_path, IMAGE_EXPLAINS_NOTHING)
    text = shown(capsys, run)
    assert text.startswith("Pictures (`image`), as encoded by `color`, explain nothing here.\n")
    assert re.search(r"image\s+6\s+cannot tell\s+-\s+16.7 %\s+nothing", text)
    assert "image, text" not in text
    text = shown(capsys, run, "--modality", "image")
    assert text.startswith("Pictures (`image`), as encoded by `color`, explain nothing here.\n")
    assert "noise" not in text
    text = shown(capsys, run, "--user", "ann", "--recommend", "0")
    assert re.search(r"Alien\s+cannot tell\s+noise 0.80", text)
    assert re.search(r"missing\s+poi 0.90", text)
    assert "image 60" not in text
    text = shown(capsys, run, "--item", "i1")
    assert "image: cannot tell, its features explain no more than shuffled ones" in text
    assert re.search(r"ann\s+1997-09-22\s+3\s+cannot tell\s+noise 0.80", text)
    assert re.search(r"1-4\s+3\s+3\s+6\s+-\s+50.0 %\?", shown(capsys, run, "--segment", "history"))
    assert re.search(r"i1\s+Alien\s+image\s.*cannot tell", shown(capsys, run, "--list", "items"))
    assert re.search(r"relies on\s+text\s+none\n", shown(capsys, run, "--list", "users"))


def test_the_first_line_shows_that_nothing_explains(capsys, tmp_path):
    text = shown(capsys, with_placebo(tmp_path, NOTHING))
    assert unfolded(text).startswith(
        "Nothing in the content explains the choices here: 17 % have no point of interest, about as many as with "
        "shuffled content. Pictures (`image`), as encoded by `color`, explain nothing here. "
    )
    assert "rely on" not in text


def test_overview_without_flagged_items(capsys, run):
    assert "No item with at least 50 choices stands out" in shown(capsys, run, "--min-count", "50")


def test_user(capsys, run, width):
    text = shown(capsys, run, "--user", "ann", "--long")
    assert re.search(r"image 60.0 % \(\d+-\d+ %\), text 30.0 % \(\d+-\d+ %\), none 10.0 %", text)
    assert "\n3 choices, oldest first\n" in text
    rows = [line for line in text.splitlines() if re.match(r"\s+[123]\s", line)]
    assert [re.search(r"Alien|Brazil|i3", line).group() for line in rows] == ["Alien", "Brazil", "i3"]
    assert re.search(r"Alien\s+poi 0.90\s+noise 0.80", rows[0])
    assert re.search(r"missing\s+poi 0.90", rows[2])
    assert "like Brazil and i3" in text
    assert "i1 · 1997-09-22" in text
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text


def test_a_user_takes_a_line_for_each_choice(capsys, run, width):
    text = shown(capsys, run, "--user", "ann")
    lines = text.splitlines()
    start = lines.index("3 choices, oldest first")
    dates = [r"1997-09-2\d\s+"] if width > 80 else [""]
    for line, item in zip(lines[start + 3 :], ("1  {}i1    Alien", "2  {}i2    Brazil", "3  {}i3    -"), strict=False):
        assert re.match(r"\s+" + item.format(*dates), line)
    assert re.search(r"Alien\s+poi 0.90\s+noise 0.80", text)
    assert "like Brazil" not in text
    assert max(map(len, lines)) <= width


@pytest.fixture
def long_run(tmp_path):
    """A run of a user with 50 choices."""
    rows = [DiagnosisRow("u", k, f"i{k % 30}", name, "poi", 0.9) for k in range(50) for name in ("image", "text")]
    items = pd.DataFrame({"item_id": [f"i{k}" for k in range(30)], "title": [f"Title {k}" for k in range(30)]})
    return str(write_run(tmp_path, rows, items, pictures=False))


def numbers_of(text):
    return [int(match[1]) for line in text.splitlines() if (match := re.match(r"\s*(\d+)\s+i\d", line))]


def test_the_newest_of_many_choices_are_shown_and_how_to_see_the_others(capsys, long_run):
    text = shown(capsys, long_run, "--user", "u")
    assert "The newest 20 of 50 choices, oldest first" in text
    assert "30 earlier: --where 'choice<31' for the next of them, --long for all" in text
    assert numbers_of(text) == list(range(31, 51))
    earlier = shown(capsys, long_run, "--user", "u", "--where", "choice<31")
    assert numbers_of(earlier) == list(range(11, 31))
    assert "10 earlier: --where 'choice<11'" in earlier
    assert numbers_of(shown(capsys, long_run, "--user", "u", "--sort", "-choice")) == list(range(50, 30, -1))
    newest = shown(capsys, long_run, "--user", "u", "--top", "12")
    assert "The newest 12 of 50 choices, oldest first" in newest
    assert numbers_of(newest) == list(range(39, 51))
    everything = shown(capsys, long_run, "--user", "u", "--long")
    assert len(re.findall(r"no single other choice", everything)) == 100
    assert "earlier" not in everything
    assert len(json.loads(shown(capsys, long_run, "--user", "u", "--json"))["history"]) == 50


def test_a_short_view_has_the_choices_that_sort_and_where_name(capsys, long_run):
    def view(*options):
        text = shown(capsys, long_run, "--user", "u", *options)
        return numbers_of(text), next(line for line in text.splitlines() if "choices" in line and "50" in line)

    assert view("--sort", "choice", "--top", "3") == ([1, 2, 3], "The first 3 of 50 choices, sorted by choice")
    largest = "The first 2 of 50 choices, sorted by choice, descending"
    assert view("--sort", "-choice", "--top", "2") == ([50, 49], largest)
    text = shown(capsys, long_run, "--user", "u", "--where", "choice<=30", "--top", "4")
    assert numbers_of(text) == [27, 28, 29, 30]
    assert "The newest 4 of the 30 choices that meet the conditions, oldest first" in text
    assert view("--where", "choice<=2") == ([1, 2], "2 of 50 choices, oldest first")
    history = json.loads(shown(capsys, long_run, "--user", "u", "--top", "2", "--json"))["history"]
    assert [choice["position"] for choice in history] == [48, 49]


def test_without_times_a_short_view_has_the_end_of_the_history(capsys, tmp_path):
    text = shown(capsys, str(small_run(tmp_path, timestamps=False)), "--user", "ann", "--top", "2")
    assert "The last 2 of 3 choices, in the order of the data" in text
    assert re.search(r"i2.*\n.*i3", text)


def test_a_verdict_less_probable_than_the_other_has_no_number(capsys, tmp_path):
    rows = [DiagnosisRow("u", k, f"i{k}", "image", "noise", p) for k, p in enumerate((0.2, 0.45, 0.7))]
    run = str(write_run(tmp_path, rows, pd.DataFrame({"item_id": ["i0", "i1", "i2"]}), pictures=False))
    words = [
        line.split(None, 2)[2] for line in shown(capsys, run, "--user", "u").splitlines() if re.search(r" i\d", line)
    ]
    assert [text.strip() for text in words] == ["noise 0.80", "noise 0.55?", "noise?"]


def test_an_order_is_only_claimed_where_the_data_has_one(capsys, tmp_path):
    text = shown(capsys, str(small_run(tmp_path, timestamps=False)), "--user", "ann")
    assert "3 choices, in no known order" in text
    assert "oldest" not in text


def test_pictures_are_drawn_where_they_can_be_seen(capsys, run):
    drawn = shown(capsys, run, "--user", "ann", "--pictures", "--recommend", "0")
    assert "▀" in drawn or "▄" in drawn
    assert "\x1b[38;2;" in drawn
    plain = shown(capsys, run, "--user", "ann", "--no-pictures", "--recommend", "0")
    assert "▀" not in plain
    assert "▄" not in plain


def test_a_picture_that_cannot_be_read_is_left_out(capsys, run):
    for picture in (Path(run).parent / "images").iterdir():
        picture.write_bytes(b"no picture")
    assert "Alien" in shown(capsys, run, "--user", "ann", "--pictures", "--recommend", "0")


def test_few_interactions_have_a_remark(capsys, run):
    assert main(["inspect", run, "--user", "bob"]) == 0
    assert "only 2 choices: these probabilities are uncertain" in capsys.readouterr().err


def test_segments_lists_and_one_modality(capsys, run, width):
    text = shown(capsys, run, "--segment", "history")
    assert re.search(r"1-4\s+3\s+3\s+6\s+60.0 %\?", text)
    assert max(map(len, text.splitlines())) <= width
    text = shown(capsys, run, "--segment", "history=1-4", "--min-count", "1")
    assert "history=1-4" in text
    text = shown(capsys, run, "--list", "users", "--where", "image>=40%", "--sort", "image")
    assert text.index("bob") < text.index("ann")
    assert "cid" not in text
    assert "3 users, 2 meet the conditions" in text
    text = shown(capsys, run, "--list", "items", "--where", "modality=image")
    assert re.search(r"i2\s+Brazil\s+image\s+2", text)
    text = shown(capsys, run, "--modality", "image")
    assert re.search(r"(0.8 to 0.9|0.9 to 1.0)\s+3", text)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--user", "ann", "--item", "i1"], "got --user and --item; use one at a time"),
        (["--list", "cats"], "cannot list 'cats'"),
        (["--segment", "zodiac"], "no segments by 'zodiac'"),
        (["--user", "ann", "--where", "imag>1"], "no field 'imag' in this view; did you mean image?"),
        (["--export", "x.parquet", "--sort", "image"], "the export holds every verdict"),
        (["--modality", "sound"], "no modality 'sound'"),
        (["--user", "ann", "--on", "ray"], "demure: --on ray: is about the export; add --export FILE"),
        (["--ray-workers", "2"], "demure: --ray-workers 2: is about the export; add --export FILE"),
        (["--export", "x.parquet", "--ray-workers", "2"], "is about the workers of a cluster; add --on ray"),
        *(
            ([*view, "--min-count", "3"], f"demure: --min-count: has no effect with {view[0]}; use it in the overview")
            for view in (
                ["--user", "ann"],
                ["--item", "i1"],
                ["--modality", "image"],
                ["--list", "items"],
                ["--segment", "history"],
                ["--export", "x.parquet"],
            )
        ),
        *(
            ([*view, "--recommend", "0"], "demure: --recommend: has no effect without --user; add --user ID")
            for view in ([], ["--item", "i1"], ["--segment", "history=1-4"], ["--export", "x.parquet"])
        ),
    ],
)
def test_refusals(capsys, run, arguments, message):
    assert main(["inspect", run, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_item(capsys, run, width):
    text = shown(capsys, run, "--item", "i1")
    assert "Alien" in text
    assert re.search(r"image\s+3\s+33.3 %\s+66.7 %\s+0.0 %", text)
    assert re.search(r"ann\s+1997-09-22\s+3\s+poi 0.90\s+noise 0.80", text)


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
    rows = [DiagnosisRow("u", k, f"[bold]{k}", "[image]", "poi", 0.5) for k in range(6)]
    items = pd.DataFrame({"item_id": [row.item for row in rows], "title": title})
    run = str(write_run(tmp_path, rows, items, pictures=False))
    for arguments in (["--min-count", "1"], ["--user", "u"], ["--item", "[bold]0"]):
        text = shown(capsys, run, *arguments)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "[image]" in text
    assert "[red]x[/red]" in shown(capsys, run, "--item", "[bold]0")
