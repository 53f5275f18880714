"""The wheel holds every module and file that the checkout runs with, and works without the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from guards.tree import FOLDERS, ROOT

DATA = ("*.py", "*.yaml", "*.html.j2", "concepts.txt", "py.typed")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, so that no older build folder gets into it and none is left behind."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_is_the_tree(wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tree = {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for package, folder in FOLDERS.items()
        for pattern in DATA
        for path in (ROOT / folder).rglob(pattern)
    }
    assert inside == tree
    assert "demure/py.typed" in inside
    assert "demure/report/page.html.j2" in inside
    assert any(name.startswith("demure_recipes/") and name.endswith(".yaml") for name in inside)


def test_the_wheel_carries_its_licence_and_its_command(wheel):
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()
    assert any(name.endswith("/LICENSE") for name in names)
    entry = next(name for name in names if name.endswith("entry_points.txt"))
    assert "demure = demure_cli.app:main" in archive.read(entry).decode()


def test_the_command_runs_from_the_wheel(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import demure, demure_cli.app, sys; assert demure.__file__.startswith(sys.argv[1]), demure.__file__; "
        "sys.exit(demure_cli.app.main(['recipes', '--quiet']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout
