"""`demure --help` starts about as fast as a bare Typer app."""

import resource
import subprocess
import sys

HEAVY = (
    "torch torchvision transformers sentence_transformers open_clip sklearn scipy numpy pandas pyarrow plotly jinja2 "
    "PIL safetensors yaml starlette uvicorn"
)
BARE = (
    "import typer; app = typer.Typer(); app.command('a')(lambda: None); app.command('b')(lambda: None); app(['--help'])"
)
OURS = "from demure_cli.app import main; main(['--help'])"


def test_help_imports_nothing_heavy():
    code = f"import sys; {OURS}; print([name for name in {HEAVY.split()!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "prepare" in done.stdout
    assert done.stderr.strip() == "[]"


def test_import_demure_imports_nothing_heavy():
    code = (
        f"import sys, demure; dir(demure); demure.__version__; demure.DemureError; "
        f"print([name for name in {HEAVY.split()!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_is_opened_without_its_model():
    code = "import sys; from demure import Run, Dataset; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def cpu_seconds(code):
    """Return the CPU time of a fresh interpreter: other load on the machine does not disturb it, unlike the clock."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_takes_at_most_twice_a_bare_typer_app():
    ours, bare = (min(cpu_seconds(code) for _ in range(4)) for code in (OURS, BARE))
    assert ours <= 2 * bare, f"{ours:.2f} s against {bare:.2f} s"
