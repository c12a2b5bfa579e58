"""The first `titian.toml` of each side: what can be set, with its default, as comments."""

from __future__ import annotations

import json

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
"""

_TAIL = """
[broker]
# A Redis or Valkey of your own for this side's nudges instead of the embedded one.
# url = ""

[log]
# form = "plain"      # or "json"
# level = "info"      # debug, info, warning, error
"""


def center_toml(listen: str, address: str) -> str:
    """The settings of a new center."""
    line = f"address = {json.dumps(address)}" if address else '# address = ""'
    return _HEAD.format(side="center") + _CENTER.format(listen=json.dumps(listen), address=line) + _TAIL


def region_toml(region: str) -> str:
    """The settings of a new region."""
    return _HEAD.format(side="region") + _REGION.format(region=json.dumps(region)) + _TAIL
