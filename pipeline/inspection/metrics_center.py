"""Inspection, pure: the values of a center's metrics, group by group, from its document of `depth`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pipeline.inspection.metric_values import Value, days_s, each, seconds, value
from schemas.verdicts import Status

Document = Mapping[str, Any]

#: A version that a region says, as it may become a label; another one is "other".
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+!-]{0,31}")
#: So many versions are told apart.
_VERSIONS_MAX = 20
_STATES = {"joined": "joined", "joining anew": "joining", "not joined yet": "admitted", "revoked": "revoked"}
_SERVICES = ("recording", "sending", "printing")
_REGION = {
    "titian_center_received_packets_total": "received",
    "titian_center_unverdicted_packets": "unverdicted",
    "titian_center_incomplete_packets": "waiting",
    "titian_center_refused_packets": "dead",
    "titian_center_quarantined_frames": "quarantined",
    "titian_center_records": "records",
    "titian_center_announced_packets": "announced",
    "titian_center_announced_bytes": "announced_bytes",
    "titian_center_lost_packets": "lost",
    "titian_center_lag_seconds": "lag_s",
    "titian_center_silent": "silent",
    "titian_center_trouble": "trouble",
    "titian_center_sessions_total": "session",
}
_HEALTH = {
    "titian_reported_age_seconds": "age_s",
    "titian_reported_waiting_packets": "waiting",
    "titian_reported_waiting_bytes": "waiting_bytes",
    "titian_reported_eta_seconds": "eta_s",
    "titian_reported_dead_packets": "dead",
    "titian_reported_goodput_bytes_per_second": "goodput_bytes_s",
    "titian_reported_cuts_today": "cuts_today",
}
#: Metric -> the ledger's counter.
_COUNTERS = {
    "titian_center_received_bytes_total": "bytes",
    "titian_center_repeated_bytes_total": "bytes_twice",
    "titian_center_duplicate_packets_total": "duplicates",
    "titian_center_chunks_total": "chunks",
    "titian_center_completed_packets_total": "completed",
    "titian_center_restated_packets_total": "restated",
    "titian_center_discarded_packets_total": "parts_discarded",
    "titian_center_refusals_total": "refused",
    "titian_center_forks_total": "forks",
    "titian_center_quarantines_total": "quarantined",
    "titian_center_quarantines_dropped_total": "quarantine_dropped",
    "titian_center_renumbered_packets_total": "renumbered",
    "titian_center_announcements_refused_total": "announced_not_taken",
    "titian_center_unreadable_records_total": "records_unreadable",
}


def _regions(document: Document) -> Iterator[Value | None]:
    for one in document["regions"]:
        at = (str(one["region"]),)
        yield from each(at, one, _REGION)
        seen = seconds(one.get("last_seen_ms"))
        yield value("titian_center_last_seen_timestamp_seconds", at, seen)
        if "held" in one:
            yield value("titian_center_held", at, bool(one["held"]))
        rebuild = one.get("rebuild")
        if rebuild:
            yield value("titian_center_rebuild_running", at, rebuild["state"] != "done")


def _reported(document: Document) -> Iterator[Value | None]:
    for one in document["regions"]:
        health = one.get("health")
        if not health:
            continue
        at = (str(one["region"]),)
        yield from each(at, health, _HEALTH)
        yield value("titian_reported_oldest_timestamp_seconds", at, seconds(health.get("oldest_ms")))
        yield value("titian_reported_runway_seconds", at, days_s(health.get("full_in_days")))
        yield value("titian_reported_rtt_seconds", at, seconds(health.get("rtt_ms")))
        yield value("titian_reported_base_rtt_seconds", at, seconds(health.get("base_ms")))
        yield value("titian_reported_alarms", at, len(health.get("alarms") or ()))
        for service in set(health.get("disturbed") or ()).intersection(_SERVICES):
            yield Value("titian_reported_disturbed", (*at, service), 1.0)


def _admitted(document: Document) -> Iterator[Value | None]:
    states = Counter(_STATES.get(one.get("state"), "other") for one in document["regions"])
    for state in _STATES.values():
        yield value("titian_center_regions", (state,), states[state])
    versions: Counter[str] = Counter()
    for version, regions in (document.get("versions") or {}).items():
        known = _VERSION.fullmatch(str(version)) and len(versions) < _VERSIONS_MAX
        versions[str(version) if known else "other"] += regions
    for version, regions in versions.items():
        yield value("titian_center_version_regions", (version,), regions)


def _packets(document: Document) -> Iterator[Value | None]:
    for status, packets in document["by_status"].items():
        yield value("titian_center_status_packets", (str(status),), packets)
    for label, lane in document["lanes"].items():
        yield value("titian_center_lane_received_packets_total", (str(label),), lane.get("received"))
    oldest = seconds(document.get("oldest_unverdicted_ms"))
    yield value("titian_center_oldest_unverdicted_timestamp_seconds", (), oldest)


def _rates(document: Document) -> Iterator[Value | None]:
    for window, rates in document["rates"].items():
        for direction in ("received", "verdict"):
            packets_s = (rates.get(direction) or {}).get("packets_s")
            yield value("titian_center_packets_per_second", (direction, str(window)), packets_s)
        bytes_s = (rates.get("frames") or {}).get("bytes_s")
        yield value("titian_center_bytes_per_second", ("received", str(window)), bytes_s)


def _restraint(document: Document) -> Iterator[Value | None]:
    said = document.get("restraint") or {}
    yield value("titian_center_restraint_step", (), said.get("step"))
    yield value("titian_center_window_bytes", (), said.get("window_bytes"))
    yield value("titian_center_hold_seconds", (), said.get("hold_s"))


def _counters(document: Document) -> Iterator[Value | None]:
    counters = document["counters"]
    for metric, name in _COUNTERS.items():
        yield value(metric, (), counters.get(name, 0))
    for (
        status
    ) in Status:  # every status from the beginning on: a rate of what appears late would lack its first
        yield value("titian_center_verdicts_total", (status.name,), counters.get(status.name, 0))


#: Group -> its values.
GROUPS: Mapping[str, Callable[[Document], Iterable[Value | None]]] = {
    "regions": _regions,
    "reported": _reported,
    "admitted": _admitted,
    "packets": _packets,
    "rates": _rates,
    "restraint": _restraint,
    "counters": _counters,
}
