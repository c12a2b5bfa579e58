"""Beside the way, the link simulator: what a relay says of itself, in figures and event by event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

CutMode = Literal["blackhole", "reset"]

Happening = Literal[
    "open",
    "end",
    "reset",
    "unreachable",
    "cut",
    "restored",
    "stall",
    "resumed",
    "half-open",
    "rate",
    "delay",
    "jitter",
    "foreground",
    "trace",
    "profile",
]


@dataclass(frozen=True)
class DirectionStats:
    """One direction since the start: `wire_bytes` is payload plus 52 bytes of headers a segment.

    `queued_wire_bytes` is what stands in the buffer just now, of everybody; `foreground_wire_bytes` is what
    the competing traffic carried, which is in none of the others.
    """

    payload_bytes: int
    wire_bytes: int
    queued_wire_bytes: int
    foreground_wire_bytes: int = 0
    stalled: bool = False


@dataclass(frozen=True)
class RelayStats:
    """What the relay has carried: bytes that have crossed the slow line, also of connections that broke.

    `foreground_flows` is how many flows of others run now, in both directions together; `unreachable` is how
    many connections were reset since the server did not take them.
    """

    up: DirectionStats
    down: DirectionStats
    connections: int
    connections_open: int
    resets: int
    cut: CutMode | None
    steps_played: int = 0
    foreground_flows: int = 0
    unreachable: int = 0


@dataclass(frozen=True)
class LinkEvent:
    """Something that happened, `at_s` seconds after the relay began.

    | `what` | `detail` |
    | --- | --- |
    | `open` | `connection` (its number, from 1), `client` |
    | `end`, `reset` | `connection`: closed by both sides, or broken |
    | `unreachable` | `connection`, `to`, `why`: the server did not take it; its `reset` follows |
    | `cut` | `mode`, `way`, `seconds` (None: until restored) |
    | `stall` | `way`, `seconds` (None: until resumed) |
    | `restored`, `resumed` | `way` of what is resumed |
    | `half-open` | `gone`: the side that is |
    | `rate`, `delay`, `jitter` | `up_bit_s`, `down_bit_s`; `ms` |
    | `foreground` | `flows`, `way` |
    | `trace` | `name` (None: the profile's rate again), `way` |
    | `profile` | `profile`, in words |
    """

    at_s: float
    what: Happening
    detail: Mapping[str, object] = field(default_factory=dict)
