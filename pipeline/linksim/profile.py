"""Beside the way, the link simulator: what a link is like, the named links, and how they are written."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pipeline.errors import UsageError

Direction = Literal["up", "down", "both"]
"""Up is from whoever connects to the server."""

Side = Literal["client", "server"]


class Address(NamedTuple):
    """Where a TCP endpoint is; port 0 means one that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class LinkProfile:
    """The properties of a link; `delay_ms` is one way, so the round trip is twice that.

    `buffer_bytes` is the queue in front of each direction's slow line (wire bytes): full, it delays
    everybody by `buffer_bytes * 8 / rate`. `jitter_ms` is the most that an item is late beyond the delay.
    `script` is what happens on it by and by, in the compact text of `script.py`.
    """

    rate_up_bit_s: int
    rate_down_bit_s: int
    delay_ms: float
    buffer_bytes: int
    jitter_ms: float = 0.0
    script: str = ""

    def __post_init__(self) -> None:
        if self.rate_up_bit_s <= 0 or self.rate_down_bit_s <= 0:
            raise UsageError("a link's rate must be above 0 bit/s; to stop it, cut it")
        if self.delay_ms < 0 or self.jitter_ms < 0:
            raise UsageError("a link's delay and jitter cannot be below 0 ms")
        if self.buffer_bytes <= 0:
            raise UsageError("a link's buffer must be above 0 bytes")

    def __str__(self) -> str:
        up, down = format_rate(self.rate_up_bit_s), format_rate(self.rate_down_bit_s)
        changes = ", changing by a script" if self.script else ""
        rate = up if up == down else f"{up} up, {down} down"
        return (
            f"{rate}, {2 * self.delay_ms:g} ms round trip, {self.buffer_bytes / 1024:g} KiB buffer{changes}"
        )


PROFILES: dict[str, LinkProfile] = {
    # a sub-district office's line: a full buffer is two seconds of it
    "district-128k": LinkProfile(128_000, 128_000, delay_ms=100, buffer_bytes=32 * 1024),
    # a regency's office: what the demo uses
    "regency-2m": LinkProfile(2_000_000, 2_000_000, delay_ms=50, buffer_bytes=64 * 1024),
    # a geostationary satellite: the delay is the distance
    "vsat-512k": LinkProfile(512_000, 512_000, delay_ms=300, buffer_bytes=64 * 1024),
    # the regency's line in the evening: neighbours come and go, and at times fill it
    "evening-shared": LinkProfile(
        2_000_000,
        2_000_000,
        delay_ms=50,
        buffer_bytes=64 * 1024,
        script="at 0 foreground up 1; at 0 foreground down 2; at 20..30 foreground up 2;"
        " at 35..45 foreground 0; at 50..60 foreground down 3; at 65..75 foreground up 3;"
        " at 80..85 foreground 1; repeat 90",
    ),
    # a mobile cell at its edge: the rate wanders, the line stands still for moments and is lost for seconds
    "flaky-4g": LinkProfile(
        4_000_000,
        8_000_000,
        delay_ms=35,
        buffer_bytes=128 * 1024,
        jitter_ms=15,
        script="at 4..8 rate up 500k..3M; at 9..12 rate down 1M..6M; at 13..16 stall 0.3..1.5;"
        " at 18..22 rate up 2M..6M; at 23..26 jitter 10..60; at 27..30 rate up 128k..800k;"
        " at 31..35 stall up 0.5..2; at 37..40 cut 2..6; at 47..49 rate down 4M..12M;"
        " at 50..53 rate up 1M..5M; at 54..57 jitter 5..20; repeat 60",
    ),
    "fiber": LinkProfile(100_000_000, 100_000_000, delay_ms=2, buffer_bytes=256 * 1024),
}

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)(?:bit(?:/s)?|bps)?", re.IGNORECASE)


def parse_rate(text: str) -> int:
    """`2M`, `128k`, `1.5 Mbit/s`, `512000` as bit/s (decimal units, as line rates are sold)."""
    match = _RATE.fullmatch(text.strip())
    rate = round(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if rate <= 0:
        raise UsageError(f"'{text}' is not a rate: write bits per second such as 128k, 2M or 512000")
    return rate


def format_rate(rate_bit_s: float) -> str:
    """A rate for people: `2 Mbit/s`, `128 kbit/s`."""
    for unit, factor in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if rate_bit_s >= factor:
            return f"{rate_bit_s / factor:.3g} {unit}"
    return f"{rate_bit_s:.3g} bit/s"


def parse_address(text: str) -> Address:
    """`10.0.0.1:7000`, `[::1]:7000`, or `:7000` for this machine, as an `Address`."""
    host, colon, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise UsageError(f"'{text}' is not an address: write HOST:PORT, such as 127.0.0.1:7000")
    return Address(host, int(port))


def parse_profile(text: str) -> LinkProfile:
    """A named profile, or `RATE/DELAYms` and optionally `/BUFFERk`: `2M/50ms`, `128k/100ms/32k`."""
    if text in PROFILES:
        return PROFILES[text]
    match = re.fullmatch(r"([^/]+)/(\d+(?:\.\d+)?)ms(?:/(\d+)k)?", text.strip(), re.IGNORECASE)
    if match is None:
        near = difflib.get_close_matches(text.strip().lower(), PROFILES, n=1, cutoff=0.5)
        which = f"; did you mean {near[0]}? There are" if near else ": there are"
        known = f"{which} {', '.join(PROFILES)}, and RATE/DELAYms such as 2M/50ms"
        raise UsageError(f"'{text}' is no link profile{known}")
    rate = parse_rate(match[1])
    return LinkProfile(rate, rate, float(match[2]), int(match[3] or 64) * 1024)
