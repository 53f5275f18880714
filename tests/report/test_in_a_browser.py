"""The page in a real browser, where one is installed."""

import html
import re
import shutil
import subprocess

import pandas as pd
import pytest
from runs_by_hand import Judged, small_run, write_run

from demure.report.build import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom"),
]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


def opened(url, profile):
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_user_opens_and_nothing_complains(tmp_path):
    report(small_run(tmp_path), tmp_path / "page.html")
    done = opened(f"{(tmp_path / 'page.html').as_uri()}#user=bob", tmp_path / "profile")
    dom = done.stdout
    assert 'data-ready="true"' in dom
    assert "User bob" in dom
    badges = re.findall(r'data-modality="(\w+)" data-verdict="(\w+)">([^<]*)<', dom)
    assert [(modality, word) for modality, word, _ in badges] == [
        ("image", "poi"),
        ("text", "poi"),
        ("image", "noise"),
        ("text", "noise"),
    ]
    assert html.unescape(badges[0][2]) == "image: poi 90 %"
    assert dom.count('class="main-svg"') >= 4  # plotly drew every chart
    assert "CONSOLE" not in done.stderr


def test_hostile_texts_run_nothing(tmp_path):
    hostile = "</script><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">"
    judged = [Judged(hostile, k, f"{hostile}{k}", hostile, "poi", 0.9) for k in range(2)]
    items = pd.DataFrame({"item_id": [row.item for row in judged], "title": hostile})
    report(write_run(tmp_path, judged, items, recipe=hostile), tmp_path / "page.html")
    done = opened((tmp_path / "page.html").as_uri(), tmp_path / "profile")
    assert 'data-ready="true"' in done.stdout
    assert "<title>ran" not in done.stdout
    assert '<img src="x"' not in done.stdout
    assert "CONSOLE" not in done.stderr
