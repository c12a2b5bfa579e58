"""Beside the way, the link simulator: a link that is slow, far and often cut, on demand, without root.

`Relay` puts such a link between a client and a server on one machine (the demo, tests, `titian linksim`):

    with Relay(Address("127.0.0.1", 0), server, PROFILES["regency-2m"]) as relay:
        client.connect(relay.address)
        relay.cut_for(5)                 # a black hole; relay.cut("reset") for resets
        relay.stats().up.payload_bytes   # what crossed

`Bottleneck` is its arithmetic alone: `now` is an argument, so it runs on virtual time as well.
"""

from __future__ import annotations

from pipeline.linksim.bottleneck import HEADER_BYTES, SEGMENT_BYTES, Bottleneck, wire_bytes
from pipeline.linksim.foreground import AimdFlow
from pipeline.linksim.live import figures
from pipeline.linksim.profile import (
    PROFILES,
    Address,
    Direction,
    LinkProfile,
    Side,
    format_rate,
    parse_address,
    parse_profile,
    parse_rate,
)
from pipeline.linksim.relay import Relay
from pipeline.linksim.script import Event, Script, parse_script, parse_script_toml
from pipeline.linksim.stats import CutMode, DirectionStats, LinkEvent, RelayStats
from pipeline.linksim.trace import Trace, parse_trace, read_trace

__all__ = [
    "HEADER_BYTES",
    "PROFILES",
    "SEGMENT_BYTES",
    "Address",
    "AimdFlow",
    "Bottleneck",
    "CutMode",
    "Direction",
    "DirectionStats",
    "Event",
    "LinkEvent",
    "LinkProfile",
    "Relay",
    "RelayStats",
    "Script",
    "Side",
    "Trace",
    "figures",
    "format_rate",
    "parse_address",
    "parse_profile",
    "parse_rate",
    "parse_script",
    "parse_script_toml",
    "parse_trace",
    "read_trace",
    "wire_bytes",
]
