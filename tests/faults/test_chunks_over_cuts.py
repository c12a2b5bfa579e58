"""A packet of 2 MB over a line that is cut again and again: it arrives once, and hardly any goes twice."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.adapters.folder import Folder
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.linksim import PROFILES, CutMode, LinkProfile
from tests.faults.faults_rig import depth, pushed, recorded, report, titian
from tests.faults.test_large_packet import MB, large_line
from tests.sides_rig import enqueue, everything_is_back, two_sides
from workers.both_sides import BothSides

#: A line on which 2 MB take some ten seconds.
SHORT = LinkProfile(2_000_000, 2_000_000, delay_ms=25, buffer_bytes=64 * 1024)


@dataclass(frozen=True)
class Drain:
    """What became of a packet of `size` bytes. `lost_bytes`: contents on their way when the line was cut;
    `sent_twice_bytes`: put into frames again; `came_twice_bytes`: the ledger had them; `line_bytes`: what the
    line carried beyond every frame once: parts of frames that were cut off, wants, handshakes."""

    size: int
    cuts: int
    seconds: float
    lost_bytes: int
    sent_twice_bytes: int
    came_twice_bytes: int
    line_bytes: int

    def __str__(self) -> str:
        share = 100 / self.size
        return (
            f"{self.size / MB:.1f} MB over {self.cuts} cuts in {self.seconds:.0f} s: "
            f"{self.lost_bytes / 1000:.0f} kB on their way at the cuts, into frames again "
            f"{self.sent_twice_bytes * share:.1f} %, more on the line {self.line_bytes * share:.1f} %, "
            f"twice at the center {self.came_twice_bytes} bytes"
        )


def sent_bytes(region: Folder) -> tuple[int, int]:
    """Contents that were put into frames, and contents that are recorded."""
    with closing(OutboxReader(region.path)) as outbox:
        out = sum(one.bytes for one in outbox.rates(0) if one.what == "out")
        return out, sum(lane.total.bytes for lane in outbox.counts().values())


def waiting(region: Folder) -> int:
    """Packets without a receipt."""
    with closing(OutboxReader(region.path)) as outbox:
        return sum(lane.without_receipt.packets for lane in outbox.counts().values())


def in_flight_bytes(region: Folder) -> int:
    """Contents of the frames of which the ledger has not said that it has them."""
    with closing(SqliteOutbox(region.path)) as outbox:
        return sum(one.bytes for one in outbox.in_flight())


def drain(
    sides: BothSides, place: Path, line: LinkProfile, every_s: float, cut_s: float, modes: Sequence[CutMode]
) -> Drain:
    """2 MB over `line`, which is cut every `every_s` for `cut_s`, in each of `modes` in turn."""
    relay, region = sides.relay, sides.region
    assert relay is not None
    everything_is_back(sides, enqueue(sides, 2))
    relay.set_profile(line)
    crossed_before, frames_before = relay.stats().up.payload_bytes, pushed(region)["bytes"]
    out_before, recorded_before = sent_bytes(region)
    path, _, _ = large_line(place, 2 * MB)
    said = titian("enqueue", "--data", region.path, path)
    assert said.code == 0, said
    began_s = time.monotonic()
    cuts = lost_bytes = 0
    next_mode = itertools.cycle(modes)
    while waiting(region):
        now_s = time.monotonic() - began_s
        assert now_s < 120, f"it did not arrive: {cuts} cuts, {depth(region)['link']}"
        if now_s >= (cuts + 1) * every_s:
            relay.cut_for(cut_s, next(next_mode))
            cuts += 1
            lost_bytes += in_flight_bytes(region)
        time.sleep(0.05)
    seconds = time.monotonic() - began_s
    everything_is_back(sides, recorded(sides))
    out, recorded_now = sent_bytes(region)
    out, size = out - out_before, recorded_now - recorded_before
    frames = pushed(region)["bytes"] - frames_before
    crossed = relay.stats().up.payload_bytes - crossed_before
    twice = depth(sides.center)["counters"].get("bytes_twice", 0)
    return Drain(size, cuts, seconds, lost_bytes, out - size, twice, int(crossed - frames * size / out))


@pytest.mark.timeout(170)
def test_a_packet_of_2_mb_over_a_line_that_is_cut_every_two_seconds_arrives_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with two_sides(tmp_path) as sides:
        done = drain(sides, tmp_path, SHORT, 2.0, 0.3, ["reset", "blackhole"])
        report(capsys, str(done))
        assert done.cuts >= 3
        assert 0 < done.sent_twice_bytes <= done.lost_bytes
        assert done.came_twice_bytes <= done.lost_bytes
        assert depth(sides.center)["waiting"] == 0


@pytest.mark.nightly
@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", ["blackhole", "reset"])
def test_a_packet_of_2_mb_by_satellite_with_a_cut_every_20_s_sends_less_than_a_twentieth_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: CutMode
) -> None:
    with two_sides(tmp_path) as sides:
        done = drain(sides, tmp_path, PROFILES["vsat-512k"], 20.0, 3.0, [mode])
        report(capsys, f"{mode}: {done}")
        assert done.cuts >= 1
        assert done.sent_twice_bytes <= done.lost_bytes
        assert done.came_twice_bytes == 0
        assert done.line_bytes < 0.05 * done.size
