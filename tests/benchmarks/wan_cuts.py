"""Loads `cut` and `cuts-large`: the link goes away during a drain, and what that costs."""

from __future__ import annotations

import argparse
import base64
import time
from random import Random
from typing import Any

from pipeline.sample import sample_lines
from tests.benchmarks.wan_link import Bench, running
from tests.benchmarks.wan_steady import backlog

BEFORE_S_MAX, AFTER_S = 15.0, 10.0
LONGEST_S = 180.0
#: The one large packet, and the cuts that it meets.
PACKET_BYTES = 2_000_000
EVERY_S, CUT_S = 20.0, 2.0


def cost(bench: Bench) -> dict[str, int]:
    """What arrived again: packets, and bytes."""
    counters = bench.ledger.counts().counters
    return {what: counters.get(what, 0) for what in ("duplicates", "bytes_twice")}


def cut(bench: Bench, for_s: float) -> float:
    """Take the link away for a time; seconds from its return until the ledger has new bytes."""
    bench.wan.toggle_outage()
    time.sleep(for_s)
    before = bench.counter("bytes")
    up_s = bench.wan.toggle_outage()
    while bench.counter("bytes") <= before:
        if time.time() - up_s > LONGEST_S:
            return LONGEST_S
        time.sleep(0.02)
    return time.time() - up_s


def run_cut(args: argparse.Namespace) -> dict[str, Any]:
    """Drain large packets, cut the line for `--cut`, drain on; `--seconds` is the time around the cuts."""
    cut_s = args.cut if args.cut is not None else 20.0
    before_s = min(BEFORE_S_MAX, args.seconds / 2)
    returned: list[float] = []
    windows: list[int] = []
    unanswered: list[int] = []
    with running(args) as bench:
        backlog(bench, args.cuts * (before_s + AFTER_S) + 20)
        for _ in range(args.cuts):
            time.sleep(before_s)
            state = bench.push_state()
            windows.append(int(state["throttle"]["window_bytes"]))
            unanswered.append(int(state["in_flight_bytes"]))
            returned.append(cut(bench, cut_s))
            bench.say("returned", round(returned[-1], 2), "s", cost(bench), bench.push_state()["throttle"])
        time.sleep(AFTER_S)
        found = cost(bench)
    return {
        "profile": args.profile,
        "load": args.load,
        "cut_s": cut_s,
        "returned_s": [round(one, 2) for one in returned],
        "window_bytes": windows,
        "unanswered_bytes": unanswered,
        **found,
    }


def large_packet() -> dict[str, Any]:
    """One enrolment with an attachment of `PACKET_BYTES` that does not compress."""
    line = next(sample_lines(1, seed=8))
    data = base64.b64encode(Random(8).randbytes(PACKET_BYTES)).decode("ascii")
    return {**line, "attachments": [{"name": "face", "media_type": "image/jpeg", "base64": data}]}


def run_large(args: argparse.Namespace) -> dict[str, Any]:
    """One packet; every `--every` seconds the line is away for `--cut`. Given up after ten times its time."""
    cut_s = args.cut if args.cut is not None else CUT_S
    cuts = 0
    with running(args) as bench:
        line_s = PACKET_BYTES / bench.wan.rate_bytes_s
        bytes_before, sent_before = bench.counter("bytes"), bench.wan.stats()
        began_s = time.monotonic()
        packet = bench.outbox.enqueue(large_packet())
        while bench.ledger.packet(packet) is None and time.monotonic() - began_s < 10 * line_s:
            if time.monotonic() - began_s > (cuts + 1) * args.every:
                bench.wan.toggle_outage()
                time.sleep(cut_s)
                bench.wan.toggle_outage()
                cuts += 1
                bench.say("cut", cuts, bench.counter("bytes"), cost(bench))
            time.sleep(0.02)
        took_s = time.monotonic() - began_s
        arrived = bench.ledger.packet(packet) is not None
        found, frames = cost(bench), bench.counter("bytes") - bytes_before
        sent = bench.wan.stats()
    return {
        "profile": args.profile,
        "load": args.load,
        "arrived": arrived,
        "seconds": round(took_s, 1),
        "line_alone_s": round(line_s, 1),
        "cuts": cuts,
        "packet_bytes": PACKET_BYTES,
        "frame_bytes": frames,
        **found,
        "on_the_line_bytes": sent["up"]["in_bytes"] - sent_before["up"]["in_bytes"],
    }
