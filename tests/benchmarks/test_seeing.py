"""The look at the page: pictures of every section in every view, and the violations that axe-core reports."""

import importlib.util
from pathlib import Path

import pytest
from support.browser import chromium_path
from support.runs_by_hand import run_with_interests
from typer.testing import CliRunner

from demure.report.build import report

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "seeing.py"
AXE = """window.axe = { run: async () => ({
  passes: [{}],
  violations: [{ id: "image-alt", impact: "IMPACT", help: "Images need a text", nodes: [{ html: "<img>" }] }],
}) };"""


@pytest.fixture(scope="module")
def seeing():
    spec = importlib.util.spec_from_file_location("seeing_benchmark", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    pytest.importorskip("playwright.sync_api", reason="no playwright here")
    chromium_path()
    folder = tmp_path_factory.mktemp("page")
    report(run_with_interests(folder), folder / "page.html")
    return folder / "page.html"


def look(seeing, page, folder, impact, monkeypatch):
    monkeypatch.setattr(seeing, "WIDTHS", (390,))
    (folder / "axe.js").write_text(AXE.replace("IMPACT", impact))
    command = ["look", str(page), "--out", str(folder / "shots"), "--axe", str(folder / "axe.js")]
    return CliRunner().invoke(seeing.app, command)


@pytest.mark.parametrize(("impact", "code"), [("serious", 1), ("minor", 0)])
def test_a_serious_violation_fails(seeing, page, tmp_path, monkeypatch, impact, code):
    done = look(seeing, page, tmp_path, impact, monkeypatch)
    assert done.exit_code == code, done.output
    assert f"390-dark: {impact}, Images need a text (image-alt)\n    <img>" in done.output
    assert f"2 violations, {2 * code} of them serious or critical" in done.output
    shots = {path.name for path in (tmp_path / "shots").iterdir()}
    for section in ("first-screen", "looked-at", "to-do", "interests", "worklist", "users", "items", "made"):
        assert {f"{section}-390-light.png", f"{section}-390-dark.png"} <= shots
