"""Inspection, pure: the values of a region's metrics, group by group, from its document of `depth`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pipeline.inspection.metric_values import Value, days_s, each, seconds, value

Document = Mapping[str, Any]

_STATES = ("down", "ramp", "steady", "yield", "measure")
_WINDOWS = ("minute", "hour")
_DIRECTIONS = ("in", "out", "receipt", "verdict")
_LANE = {
    "titian_oldest_packet_age_seconds": "oldest_age_s",
    "titian_announced_packets": "announced",
    "titian_dead_packets": "dead",
    "titian_enqueued_packets_total": "recorded",
    "titian_enqueued_bytes_total": "recorded_bytes",
    "titian_lane_eta_seconds": "eta_s",
}
_LINK = {
    "titian_link_down_today_seconds": "down_today_s",
    "titian_link_cuts_today": "cuts_today",
    "titian_link_goodput_bytes_per_second": "goodput_bytes_s",
    "titian_link_in_flight_bytes": "in_flight_bytes",
    "titian_link_window_bytes": "window_bytes",
    "titian_link_hold_seconds": "held_for_s",
    "titian_link_superseded": "superseded",
}


def _at(document: Document) -> tuple[str]:
    return (str(document.get("region") or ""),)


def _lanes(document: Document) -> Iterator[Value | None]:
    for label, lane in document["lanes"].items():
        at = (*_at(document), str(label))
        yield from each(at, lane, _LANE)
        yield value("titian_backlog_packets", (*at, "not_sent"), lane.get("not_sent"))
        yield value("titian_backlog_packets", (*at, "in_stream"), lane.get("in_stream"))
        if "unverdicted" in lane and "waiting" in lane:
            at_center = max(0, lane["unverdicted"] - lane["waiting"])
            yield value("titian_backlog_packets", (*at, "at_center"), at_center)
        yield value("titian_backlog_bytes", (*at, "not_sent"), lane.get("not_sent_bytes"))
        yield value("titian_backlog_bytes", (*at, "in_stream"), lane.get("in_stream_bytes"))
        yield value("titian_lane_held", at, bool(lane.get("held")))


def _rates(document: Document) -> Iterator[Value | None]:
    for label, lane in document["lanes"].items():
        for window in _WINDOWS:
            rates = (lane.get("rates") or {}).get(window) or {}
            for direction in _DIRECTIONS:
                at = (*_at(document), str(label), direction, window)
                rate = rates.get(direction) or {}
                yield value("titian_packets_per_second", at, rate.get("packets_s"))
                yield value("titian_bytes_per_second", at, rate.get("bytes_s"))


def _whole(document: Document) -> Iterator[Value | None]:
    at, tallies = _at(document), document.get("tallies") or {}
    for status, packets in (document.get("by_status") or {}).items():
        yield value("titian_status_packets", (*at, str(status)), packets)
    names = {
        "titian_aside_packets": "aside",
        "titian_in_doubt": "in_doubt",
        "titian_eta_seconds": "eta_s",
        "titian_cap_bytes_per_second": "cap_bytes_s",
    }
    yield from each(at, document, names)
    yield value("titian_last_moved_timestamp_seconds", at, seconds(document.get("moved_ms")))
    if "pauses" in document:
        yield value("titian_pauses", at, len(document["pauses"]))
    yield value("titian_lost_packets", at, max(0, tallies.get("lost", 0)))
    yield value("titian_forks_total", at, tallies.get("forks", 0))
    yield value("titian_foreign_facts_total", at, tallies.get("foreign_facts", 0))


def _link(document: Document) -> Iterator[Value | None]:
    at, link = _at(document), document["link"]
    yield value("titian_link_up", at, {"up": 1, "down": 0}.get(link["state"]))
    yield from each(at, link, _LINK)
    down_s = 0.0 if link["state"] == "up" else link.get("down_for_s")
    yield value("titian_link_down_seconds", at, down_s)
    yield value("titian_link_since_timestamp_seconds", at, seconds(link.get("since_ms")))
    yield value("titian_link_rtt_seconds", at, seconds(link.get("rtt_ms")))
    yield value("titian_link_base_rtt_seconds", at, seconds(link.get("base_ms")))
    yield value("titian_clock_offset_seconds", at, seconds(link.get("clock_off_ms")))
    if link["state"] in ("up", "down"):
        yield value("titian_link_refused", at, bool(link.get("refusal") or link.get("denied")))


def _throttle(document: Document) -> Iterator[Value | None]:
    for direction, name in (("up", "throttle"), ("down", "way_back")):
        at, view = (*_at(document), direction), document.get(name)
        if not view:
            continue
        if view.get("state") in _STATES:
            for state in _STATES:
                yield Value("titian_throttle_state", (*at, state), float(state == view["state"]))
        yield value("titian_throttle_window_bytes", at, view.get("window_bytes"))
        yield value("titian_throttle_rate_bytes_per_second", at, view.get("rate_bytes_s"))
        yield value("titian_throttle_rtt_seconds", at, seconds(view.get("rtt_ms")))
        yield value("titian_throttle_base_rtt_seconds", at, seconds(view.get("base_ms")))
        yield value("titian_throttle_queue_seconds", at, seconds(view.get("queue_ms")))
        yield value("titian_throttle_target_seconds", at, seconds(view.get("target_ms")))
        yield value("titian_throttle_losses_total", at, view.get("losses"))


def _way_back(document: Document) -> Iterator[Value | None]:
    at, lag, registry = _at(document), document.get("return") or {}, document["registry"]
    yield value("titian_return_lag_seconds", at, lag.get("lag_s"))
    yield value("titian_return_facts_behind", at, lag.get("facts_behind"))
    yield value("titian_return_records_behind", at, lag.get("records_behind"))
    yield value("titian_registry_records", at, registry.get("records"))
    yield value("titian_registry_unsettled_facts", at, registry.get("facts_not_settled"))
    yield value("titian_registry_raw_frames", at, registry.get("kept_raw"))
    rebuild = document.get("rebuild")
    if rebuild:
        yield value("titian_rebuild_running", at, rebuild["state"] != "done")
        percent = rebuild.get("percent")
        yield value("titian_rebuild_ratio", at, None if percent is None else percent / 100)


def _disk(document: Document) -> Iterator[Value | None]:
    at, runway = _at(document), document["runway"]
    free, low, grows = runway["free_bytes"], runway["low_water_bytes"], runway.get("grows_bytes_day")
    yield value("titian_disk_free_bytes", at, free)
    yield value("titian_disk_low_water_bytes", at, low)
    yield value("titian_disk_runway_bytes", at, max(0, free - low))
    yield value("titian_disk_growth_bytes_per_second", at, None if grows is None else grows / 86_400)
    yield value("titian_disk_runway_seconds", at, days_s(runway.get("full_in_days")))
    mirror = document.get("mirror")
    if mirror:
        yield value("titian_mirror_up", at, not mirror["failing_since_ms"])
        yield value("titian_mirror_missing_packets", at, mirror.get("missing"))
    compared = document.get("reconciled") or {}
    yield value("titian_compared_timestamp_seconds", at, seconds(compared.get("at_ms")))
    yield value("titian_compared_differences", at, compared.get("left"))


#: Group -> its values.
GROUPS: Mapping[str, Callable[[Document], Iterable[Value | None]]] = {
    "lanes": _lanes,
    "rates": _rates,
    "whole": _whole,
    "link": _link,
    "throttle": _throttle,
    "way_back": _way_back,
    "disk": _disk,
}
