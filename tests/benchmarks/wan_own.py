"""Load `own-tcp`: an office's own download and upload (one cubic connection each), alone and beside us."""

from __future__ import annotations

import argparse
import time
from typing import Any

from pipeline.adapters.steering_file import write_steering
from pipeline.throttle.steering import Pause, Steering
from tests.benchmarks.wan_flow import flowed
from tests.benchmarks.wan_link import Bench, running
from tests.benchmarks.wan_steady import backlog

ROUNDS = 2
#: Until our drain has found its rate, seconds; until what one phase left in the buffer of the link is gone.
RAMP_S, BUFFER_BYTES = 6.0, 256 * 1024
GIVERS = {"download": "center", "upload": "region"}
PAUSED = Steering((Pause(None, "the office is alone", "benchmark", 0),))


def steer(bench: Bench, steering: Steering) -> None:
    """Pause our drain, or let it go on, and wait until the line is as it will be."""
    write_steering(bench.both.region.path, steering)
    time.sleep(RAMP_S if steering == Steering() else 2 + BUFFER_BYTES / bench.wan.rate_bytes_s)


def phase(bench: Bench, giver: str, for_s: float) -> tuple[float, float]:
    """The office's rate and ours (frames in the ledger) while it flows, bytes a second."""
    before, began_s = bench.counter("bytes"), time.time()
    rows = flowed(bench.wan, giver, for_s)
    ours = (bench.counter("bytes") - before) / (time.time() - began_s)
    return rows[-1][1] / (rows[-1][0] - rows[0][0]), ours


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Each kind of phase is measured for `--seconds`, in two halves that alternate with the other kinds."""
    for_s = args.seconds / ROUNDS
    rates: dict[tuple[str, str], list[float]] = {}
    ours: dict[str, list[float]] = {}
    with running(args) as bench:
        steer(bench, PAUSED)
        backlog(bench, 2 * ROUNDS * (for_s + RAMP_S + 5))
        for _ in range(ROUNDS):
            for direction, giver in GIVERS.items():
                for how, steering in (("alone", PAUSED), ("beside", Steering())):
                    steer(bench, steering)
                    rate, our_rate = phase(bench, giver, for_s)
                    rates.setdefault((direction, how), []).append(rate)
                    bench.say(direction, how, round(rate), "ours", round(our_rate))
                    if how == "beside":
                        ours.setdefault(direction, []).append(our_rate)
                steer(bench, PAUSED)
        line = bench.wan.rate_bytes_s
    found: dict[str, Any] = {"profile": args.profile, "load": args.load, "congestion": "cubic"}
    for direction in GIVERS:
        alone, beside = (sum(rates[direction, how]) / ROUNDS for how in ("alone", "beside"))
        found[f"{direction}_alone_kbit_s"] = round(alone * 8 / 1000, 1)
        found[f"{direction}_beside_kbit_s"] = round(beside * 8 / 1000, 1)
        found[f"{direction}_ratio"] = round(beside / alone, 3)
        found[f"our_share_beside_{direction}"] = round(sum(ours[direction]) / ROUNDS / line, 3)
    return found
