"""Packages beside demure that add encoders, recipes, baselines or readers by entry points."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

_BUILD = "import sys, setuptools.build_meta as build; print(build.build_wheel(sys.argv[1]))"


def add_package(site: Path, entries: str, name: str = "letters-plugin") -> None:
    """Lay out a package without modules, but with the entry points ``entries``, in ``site`` as an installer does."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)


def install(project: Path, site: Path) -> None:
    """Build the wheel of the package in ``project`` and unpack it into ``site``, as an installer does."""
    wheels = project.parent / "wheels"
    wheels.mkdir()
    command = [sys.executable, "-c", _BUILD, str(wheels)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (wheel,) = wheels.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
