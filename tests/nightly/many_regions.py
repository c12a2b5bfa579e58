"""A center with all 514 regions, as its document says it: for the console's table, without 514 machines."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from pipeline.adapters.folder import Folder
from pipeline.inspection.trouble import Limits, trouble_of, worst_first
from tests.sides_rig import until
from workers.both_sides import free_port
from workers.console.app import make_app
from workers.console.side import Side

REGIONS = 514
OURS = "0.1.0"
_HOUR_S = 3_600.0


class Still:
    """Stands for the thread that looks: it saw this once, and looks no more."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document, self.looks, self.stopping = document, 1, False

    def latest(self) -> dict[str, Any]:
        """The document."""
        return self.document

    def wait_newer(self, looks: int, wait_s: float) -> int:
        """There is none newer."""
        if looks >= self.looks:
            threading.Event().wait(min(wait_s, 0.2))
        return self.looks


@contextmanager
def served(folder: Folder, document: dict[str, Any]) -> Iterator[str]:
    """The console of that side, in this process, showing that document; where it is."""
    port = free_port()
    still = Still(document)
    app = make_app(Side(folder, still))  # type: ignore[arg-type]
    server = uvicorn.Server(
        uvicorn.Config(app, "127.0.0.1", port, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started, what="a server")
        yield f"http://127.0.0.1:{port}"
    finally:
        still.stopping = server.should_exit = True
        thread.join(10)


def codes() -> list[str]:
    """As many codes as there are regencies and cities."""
    return [f"{11 + at // 16:02d}{1 + at % 16:02d}" for at in range(REGIONS)]


def one(code: str, chance: random.Random, now_ms: int) -> dict[str, Any]:
    """A region: most are fine, some are not."""
    silent = chance.random() < 0.02
    waits = int(chance.expovariate(1 / 40)) if chance.random() < 0.6 else 0
    lag_s = chance.expovariate(1 / 900) if waits else None
    if chance.random() < 0.05:
        lag_s, waits = chance.uniform(2, 60) * _HOUR_S, chance.randint(200, 4_000)
    seen_s = chance.uniform(2, 30) * _HOUR_S if silent else chance.uniform(1, 30)
    base_ms = chance.randint(40, 260)
    held = chance.random() < 0.004
    found: dict[str, Any] = {
        "region": code,
        "state": "joined" if chance.random() < 0.995 else "not joined yet",
        "last_seen_ms": int(now_ms - 1000 * seen_s),
        "last_seen_s": seen_s,
        "titian": OURS if chance.random() < 0.97 else "0.0.9",
        "wire": 1,
        "received": chance.randint(2_000, 90_000),
        "unverdicted": chance.randint(0, 6),
        "dead": 3 if chance.random() < 0.01 else 0,
        "quarantined": 0,
        "lost": 0,
        "forks": 0,
        "announced": waits,
        "rebuild": None,
        "silent": silent,
        "lag_s": lag_s,
        "held": {
            "window_bytes": 65_536,
            "hold_s": None,
            "until_ms": None,
            "reason": "jalur dipakai bersama",
            "who": "sri",
            "at_ms": now_ms - 900_000,
        }
        if held
        else None,
        "health": {
            "waiting": waits,
            "rtt_ms": base_ms + chance.randint(0, 40),
            "base_ms": base_ms,
            "goodput_bytes_s": chance.randint(2_000, 90_000) if waits else 0,
            "cuts_today": chance.choice((0, 0, 0, 0, 1, 1, 2, 4, 14)),
            "full_in_days": chance.choice((None, 90, 200, 400, 9 if chance.random() < 0.1 else 700)),
            "alarms": [],
            "disturbed": [],
        },
    }
    found["trouble"], why = trouble_of(found, Limits(), OURS)
    found |= why.json("trouble_why")
    return found


def document(seed: int = 7) -> dict[str, Any]:
    """The whole of `depth` at such a center."""
    chance, now_ms = random.Random(seed), int(time.time() * 1000)
    regions = worst_first([one(code, chance, now_ms) for code in codes()])
    silent = sum(region["silent"] for region in regions)
    waiting = sum(region["unverdicted"] for region in regions)
    rates = {
        name: {
            "received": {"packets_s": 9.4 * less},
            "verdict": {"packets_s": 9.1 * less},
            "frames": {"bytes_s": 1_830_000.0 * less},
        }
        for name, less in (("minute", 1.0), ("hour", 0.84))
    }
    alarm = {
        "code": "region_silent",
        "level": "warn",
        "since_ms": now_ms - 7_300_000,
        "text": f"{silent} regions have not been heard for 60 min or longer",
        "do": "call the office: is its machine on, and its line up?",
    }
    return {
        "version": 1,
        "side": "center",
        "at_ms": now_ms,
        "titian": OURS,
        "ages": {"counts": 0.0},
        "versions": {OURS: REGIONS},
        "running": True,
        "waiting": 12,
        "unverdicted": waiting,
        "oldest_unverdicted_ms": now_ms - 41_000,
        "dead": sum(region["dead"] for region in regions),
        "received": sum(region["received"] for region in regions),
        "records": 18_402_113,
        "quarantined": 0,
        "announced": sum(region["announced"] for region in regions),
        "announced_bytes": 4_811_000_000,
        "lost": 0,
        "silent": silent,
        "held": sum(region["held"] is not None for region in regions),
        "rates": rates,
        "restraint": None,
        "regions": regions,
        "alarms": [alarm],
    }
