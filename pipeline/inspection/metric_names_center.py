"""Inspection: the metrics of a center (`metric_names` reads this table)."""

from __future__ import annotations

#: With the label `region`: one value for each region, and `sum()` is all of them.
TABLE = """
titian_center_received_packets_total  region
    Packets that are whole in the ledger
titian_center_unverdicted_packets  region
    Packets that wait for their verdict
titian_center_incomplete_packets  region
    Large packets of which only a part is here
titian_center_refused_packets  region
    Packets that were refused
titian_center_quarantined_frames  region
    Frames that were kept aside
titian_center_records  region
    Records of citizens
titian_center_announced_packets  region
    Packets that are announced and not here
titian_center_announced_bytes  region
    Their bytes
titian_center_lost_packets  region
    Packets that were announced and are lost with their office's disk
titian_center_lag_seconds  region
    Age of the oldest packet without a verdict; absent: there is none
titian_center_last_seen_timestamp_seconds  region
    When the region was last heard; absent: never
titian_center_silent  region
    1 where the region was not heard for `alarms.silent_s`
titian_center_held  region
    1 where the region is asked to hold, or has a window of its own
titian_center_trouble  region
    0 is fine; the larger, the sooner to be looked at
titian_center_sessions_total  region
    Sessions granted: each is a start of the region, or a new link
titian_center_rebuild_running  region
    1 while a rebuild of the region runs

# what a region says of itself, at most half a minute old while it is heard
titian_reported_age_seconds  region
    How old the region's own words are
titian_reported_waiting_packets  region
    Packets at the region without a receipt
titian_reported_waiting_bytes  region
    Their bytes
titian_reported_oldest_timestamp_seconds  region
    When the oldest of them was enqueued
titian_reported_eta_seconds  region
    When they have their receipts
titian_reported_dead_packets  region
    Packets that lie refused at the region
titian_reported_runway_seconds  region
    For how long the region's disk lasts
titian_reported_rtt_seconds  region
    Round trip on the region's link
titian_reported_base_rtt_seconds  region
    Round trip on the region's link when nothing queues
titian_reported_goodput_bytes_per_second  region
    Bytes a second of it that we acknowledged
titian_reported_cuts_today  region
    How often its link was cut today
titian_reported_alarms  region
    How many alarms are on there
titian_reported_disturbed  region service
    1 where the region's public notice says that it is disturbed

# all regions together
titian_center_regions  state
    Regions by what became of their admission
titian_center_version_regions  version
    Regions by the version of Titian that they run
titian_center_status_packets  status
    Packets by their status
titian_center_lane_received_packets_total  lane
    Packets that are whole in the ledger
titian_center_packets_per_second  direction window
    Packets a second that came in (received), got a verdict
titian_center_bytes_per_second  direction window
    Bytes of frames a second that came in
titian_center_oldest_unverdicted_timestamp_seconds
    When the packet that is due first came
titian_center_restraint_step
    How far the regions' windows are lowered because the center is behind; 0: not
titian_center_window_bytes
    What it lets each region send at a time
titian_center_hold_seconds
    For how long it asks them to hold; 0: not
titian_center_received_bytes_total
    Bytes of frames taken in
titian_center_repeated_bytes_total
    Bytes of packets that came more than once
titian_center_duplicate_packets_total
    Packets that came more than once
titian_center_chunks_total
    Parts of large packets taken in
titian_center_completed_packets_total
    Large packets completed
titian_center_restated_packets_total
    Large packets whose parts were asked for anew
titian_center_discarded_packets_total
    Incomplete packets that nobody completed for `ledger.parts_days`
titian_center_refusals_total
    Packets refused at intake
titian_center_forks_total
    Packets with other contents under a known identity
titian_center_quarantines_total
    Frames put into quarantine
titian_center_quarantines_dropped_total
    Frames that fell out of a full quarantine
titian_center_renumbered_packets_total
    Packets that came under a new identity
titian_center_announcements_refused_total
    Announcements beyond what is kept of a region
titian_center_unreadable_records_total
    Records whose packet could not be read
titian_center_verdicts_total  status
    Verdicts given
"""
