"""Where the console listens, pure: whether only this machine reaches it, and under which names it answers.

A page of a stranger can give its own name the address of this machine ("DNS rebinding") and then read what
we serve, as if it came from there. Its requests carry that name in `Host`: so names that are not ours are
refused. An address is never such a name.
"""

from __future__ import annotations

from ipaddress import ip_address

from pipeline.linksim.profile import parse_address

_HERE = "127.0.0.1"


def listen_host(listen: str) -> str:
    """The host of the setting `console.listen`."""
    return _HERE if listen in ("", "off") else parse_address(listen).host


def is_here(host: str) -> bool:
    """Whether only this machine reaches that host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_ours(header: str, names: frozenset[str]) -> bool:
    """Whether a request with that `Host` means us: an address, this machine's own name, or one of `names`."""
    name = header.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") <= 1:
        name = name.partition(":")[0]
    try:
        ip_address(name)
    except ValueError:
        name = name.removesuffix(".")
        return name in names or name == "localhost" or name.endswith(".localhost")
    return True
