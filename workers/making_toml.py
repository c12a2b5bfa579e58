"""The first `titian.toml` of each side: what can be set, with its default, as comments."""

from __future__ import annotations

import json

from pipeline.settings import CONSOLE_PORTS

_HEAD = """\
# Settings of one side of Titian. A line that begins with # shows a default; take the # away to change it.
# The environment wins over this file: TITIAN_LOG__LEVEL=debug. An unknown key is an error.
version = 1
side = "{side}"
"""

_CENTER = """
[link]
# Where regions arrive. 127.0.0.1 is this machine only; an interface's address, or 0.0.0.0 for all of them.
listen = {listen}
# What regions dial, where that is another address than `listen` (a router in front, say).
{address}
# A Redis or Valkey of your own for the link instead of the embedded one.
# url = ""
# What the embedded one may hold, bytes; above it regions wait.
# memory_bytes_max = 2147483648

[ledger]
# An SQLAlchemy URL, such as postgresql+psycopg://titian@/titian; empty: ledger.db in this folder.
# url = ""
# How long the history of a packet is kept after its final verdict, days.
# events_days = 90
# How long the parts of a large packet are kept when no more of it comes, days.
# parts_days = 30

[intake]
# What one region may have sent and not yet seen acknowledged, bytes.
# receipt_window_bytes = 8388608
# What all regions may have so together, bytes (0: three quarters of what the link's broker may hold).
# windows_bytes_max = 0
# The center lets regions send less while packets wait for their verdict longer than this, seconds.
# behind_s = 30.0
# It asks them to hold while the ledger's disk has less room than this, bytes (0: never), and lets them send
# less on the way there.
# low_water_bytes = 268435456
"""

_REGION = """region = {region}
# A folder on a second disk: every packet is put there too, sealed for the center, before `enqueue` returns.
# mirror = ""

[outbox]
# The largest attachment, bytes.
# attachment_bytes_max = 33554432
# New packets are refused while the disk has less room than this, bytes (0: never).
# low_water_bytes = 67108864
# Held ready to be freed for cleaning up when the disk is full, bytes.
# ballast_bytes = 8388608
# Attachments are deleted here so many days after their packet's final verdict, never before (0: never).
# retention_days = 30

[push]
# What a frame on the link aims at, and what may be on its way, bytes.
# frame_bytes = 32768
# link_window_bytes = 2097152
# level_bytes = 262144

[throttle]
# The most delay that we add for others on the line, milliseconds.
# target_ms = 50
# The kernel's congestion control that is asked for (empty: its default), and whether our packets are
# marked as lower effort (RFC 8622): `titian doctor` says what the host grants.
# congestion = "bbr"
# lower_effort = true
"""

_TAIL = """
[broker]
# A Redis or Valkey of your own for this side's nudges instead of the embedded one.
# url = ""

[console]
# Where this side's pages and /metrics are served (empty: 127.0.0.1:{port}, for this machine only);
# "off": nowhere, port 0: any free one.
# listen = ""
# Signing in ends after so long without a request, seconds.
# session_s = 28800
# Whether /metrics answers whoever has not signed in, from other machines too.
# metrics_open = false

[alarms]
# From when on something is an alarm, seconds: the oldest packet, the link down, the throttle held back by
# others, nothing moves though there is work and a link, the way back behind, a region not heard,
# our clock off.
# old_s = 86400.0
# link_down_s = 60.0
# congested_s = 1800.0
# not_moving_s = 300.0
# return_lag_s = 3600.0
# silent_s = 3600.0
# clock_off_s = 60.0
# And in days: until the disk is full, since the last comparison with the center.
# runway_days = 14.0
# compared_days = 3.0
# A URL that takes a POST of JSON, and a command that takes the same on its standard input.
# webhook = ""
# command = ""
# What lasts less is not told; what lasts is told again so often (0: never again), seconds.
# settle_s = 30.0
# repeat_s = 86400.0

[notice]
# What citizens read on the office's door: its name, and whom to call.
# office = ""
# phone = ""
# A disturbance is said after so long, is over after so long without it, and stays so long after
# that, seconds.
# after_s = 600.0
# clear_s = 600.0
# keep_s = 86400.0
# A folder where the page and its JSON are written too, for a web server of your own.
# folder = ""
# The payload's field by which "who waits" calls citizens back.
# contact = "telepon"

[log]
# form = "plain"      # or "json"
# level = "info"      # debug, info, warning, error
"""


def center_toml(listen: str, address: str) -> str:
    """The settings of a new center."""
    line = f"address = {json.dumps(address)}" if address else '# address = ""'
    return (
        _HEAD.format(side="center")
        + _CENTER.format(listen=json.dumps(listen), address=line)
        + _tail("center")
    )


def region_toml(region: str) -> str:
    """The settings of a new region."""
    return _HEAD.format(side="region") + _REGION.format(region=json.dumps(region)) + _tail("region")


def _tail(side: str) -> str:
    return _TAIL.format(port=CONSOLE_PORTS[side])
