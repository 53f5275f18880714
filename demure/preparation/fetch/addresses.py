"""Which addresses `demure images fetch` may ask: public ones, and private ones that the items file itself names.

An items file often comes from somebody else, and a server can redirect anywhere. Without these rules both could make
this machine ask a service of the local network that only this machine reaches.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2

_LOCAL_NAMES = ("localhost", "local", "internal", "home.arpa", "lan")  # these, and all names below them
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # IPv6 addresses that stand for IPv4 addresses
_PORTS = {"http": 80, "https": 443}


class PrivateAddress(Exception):
    """A request would reach a private address that it may not ask; ``str(error)`` is the address."""


class AddressRules:
    """Private addresses are asked only where the URLs of the items name them, or all of them with ``allow_private``.

    A URL names a private address by its number, or by a name that is local everywhere, such as localhost. Link-local
    addresses are never named: services of clouds are there, and no images.

    Attributes:
        named: host and port of the private addresses that the URLs name.
    """

    def __init__(self, urls: Iterable[httpx2.URL], *, allow_private: bool = False) -> None:
        self.allow_private = allow_private
        self.named = {_origin(url) for url in urls if _is_local(url.host) and not _is_link_local(url.host)}

    def check(self, url: httpx2.URL, address: str) -> None:
        """Raise ``PrivateAddress`` if a request for ``url`` may not go to ``address``, a host or its IP address."""
        if _is_local(address) and _origin(url) not in self.named and not self.allow_private:
            raise PrivateAddress(address)

    def tracer(self, url: httpx2.URL) -> Any:
        """Return the ``trace`` extension of a request for ``url``: it checks the address to which the host's name has
        led, after the connection and before anything is sent."""
        is_proxy = True

        async def trace(event: str, info: dict[str, Any]) -> None:
            nonlocal is_proxy
            if event == "connection.connect_tcp.started":
                is_proxy = info["host"] != url.raw_host.decode("ascii")
            elif event == "connection.connect_tcp.complete" and not is_proxy:
                stream = info["return_value"]
                try:
                    self.check(url, str(stream.get_extra_info("server_addr")[0]))
                except PrivateAddress:
                    await stream.aclose()
                    raise

        return trace


def is_public(address: str) -> bool:
    """Return whether an IP address means the same everywhere: no loopback, local network, link or multicast."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else ip)
    return ip.is_global and not ip.is_multicast


def _is_local(host: str) -> bool:
    """Return whether a host is a private address, or a name that stands for one everywhere."""
    try:
        return not is_public(host)
    except ValueError:
        name = host.rstrip(".").lower()
        return any(name == local or name.endswith("." + local) for local in _LOCAL_NAMES)


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False


def _origin(url: httpx2.URL) -> tuple[str, int]:
    return url.host, url.port or _PORTS.get(url.scheme, 0)
