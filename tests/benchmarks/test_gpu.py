"""The benchmark of a machine's GPU: it runs on a CPU too, and needs no network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.no_network import refuse_network, refuse_network_to_children

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
ROWS = (
    "training step, beside its products alone",
    "operators of a step",
    "fit of the rivals, ",
    "training of 2 epochs: ",
    "`extract`, small CLIP, 12 JPEGs of 48 px, beside a DataLoader",
    "`extract`, small CLIP, 12 JPEGs of 48 px, beside the encoder alone",
    "`extract`, small sentence encoder, 24 texts of 6 words, beside sentence-transformers",
    "`extract` of 12 of each, with the loading of both encoders",
    "`demure extract` again, nothing to do",
    "full ranking, 200 items, beside matmul and top-k",
    "full ranking, 1,000 items, beside matmul and top-k",
)


@pytest.fixture
def network_requests(tmp_path, monkeypatch):
    """The file that names the addresses which this process and its children ask for; they get none."""
    record = tmp_path / "requests"
    refuse_network(record, monkeypatch.setattr)
    places = [str(refuse_network_to_children(record, tmp_path)), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
    return record


def test_the_table_is_complete_and_no_network_is_asked(monkeypatch, capfd, network_requests):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu

    gpu.main("cpu", small=True)
    printed = capfd.readouterr().out.splitlines()
    assert "2 threads" not in printed[0]
    assert "torch" in printed[0]
    rows = [line.strip("| ").split(" | ") for line in printed if line.startswith("| ")][2:]
    assert [row[0] for row, start in zip(rows, ROWS, strict=True) if not row[0].startswith(start)] == []
    for subject, ours, _, share in rows:
        assert float(ours.split()[0].replace(",", "")) > 0, subject
        assert share == "-" or float(share) > 0, subject
    assert not network_requests.exists()
    # The record itself works, in a child as here.
    code = "import socket; socket.create_connection(('192.0.2.1', 9))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode
    assert "192.0.2.1" in network_requests.read_text()
