"""Documents of `depth` in which everything is known, for the tests of what is made from them."""

from __future__ import annotations

from typing import Any

AT_MS = 1_790_000_000_000
RATES = {
    window: {
        way: {"packets_s": 1.5, "bytes_s": 1024.0} for way in ("in", "out", "receipt", "verdict", "refused")
    }
    for window in ("minute", "hour")
}
VIEW = {
    "state": "yield",
    "reason": "others use the link: 80 ms of queue",
    "since_ms": AT_MS - 5_000,
    "window_bytes": 20_000,
    "rate_bytes_s": 16_000.0,
    "rtt_ms": 110.0,
    "base_ms": 31.0,
    "queue_ms": 80.0,
    "target_ms": 50.0,
    "losses": 3,
    "by_answers": False,
}
LANE = {
    "waiting": 5,
    "waiting_bytes": 5_000,
    "not_sent": 3,
    "not_sent_bytes": 3_000,
    "in_stream": 2,
    "in_stream_bytes": 2_000,
    "unverdicted": 9,
    "announced": 1,
    "dead": 2,
    "recorded": 100,
    "recorded_bytes": 100_000,
    "oldest_ms": AT_MS - 7_000,
    "oldest_age_s": 7.0,
    "rates": RATES,
    "eta_s": 12.0,
    "held": "",
    "opens_ms": None,
}


def alarms() -> list[dict[str, Any]]:
    return [
        {"code": "old", "text": "t", "do": "d", "level": "warn", "since_ms": AT_MS - 60_000},
        {"code": "disk_full", "text": "t", "do": "d", "level": "fail", "since_ms": AT_MS},
    ]


def region_document() -> dict[str, Any]:
    return {
        "version": 1,
        "titian": "0.1.0",
        "side": "region",
        "region": "1806",
        "at_ms": AT_MS,
        "lanes": {
            "record": dict(LANE),
            "biometric": {**LANE, "held": "paused by siti: the line is for the vote"},
        },
        "by_status": {"PRINT_READY_RECORD": 40},
        "rates": RATES,
        "eta_s": 40.0,
        "runway": {
            "free_bytes": 900,
            "low_water_bytes": 100,
            "grows_bytes_day": 86_400,
            "full_in_days": 2.0,
        },
        "registry": {"records": 40, "facts_not_settled": 1, "kept_raw": 0},
        "tallies": {"lost": 1, "forks": 2, "foreign_facts": 3},
        "link": {
            "state": "up",
            "down_for_s": None,
            "held_for_s": 0.0,
            "superseded": False,
            "refusal": "",
            "denied": "",
            "in_flight_bytes": 2_000,
            "window_bytes": 8_000,
            "clock_off_ms": -1_500,
            "since_ms": AT_MS - 90_000,
            "rtt_ms": 110.0,
            "base_ms": 31.0,
            "goodput_bytes_s": 15_000.0,
            "cuts_today": 4,
            "down_today_s": 33.0,
        },
        "throttle": VIEW,
        "way_back": {**VIEW, "state": "steady"},
        "return": {"facts_behind": 6, "records_behind": 7, "lag_s": 8.0, "as_of_ms": AT_MS},
        "pauses": [{"lane": "biometric", "reason": "r", "who": "w", "at_ms": AT_MS}],
        "cap_bytes_s": 32_000,
        "moved_ms": AT_MS - 1_000,
        "ages": {
            "counts": 0.0,
            "link": 0.4,
            "throttle": 0.4,
            "history": 3.0,
            "center": 9.0,
            "reconciled": 60.0,
        },
        "rebuild": {"state": "running", "percent": 25.0},
        "mirror": {"failing_since_ms": None, "missing": 0, "path": "/mnt/b", "why": ""},
        "reconciled": {"at_ms": AT_MS - 3_600_000, "left": 0},
        "aside": 1,
        "in_doubt": False,
        "alarms": alarms(),
    }


def center_region(code: str) -> dict[str, Any]:
    return {
        "region": code,
        "state": "joined",
        "session": 12,
        "last_seen_ms": AT_MS - 4_000,
        "received": 100,
        "unverdicted": 2,
        "waiting": 1,
        "dead": 3,
        "records": 90,
        "quarantined": 1,
        "announced": 5,
        "announced_bytes": 500,
        "lost": 0,
        "lag_s": 6.5,
        "silent": False,
        "held": None,
        "trouble": 0.0,
        "trouble_why": "",
        "rebuild": {"state": "done"},
        "health": {
            "age_s": 4.0,
            "waiting": 7,
            "waiting_bytes": 7_000,
            "oldest_ms": AT_MS - 90_000,
            "eta_s": 20.0,
            "dead": 1,
            "full_in_days": 10.0,
            "rtt_ms": 250.0,
            "base_ms": 100.0,
            "goodput_bytes_s": 9_000.0,
            "cuts_today": 2,
            "alarms": ["old", "link_down"],
            "disturbed": ["sending", "made up"],
        },
    }


def center_document(regions: int = 2) -> dict[str, Any]:
    return {
        "version": 1,
        "titian": "0.1.0",
        "side": "center",
        "at_ms": AT_MS,
        "running": True,
        "by_status": {"PRINT_READY_RECORD": 90},
        "lanes": {"record": {"received": 100}},
        "oldest_unverdicted_ms": AT_MS - 6_500,
        "rates": {
            "minute": {
                "received": {"packets_s": 2.0},
                "verdict": {"packets_s": 1.0},
                "frames": {"bytes_s": 3.0},
            }
        },
        "counters": {"bytes": 12_345, "duplicates": 2, "PRINT_READY_RECORD": 90},
        "restraint": {"window_bytes": 65_536, "hold_s": 0.0, "step": 1, "why": "w"},
        "versions": {"0.1.0": regions},
        "ages": {"counts": 0.0},
        "regions": [center_region(f"{1_000 + n}") for n in range(regions)],
        "alarms": alarms(),
    }
