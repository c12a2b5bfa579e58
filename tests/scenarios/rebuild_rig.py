"""Records to lose and to get back: a world whose center has long known a region, with cards of which some are
printed, and pictures."""

from __future__ import annotations

import base64
from pathlib import Path
from random import Random
from typing import Any

from pipeline.adapters.registry_reader import RegistryReader
from pipeline.region.pushed import PushSettings
from pipeline.sample import sample_lines
from pipeline.testing.world import World
from schemas.back import CARD_ATTACHMENTS
from schemas.packet import read_head
from schemas.verdicts import Status

#: So that a rebuild takes many frames.
SMALL = PushSettings(frame_bytes=16 * 1024, link_window_bytes=48 * 1024, level_bytes=12 * 1024)


def lines(n: int, seed: int, pictures: int = 0, picture_bytes: int = 9_000) -> list[dict[str, Any]]:
    """`n` enrolments, the last `pictures` of them with a photo and a signature; all of
    them with a long note."""
    found, rng = list(sample_lines(n, seed=seed)), Random(seed)
    for line in found:
        line["payload"]["catatan"] = rng.randbytes(1_200).hex()  # large, so that a few make a frame
    for line in found[len(found) - pictures :]:
        line["attachments"] = [
            picture(rng, "face", b"\xff\xd8\xff\xe0", picture_bytes),
            picture(rng, "signature", b"\x89PNG\r\n\x1a\n", picture_bytes // 3),
        ]
    return found


def picture(rng: Random, name: str, begin: bytes, size: int) -> dict[str, str]:
    """An attachment that does not compress."""
    media_type = "image/jpeg" if begin.startswith(b"\xff") else "image/png"
    data = base64.b64encode(begin + rng.randbytes(size)).decode()
    return {"name": name, "media_type": media_type, "base64": data}


def printed(line: dict[str, Any]) -> dict[str, Any]:
    """The card of that citizen was printed."""
    payload = {"nik": line["payload"]["nik"], "printed_at": "2026-11-24"}
    return {"kind": "card_printed", "payload": payload}


def long_known(folder: Path, n: int = 60, pictures: int = 6, settings: PushSettings = SMALL) -> World:
    """A world in which `n` packets have come back; every other card of those without pictures is printed."""
    world = World(folder, push_settings=settings)
    taken = lines(n, seed=5, pictures=pictures)
    for line in taken:
        world.enqueue(line)
    assert world.arrive() < 300
    for line in taken[: n - pictures : 2]:
        world.enqueue(printed(line))
    assert world.arrive() < 300
    world.check()
    return world


def pictures_are_back(world: World) -> int:
    """How many attachments that a card shows came back whole; raises `AssertionError` where one of an open
    case of the machine before is missing."""
    reader = RegistryReader(world.region_folder)
    count = 0
    for record in reader.records(100_000):
        if record.status is Status.CARD_PRINTED or record.epoch == world.outbox.epoch:
            continue
        held = {one.name: one for one in reader.attachments(record.epoch, record.seq)}
        for at in read_head(record.head).attachments:
            if at.name in CARD_ATTACHMENTS:
                one = held[at.name]
                assert (one.whole, one.digest) == (1, at.digest), f"{at.name} of {record.nik}"
                count += 1
    reader.close()
    return count
