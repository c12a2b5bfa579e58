"""Beside the way, the link simulator: a relay as a process of its own, with live figures."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pipeline.linksim.carrier import RelayStats
from pipeline.linksim.pipe import DirectionStats
from pipeline.linksim.profile import Address, LinkProfile, format_rate
from pipeline.linksim.relay import Relay
from pipeline.linksim.script import Script
from pipeline.linksim.trace import Trace


def figures(before: RelayStats, after: RelayStats, seconds: float) -> str:
    """One line for a terminal: what each direction carried in the last `seconds`, and what is open."""
    up = _direction("up", before.up, after.up, seconds)
    down = _direction("down", before.down, after.down, seconds)
    state = f" | CUT ({after.cut})" if after.cut else ""
    stalled = [name for name, way in (("up", after.up), ("down", after.down)) if way.stalled]
    if stalled and not after.cut:
        state = f" | STALLED ({', '.join(stalled)})"
    return f"{up} | {down} | {after.connections_open} open, {after.resets} resets{state}"


def serve_forever(
    relay: Relay,
    on_stats: Callable[[RelayStats], None],
    *,
    interval_s: float = 1.0,
    stop: threading.Event | None = None,
) -> None:
    """Calls `on_stats` every `interval_s` until `stop` is set or Ctrl-C; the relay is stopped after it."""
    stop = stop if stop is not None else threading.Event()
    with relay:
        while not stop.wait(interval_s):
            on_stats(relay.stats())
        on_stats(relay.stats())


def run(
    profile: LinkProfile,
    listen: Address,
    to: Address,
    *,
    interval_s: float = 1.0,
    stop: threading.Event | None = None,
    say: Callable[[str], None] = print,
    seed: int = 0,
    trace_up: Trace | None = None,
    trace_down: Trace | None = None,
    script: Script | None = None,
) -> None:
    """`titian linksim`: relays until stopped and says the figures as lines of text."""
    relay = Relay(listen, to, profile, seed=seed, trace_up=trace_up, trace_down=trace_down, script=script)
    say(f"{relay.address} -> {to}: {profile}")
    last = relay.stats()

    def on_stats(stats: RelayStats) -> None:
        nonlocal last
        say(figures(last, stats, interval_s))
        last = stats

    serve_forever(relay, on_stats, interval_s=interval_s, stop=stop)


def _direction(name: str, before: DirectionStats, after: DirectionStats, seconds: float) -> str:
    rate = format_rate((after.wire_bytes - before.wire_bytes) * 8 / seconds)
    queued = after.queued_wire_bytes / 1024
    others = ""
    if after.foreground_wire_bytes > before.foreground_wire_bytes:
        others_bit_s = (after.foreground_wire_bytes - before.foreground_wire_bytes) * 8 / seconds
        others = f" beside {format_rate(others_bit_s)} of others"
    return f"{name} {rate}{others}, {after.payload_bytes:,} B, {queued:.0f} KiB queued"
