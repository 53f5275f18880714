"""Every call that could run the code of a model's folder says whether it may."""

import ast

from guards.tree import modules

LOADERS = {"from_pretrained", "SentenceTransformer", "CrossEncoder", "SparseEncoder", "pipeline"}


def calls(path):
    """Yield (line, name, keywords) for every call in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            yield node.lineno, name, {keyword.arg for keyword in node.keywords}


def test_every_loader_states_whether_to_trust_remote_code():
    loading = [
        (name, line, "trust_remote_code" in keywords)
        for name, path in modules().items()
        for line, call, keywords in calls(path)
        if call in LOADERS
    ]
    assert len(loading) >= 3
    assert [place for *place, stated in loading if not stated] == []
