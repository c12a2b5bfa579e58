"""Inspection: every metric that a side shows: its name and labels, and what it means (docs/metrics.md).

Prometheus' conventions: base units, unit last; `_total` only for what does not fall (but when a store is made
anew, or the worker starts, where that is said). Labels have few values, known beforehand: never an id, a
name, a NIK, a reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from pipeline.inspection.metric_names_center import TABLE

Kind = Literal["gauge", "counter", "info", "stateset"]


class Family(NamedTuple):
    """A metric. `name` is as it is queried; `labels` in order (of a stateset: without the state's own)."""

    name: str
    labels: tuple[str, ...]
    help: str

    @property
    def kind(self) -> Kind:
        """The name says it."""
        if self.name.endswith("_total"):
            return "counter"
        if self.name.endswith("_info"):
            return "info"
        return "stateset" if self.name.endswith("_state") else "gauge"


#: Of both sides. `region` is empty at the center.
_COMMON = """
titian_info  side region version
    Which side this is, and its version
titian_running  side region
    1 while the side's `titian up` runs
titian_stores_readable  side region
    0 when the stores cannot be read: then little else is here
titian_look_timestamp_seconds  side region
    When these figures were read
titian_figure_age_seconds  side region figure
    How old a figure was when it was read
titian_alarm  side region code level
    1 for each alarm that is on
titian_alarm_since_timestamp_seconds  side region code
    Since when it is on
titian_left_out  side region group
    1 for a group of metrics that could not be made: a defect
"""

#: Of a region. Of the throttle, `direction` is up (ours to the center) or down (the way back).
_REGION = """
# how much waits
titian_backlog_packets  region lane stage
    Packets on their way: not_sent, in_stream (sent, no receipt), at_center (receipt, no verdict)
titian_backlog_bytes  region lane stage
    Their bytes, while there is no receipt
titian_oldest_packet_age_seconds  region lane
    How long the oldest packet without a receipt has waited
titian_announced_packets  region lane
    Packets without a receipt of which the center was told
titian_dead_packets  region lane
    Packets that the center refused
titian_aside_packets  region
    Packets that are damaged on this disk and cannot be sent
titian_lost_packets  region
    Enqueued packets that are gone from this disk
titian_status_packets  region status
    Packets by the center's latest word
titian_in_doubt  region
    1 while nothing is sent: this folder may be a copy or an old backup

# how fast it moves
titian_enqueued_packets_total  region lane
    Packets ever enqueued
titian_enqueued_bytes_total  region lane
    Bytes ever enqueued
titian_packets_per_second  region lane direction window
    Packets a second that came in, went out, got a receipt, a verdict
titian_bytes_per_second  region lane direction window
    The same in bytes
titian_lane_eta_seconds  region lane
    When what waits in the lane has its receipts; absent while it does not move
titian_eta_seconds  region
    When everything that waits has its receipts; absent while it does not move
titian_last_moved_timestamp_seconds  region
    When a byte last left or a receipt came

# what people asked for
titian_lane_held  region lane
    1 while the lane is paused, closed by its timetable, or capped to nothing
titian_pauses  region
    Pauses that people asked for
titian_cap_bytes_per_second  region
    What all lanes together may send now; absent: no cap

# the link
titian_link_up  region
    1 while the link is up, 0 while it is down; absent while nobody knows
titian_link_since_timestamp_seconds  region
    Since when the link is as it is
titian_link_down_seconds  region
    For how long the link has been down; 0 while it is up
titian_link_down_today_seconds  region
    How long it was down today
titian_link_cuts_today  region
    How often it was cut today
titian_link_rtt_seconds  region
    Round trip on the link now
titian_link_base_rtt_seconds  region
    Round trip on the link when nothing queues
titian_link_goodput_bytes_per_second  region
    Bytes a second that the center acknowledged in the last minute
titian_link_in_flight_bytes  region
    Bytes sent that the center has not acknowledged
titian_link_window_bytes  region
    How many bytes the center lets be in flight
titian_link_hold_seconds  region
    For how long yet the center asks to hold
titian_link_superseded  region
    1 while another machine speaks as this region
titian_link_refused  region
    1 while the center, or its broker, will not serve this machine
titian_clock_offset_seconds  region
    The center's clock less ours

# the throttle (direction: up is ours to the center, down the way back)
titian_throttle_state  region direction
    What the throttle is about
titian_throttle_window_bytes  region direction
    What may be under way at once
titian_throttle_rate_bytes_per_second  region direction
    What it measures that the line carries
titian_throttle_rtt_seconds  region direction
    Round trip as it sees it
titian_throttle_base_rtt_seconds  region direction
    Round trip of an empty line as it sees it
titian_throttle_queue_seconds  region direction
    The delay that stands in the line's queue
titian_throttle_target_seconds  region direction
    The most delay that it adds
titian_throttle_losses_total  region direction
    Losses that it has seen, since the worker started

# the way back
titian_return_lag_seconds  region
    For how long the registry has been behind the center
titian_return_facts_behind  region
    Words of the center that are not here yet
titian_return_records_behind  region
    Records of the center that are not here yet
titian_registry_records  region
    Records in the registry
titian_registry_unsettled_facts  region
    Words of the center that are not in the outbox yet
titian_registry_raw_frames  region
    Frames of a newer center that are kept and not understood
titian_rebuild_running  region
    1 while a rebuild runs or waits for the center; absent: there never was one
titian_rebuild_ratio  region
    How far its present pass is, 0 to 1

# the disk and the copies
titian_disk_free_bytes  region
    Free bytes on the disk of the folder
titian_disk_low_water_bytes  region
    Below so much free nothing is enqueued
titian_disk_growth_bytes_per_second  region
    How fast the outbox grew in the last two days
titian_disk_runway_bytes  region
    What may still be enqueued
titian_disk_runway_seconds  region
    For how long that lasts; absent while the outbox does not grow
titian_mirror_up  region
    1 while the mirror takes packets, 0 while it fails; absent: none is set
titian_mirror_missing_packets  region
    Packets without a receipt that are not on the mirror
titian_compared_timestamp_seconds  region
    When this side was last compared with the center
titian_compared_differences  region
    Differences that were left after it
titian_forks_total  region
    Times the center held other contents under our identity
titian_foreign_facts_total  region
    Words of the center about packets that are not ours
"""


def _read(table: str) -> Iterator[Family]:
    """A line of name and labels, then an indented one of what it means."""
    lines = [line for line in table.splitlines() if line and not line.startswith("#")]
    for named, meant in zip(lines[::2], lines[1::2], strict=True):
        name, *labels = named.split()
        yield Family(name, tuple(labels), meant.strip())


COMMON = tuple(_read(_COMMON))
REGION = tuple(_read(_REGION))
CENTER = tuple(_read(TABLE))
FAMILIES = {one.name: one for one in (*COMMON, *REGION, *CENTER)}
