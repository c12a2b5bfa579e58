"""A region that the center shut out: it is told so in words, and keeps what it has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.adapters.folder import open_folder
from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from tests.faults.faults_rig import check, depth, titian, warned
from tests.sides_rig import enqueue, everything_is_back, two_sides, until
from workers.both_sides import Up

LOCKED_OUT = "the center does not let this region in any more (revoked, or admitted anew on another machine)"


@pytest.mark.timeout(110)
def test_a_revoked_region_is_told_so_in_words_and_keeps_its_packets(tmp_path: Path) -> None:
    with two_sides(tmp_path) as sides:
        packets = enqueue(sides, 20)
        everything_is_back(sides, packets)
        assert titian("revoke", "1806", "--data", sides.center.path).code == 0
        packets += enqueue(sides, 20, seed=2)
        said = warned(sides.region, "denied")
        assert LOCKED_OUT in said
        assert "ask the center for a new join file" in said
        link = check(sides.region, "link")
        assert link["level"] == "fail"
        assert LOCKED_OUT in link["said"]
        assert "ask the center for a new join file" in link["do"]
        assert "If it revoked this machine: `titian init region --join FILE --data NEWFOLDER`" in link["do"]
        traced = titian("trace", packets[-1], "--data", sides.region.path, "--json")
        assert LOCKED_OUT in traced.json["packets"][0]["why"]
        assert depth(sides.region)["waiting"] == 20


@pytest.mark.timeout(110)
def test_the_way_back_of_a_revoked_region_is_another_folder_and_it_is_told_so(tmp_path: Path) -> None:
    with two_sides(tmp_path) as sides:
        everything_is_back(sides, enqueue(sides, 5))
        assert sides.relay is not None
        assert titian("revoke", "1806", "--data", sides.center.path).code == 0
        again = tmp_path / "again.join"
        arguments = ("--again", "--data", sides.center.path, "--out", again)
        said = titian("admit", "1806", *arguments, "--address", str(sides.relay.address))
        assert "begin in a new folder" in said.err, said

        assert sides.region_up.stop() == 0
        shutil.copy(again, sides.region.path / "center.json")
        enqueue(sides, 20, seed=2)
        sides.region_up.start()  # in its own folder the key is over, whatever the file
        said_now = warned(sides.region, "refused")
        link = check(sides.region, "link")
        assert (link["level"], f"{link['said']}: {link['do']}") == ("fail", said_now)
        assert "titian init region --join FILE --data NEWFOLDER" in said_now
        assert depth(sides.region)["waiting"] == 20

        assert sides.region_up.stop() == 0
        anew = tmp_path / "anew"
        assert titian("init", "region", "--join", again, "--data", anew).code == 0
        with open_outbox(anew) as outbox:
            for line in sample_lines(5, seed=7):
                outbox.enqueue(line)
        up = Up(open_folder(anew))
        up.start()
        try:
            until(lambda: depth(open_folder(anew))["waiting"] == 0, what="the packets of the new folder")
        finally:
            up.stop()
