"""Every option states its name in full, since some versions of Typer derive it from the placeholder of its value."""

import ast

import pytest
from guards.tree import ROOT, modules

MAKERS = {"typer.Option", "flag"}


def nameless(text):
    """Return the lines of the options that do not state a long name in lower case."""
    lines = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in MAKERS:
            names = [name.value for name in node.args if isinstance(name, ast.Constant)]
            forwarded = any(isinstance(name, ast.Starred) for name in node.args)  # `flag` hands its names on
            long = [name for name in names if str(name).startswith("--")]
            if not forwarded and (not long or any(name != name.lower() for name in long)):
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("name", modules("demure_cli"))
def test_options_state_their_names(name):
    path = modules("demure_cli")[name]
    assert nameless(path.read_text(encoding="utf-8")) == [], path.relative_to(ROOT)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('typer.Option("--split", metavar="SPLIT")', []),
        ('typer.Option("--no-x/--x", "-x")\nflag("--y")', []),
        ('typer.Option(metavar="SPLIT")', [1]),
        ('x = 1\nflag("-q")', [2]),
        ('typer.Option("--SPLIT")', [1]),
        ("def flag(*names): return typer.Option(*names)", []),
    ],
)
def test_nameless_options_are_listed(text, lines):
    assert nameless(text) == lines
