"""Refuse the network to Python, and write down who asks for it."""

import socket
from pathlib import Path


def refuse_network(record, set_attribute=setattr):
    """Let every connection but those on this machine fail, and append its address to the file ``record``."""
    connect = socket.socket.connect

    def refuse(address):
        with open(record, "a", encoding="utf-8") as file:
            file.write(f"{address}\n")
        raise OSError("this test has no network")

    set_attribute(
        socket.socket,
        "connect",
        lambda self, address: connect(self, address) if self.family == socket.AF_UNIX else refuse(address),
    )
    set_attribute(socket, "getaddrinfo", lambda *address, **_: refuse(address))


def refuse_network_to_children(record, folder):
    """Let every Python that is started with ``folder`` in its path refuse it too; return ``folder``."""
    tests = str(Path(__file__).resolve().parents[1])
    code = f"import sys; sys.path.append({tests!r}); from support import no_network"
    (folder / "sitecustomize.py").write_text(f"{code}\nno_network.refuse_network({str(record)!r})\n")
    return folder
