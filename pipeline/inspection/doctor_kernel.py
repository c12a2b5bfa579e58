"""Inspection: which help of the kernel the link's connection has, and what to do for the rest. Pure.

None of it is needed, so what is missing is a `note`: transfer goes on, slower or less politely. What was
asked for is in the settings; what is held was read from a socket (`pipeline.adapters.tcp_options`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.inspection.doctor import Check

_LINUX = "run the region on Linux if you can; nothing else is lost without it"


@dataclass(frozen=True)
class Host:
    """What this host has of congestion controls: loaded, and allowed to everybody. Empty: it does not say."""

    available: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kernel:
    """What to judge. `held`: as `TcpHelp`, by name. `connected`: it is held by the connection to the center,
    and not by one that was made to try. `by_answers`: what is under way is counted by answers."""

    congestion: str
    lower_effort: bool
    held: Mapping[str, Any]
    connected: bool
    by_answers: bool = False
    host: Host = Host()

    @property
    def where(self) -> str:
        """Where it was seen."""
        return "on the connection to the center" if self.connected else "tried within this machine"


def kernel(seen: Kernel) -> Iterator[Check]:
    """Every check of the kernel's part, in order."""
    yield _congestion(seen)
    yield _lower_effort(seen)
    yield _tcp_info(seen)
    yield _user_timeout(seen)
    yield _notsent(seen)


def _congestion(seen: Kernel) -> Check:
    name, wanted, used = "kernel congestion control", seen.congestion, str(seen.held.get("congestion", ""))
    if not wanted:
        return Check(name, "ok", f"{used or 'the default of the host'}; no other was asked for")
    if used == wanted:
        return Check(name, "ok", f"{wanted}: asked for and granted ({seen.where})")
    said = f"{wanted}: asked for and not granted, {used or 'the default of the host'} is used ({seen.where})"
    return Check(name, "note", said, _for_congestion(seen, wanted))


def _for_congestion(seen: Kernel, wanted: str) -> str:
    """What helps, by how far it is: not loaded, not allowed, allowed since, or not a thing of this system."""
    host = seen.host
    if not host.available:
        return _LINUX
    if wanted not in host.available:
        load = f"`modprobe tcp_{wanted}` as root, on the host of a container"
        keep = f"a line tcp_{wanted} in /etc/modules-load.d/titian.conf keeps it"
        return f"{load}; {keep}"
    if wanted not in host.allowed:
        names = " ".join([*host.allowed, wanted])
        allow = f"`sysctl -w net.ipv4.tcp_allowed_congestion_control='{names}'` as root"
        return f"{allow}; the same in a file of /etc/sysctl.d keeps it"
    if seen.connected:
        return "the host allows it now: the next connection has it (`titian stop`, then `titian up`)"
    return "the host lists it and refuses it: look at what confines this process (a container, seccomp)"


def _lower_effort(seen: Kernel) -> Check:
    name = "kernel lower effort"
    if not seen.lower_effort:
        return Check(name, "ok", "DSCP Lower Effort: not asked for (throttle.lower_effort is off)")
    if seen.held.get("lower_effort"):
        return Check(name, "ok", f"DSCP Lower Effort: asked for and granted ({seen.where})")
    said = f"DSCP Lower Effort: asked for and not granted ({seen.where})"
    return Check(
        name, "note", said, "look at what confines this process; routers cannot tell our packets apart"
    )


def _tcp_info(seen: Kernel) -> Check:
    name = "kernel TCP_INFO"
    if not seen.held.get("tcp_info"):
        said = f"not there ({seen.where}): what is under way is counted by the center's answers"
        return Check(name, "note", said, "Linux 4.9 or newer has it; without it we steer frame by frame")
    if seen.by_answers:
        said = "there, but it sees a proxy or a tunnel and not the center: answers are counted instead"
        return Check(name, "note", said, "let the region reach the center directly, if that is in your hands")
    return Check(name, "ok", f"there ({seen.where})")


def _user_timeout(seen: Kernel) -> Check:
    name, ms = "kernel TCP_USER_TIMEOUT", seen.held.get("user_timeout_ms")
    if ms:
        return Check(
            name, "ok", f"asked for and granted: a link is down after {ms / 1000:g} s ({seen.where})"
        )
    said = f"asked for and not granted ({seen.where}): a dead link is noticed later, by keepalive"
    return Check(name, "note", said, _LINUX)


def _notsent(seen: Kernel) -> Check:
    name, most = "kernel TCP_NOTSENT_LOWAT", seen.held.get("notsent_bytes")
    if most:
        said = f"asked for and granted: at most {most / 1024:g} KiB wait in the kernel ({seen.where})"
        return Check(name, "ok", said)
    said = f"asked for and not granted ({seen.where}): urgent packets wait behind what the kernel holds"
    return Check(name, "note", said, _LINUX)
