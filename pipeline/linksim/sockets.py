"""Beside the way, the link simulator: what it asks of the kernel's sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import struct
import sys

from pipeline.errors import UsageError
from pipeline.linksim.profile import Address

_EVERYWHERE = {"0.0.0.0": ("127.0.0.1",), "::": ("127.0.0.1", "::1")}
"""Who listens everywhere is reached here too, and who connects to everywhere gets here."""

BACKLOG = 128

RECEIVE_BUFFER_BYTES = 64 * 1024
"""The kernel's buffer in front of the line; left to itself it would grow to megabytes of hidden queue."""


def listen_at(address: Address) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        prepare(sock)
        try:
            sock.bind(address)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {address} ({error.strerror}): free it or name another address"
            ) from error
        sock.listen(BACKLOG)
        undo.pop_all()
    return sock


def refuse_itself(listen: Address, to: Address) -> None:
    """UsageError where the server behind the link would be the link itself: each connection would open
    another one, through it, without end. A name that is not known now is no reason; it may be later."""
    if listen.port != to.port or not listen.port:
        return
    if listen == to or _addresses(listen) & _addresses(to):
        same = str(to) if listen == to else f"{to}, which is {listen}"
        raise UsageError(f"the link would lead to itself, {same}: name the server, or listen elsewhere")


def _addresses(address: Address) -> set[str]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    ips = {str(place[0]).partition("%")[0] for *_, place in found}  # without a zone
    return ips.union(*(_EVERYWHERE.get(ip, ()) for ip in ips))


async def connect(to: Address) -> socket.socket:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in to.host else socket.AF_INET
    found = await loop.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _name, address = next((f for f in found if f[0] == family), found[0])
    sock = socket.socket(family, kind, protocol)
    try:
        prepare(sock)
        await loop.sock_connect(sock, address)
    except BaseException:
        close(sock, reset=True)  # cancelled in the middle: the server may have accepted already
        raise
    return sock


def reason(error: OSError) -> str:
    """Why `connect` failed, in the system's words (asyncio puts its own in their place)."""
    if error.errno is not None and error.errno > 0:  # a name that is not known has a negative one
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__


def prepare(sock: socket.socket) -> None:
    """No waiting of its own in the kernel, and no hidden queue beside the simulated one."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)


def close(sock: socket.socket, *, reset: bool) -> None:
    """Closes a socket: with a FIN, or at once with an RST."""
    if reset:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def plug(listener: socket.socket) -> socket.socket | None:
    """Makes the kernel leave new SYNs unanswered: Linux drops them while the backlog is full, and one of
    length 0 is full with the one connection returned here. None on systems that behave differently."""
    if sys.platform != "linux":
        return None
    listener.listen(0)
    only_one = socket.socket(listener.family)
    only_one.setblocking(False)
    only_one.connect_ex(listener.getsockname())
    return only_one


def has_left(client: socket.socket) -> bool:
    """Whether the other side has closed, seen without reading; on systems that cannot tell, no."""
    hung_up = getattr(select, "POLLRDHUP", 0)
    if not hung_up:
        return False
    poll = select.poll()
    poll.register(client, hung_up | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
