"""No name and no NIK leaves the stores: unique values are planted in packets, good and bad, and looked for in
everything else that both sides write, hold or say while the packets go their way.

Whatever is packed as base64 (Celery's messages are) is unpacked before it is searched. The two brokers are
listened to from the first command to the last.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.folder import Folder
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from schemas.bodies import pack_batch
from schemas.feed import FactGroup
from schemas.frame import Header, Kind, seal_frame
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.verdicts import Reason, Status
from tests.faults.faults_rig import depth, entries, held, titian
from tests.sides_rig import two_sides, until
from tests.unit.outbox_rig import SMALL_DISK
from workers.both_sides import ANY_PORT, BothSides
from workers.embedded import ValkeyServer
from workers.making import link_server
from workers.wiring import nudge_server

REGION = "1806"
#: A seq that no packet of the test has.
NOBODY = 900_000
NIK, OTHER_NIK, KK = "1806015201907391", "1806015201908462", "1806010102037515"
#: What a packet of a citizen holds, by what it is; each value is found nowhere else in the world.
PLANTED = {
    "nik": NIK,
    "other nik": OTHER_NIK,
    "no_kk": KK,
    "nama": "KANARINAMAQX",
    "nama of a bad line": "KANARIBURUKQX",
    "alamat": "KANARIALAMATQX",
    "telepon": "0812993377117",
    "attachment": "kanarilampiranqx",
    "attachment's bytes": "KANARIBYTESQX",
    "hostile": "KANARIJAHATQX",
    "key": "kanarikunciqx",
}
JPEG = b"\xff\xd8\xff\xe0" + PLANTED["attachment's bytes"].encode() * 50
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}")


# --- the search -----------------------------------------------------------------------------------------


def unpacked(data: bytes, depth_left: int = 2) -> Iterator[bytes]:
    """The bytes, and what is packed in them."""
    yield data
    if depth_left:
        for packed in _BASE64.findall(data):
            with suppress(binascii.Error, ValueError):
                yield from unpacked(base64.b64decode(packed[: len(packed) // 4 * 4]), depth_left - 1)


def found(places: dict[str, bytes]) -> list[str]:
    """Where which planted value stands in clear."""
    seen = (
        f"{what} in {place}"
        for place, data in places.items()
        for text in unpacked(data)
        for what, value in PLANTED.items()
        if value.lower().encode() in text.lower()
    )
    return list(dict.fromkeys(seen))


def test_the_search_finds_what_is_in_clear_and_what_is_packed() -> None:
    nama = PLANTED["nama"]
    packed = base64.b64encode(f'{{"args": ["{nama}"]}}'.encode())
    assert found({"log": f"x{nama.lower()}y".encode()}) == ["nama in log"]
    assert found({"redis": b'{"body": "' + packed + b'"}'}) == ["nama in redis"]
    assert found({"twice": b'"' + base64.b64encode(packed) + b'"'}) == ["nama in twice"]
    assert not found({"log": b"nothing " * 1_000})


# --- everything that is not a store ---------------------------------------------------------------------


class Listener(threading.Thread):
    """Every command that a broker gets (MONITOR), from now on."""

    def __init__(self, server: ValkeyServer) -> None:
        super().__init__(daemon=True)
        self._client = server.client(600.0)  # it may be silent for long
        self.heard = bytearray()
        self._over = False
        self._monitor = self._client.monitor().__enter__()
        self.start()

    def run(self) -> None:
        """Until `close`."""
        with suppress(Exception):  # the connection ends under it
            while not self._over:
                self.heard += self._monitor.connection.read_response(disable_decoding=True) + b"\n"

    def close(self) -> None:
        """Stop listening."""
        self._over = True
        connection = self._monitor.connection
        with suppress(Exception):
            connection._sock.shutdown(socket.SHUT_RDWR)
        self.join(10)
        self._client.close()


def dumped(server: ValkeyServer) -> bytes:
    """Every key and value that a broker holds now."""
    parts: list[Any] = []
    with closing(server.client()) as client:
        for key in client.keys("*"):
            kind = client.type(key)
            match kind:
                case b"string":
                    value: Any = client.get(key)
                case b"list":
                    value = client.lrange(key, 0, -1)
                case b"set":
                    value = client.smembers(key)
                case b"hash":
                    value = client.hgetall(key)
                case b"zset":
                    value = client.zrange(key, 0, -1)
                case _:
                    value = client.xrange(key)
            parts.append((key, value))
    return b"\n".join(_flat(parts))


def _flat(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, dict):
        yield from _flat(list(value.items()))
    elif isinstance(value, list | tuple | set):
        for one in value:
            yield from _flat(one)


def brokers(sides: BothSides) -> dict[str, ValkeyServer]:
    return {
        "the link's broker": link_server(sides.center),
        "the center's broker": nudge_server(sides.center),
        "the region's broker": nudge_server(sides.region),
    }


@contextmanager
def listening(sides: BothSides) -> Iterator[dict[str, Listener]]:
    """Every broker is listened to in the body."""
    for name, server in brokers(sides).items():
        until(lambda server=server: _answers(server), what=f"an answer of {name}")
    listeners = {name: Listener(server) for name, server in brokers(sides).items()}
    try:
        yield listeners
    finally:
        for one in listeners.values():
            one.close()


def _answers(server: ValkeyServer) -> bool:
    with suppress(Exception), closing(server.client(1.0)) as client:
        return bool(client.ping())
    return False


def written(folder: Folder) -> dict[str, bytes]:
    """What a side writes beside its stores: logs, what runs, brokers' files, what was seen, the audit log."""
    places = [one for one in folder.run.rglob("*") if one.is_file()]
    places += [one for one in folder.path.iterdir() if one.name.startswith(("watch.db", "audit", "steer"))]
    read: dict[str, bytes] = {}
    for one in places:
        with suppress(OSError):  # it may go while we look
            read[str(one)] = one.read_bytes()
    return read


def said(folder: Folder) -> dict[str, bytes]:
    """What a side says of itself: documents for programs, and its pages for machines."""
    texts = {}
    for command in ("depth", "alarms", "doctor", "metrics"):
        done = titian(command, "--data", folder.path, *([] if command == "metrics" else ["--json"]))
        assert done.code in (0, 1), done
        texts[f"titian {command} of {folder.path.name}"] = f"{done.out}\n{done.err}".encode()
    where = json.loads((folder.run / "console.json").read_text())["listen"]
    for path in ("/metrics", "/healthz", "/readyz", f"/trace?q={NIK}", f"/api/trace?q={NIK}"):
        with suppress(urllib.error.HTTPError):
            texts[f"{path[:9]} of {folder.path.name}"] = _get(f"http://{where}{path}")
    return texts


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())


def everywhere(sides: BothSides, listeners: dict[str, Listener]) -> dict[str, bytes]:
    """All that lies or is written anywhere, and all that was said to a broker."""
    places = {name: dumped(server) for name, server in brokers(sides).items()}
    places |= written(sides.center) | written(sides.region)
    return places | {f"commands to {name}": bytes(one.heard) for name, one in listeners.items()}


# --- packets, good and bad --------------------------------------------------------------------------------


def citizen(nik: str, **changes: Any) -> dict[str, Any]:
    payload = {name: PLANTED[name] for name in ("no_kk", "nama", "alamat", "telepon")}
    return {"kind": "enrolment", "payload": {"nik": nik, **payload}, **changes}


def pictured(name: str, data: bytes, media_type: str = "image/jpeg") -> list[dict[str, str]]:
    return [{"name": name, "media_type": media_type, "base64": base64.b64encode(data).decode()}]


def good_lines() -> list[dict[str, Any]]:
    """One that is recorded, one with the same prints under another NIK, one whose picture is none."""
    name = PLANTED["attachment"]
    fingers = {"name": "right_thumb", "media_type": "application/vnd.iso.19794-4"}
    prints = {**fingers, "base64": base64.b64encode(b"FIR\x00020\x00" + JPEG).decode()}
    return [
        citizen(NIK, attachments=[*pictured(name, JPEG), prints]),
        citizen(OTHER_NIK, attachments=[prints]),
        citizen(NIK, attachments=pictured(name, b"no picture " + JPEG[4:])),
    ]


def bad_lines() -> list[str]:
    """Lines that are refused here, for what is wrong or for how it is written."""
    bad = PLANTED["nama of a bad line"]
    lines: list[Any] = [
        {"kind": bad, "payload": {"nik": NIK, "nama": bad}},
        {"kind": "enrolment", "payload": {"nik": NIK[:15], "nama": bad}},
        {"kind": "enrolment", "payload": {"nik": f"{bad}", "nama": bad}},
        {"kind": "enrolment", "payload": bad},
        {"kind": "enrolment", PLANTED["key"]: bad, "payload": {"nik": NIK}},
        citizen(NIK, attachments=[{"name": bad, "media_type": bad, "path": f"{bad}.jpg"}]),
    ]
    return [json.dumps(one) for one in lines] + [f'{{"kind": "enrolment", "nama": "{bad}', f"{bad};{NIK}"]


def put_hostile_frames(sides: BothSides, packet: PacketId) -> None:
    """Into the region's stream: one whose signature is none, and one that is rightly sealed and cannot be
    read, so that its packet is refused."""
    ours, center = sides.region.private_keys()[0], sides.center.private_keys()[0].public
    seqs = ((packet.seq, packet.seq + 1),)
    header = Header(Kind.BATCH, REGION, packet.epoch, ours.id, center.id, Lane.RECORD, seqs, dictionary=0)
    text = f"{PLANTED['hostile']} {NIK}".encode()
    whole = seal_frame(header, pack_batch([text]), ours=ours, theirs=center)
    up = f"titian:{{{REGION}}}:up"
    with closing(link_server(sides.center).client()) as client:
        session = client.xinfo_stream(up)["last-generated-id"].split(b"-")[0].decode()
        for frame in (whole[:-1] + bytes([whole[-1] ^ 1]), whole):
            client.xadd(up, {b"f": frame}, id=f"{session}-*")


def record(sides: BothSides, place: Path, lines: list[str], refused: int) -> None:
    """By the command line, as a user does."""
    path = place / "packets.ndjson"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = titian("enqueue", "--json", "--data", sides.region.path, path)
    assert done.json["refused"] == refused, done


def decided(sides: BothSides) -> int:
    """Packets that the center has decided."""
    now = depth(sides.center)
    return int(now["received"]) - int(now["unverdicted"])


@pytest.mark.timeout(180)  # some 30 s on an idle machine
def test_planted_values_are_found_nowhere_outside_the_stores(tmp_path: Path) -> None:
    told = tmp_path / "told.ndjson"
    settings = ANY_PORT | {
        "TITIAN_LOG__LEVEL": "debug",
        "TITIAN_ALARMS__SETTLE_S": "0",
        "TITIAN_ALARMS__COMMAND": f"sh -c 'cat >> {told}'",
    }
    with two_sides(tmp_path, started=False) as sides:
        for up in (sides.center_up, sides.region_up):
            up.environment = settings
            up.start()
        with listening(sides) as listeners:
            record(sides, tmp_path, [json.dumps(citizen(NIK))], 0)
            until(lambda: decided(sides) == 1, what="the first verdict")
            with open_outbox(sides.region.path) as outbox:
                epoch = outbox.epoch
            with held(sides.center, "intake"):
                good = [json.dumps(one) for one in good_lines()]
                record(sides, tmp_path, good + bad_lines(), len(bad_lines()))
                until(lambda: entries(sides, "up"), what="frames in the stream")
                assert not found(everywhere(sides, listeners))  # while packets lie in the link's broker
                put_hostile_frames(sides, PacketId(REGION, epoch, NOBODY))
            # More frames than hostile ones: theirs have taken the ids of so many of ours, which are lost.
            others = [json.dumps(one) for one in sample_lines(6, biometrics=6)]
            record(sides, tmp_path, [json.dumps(citizen(OTHER_NIK)), *others], 0)
            until(lambda: decided(sides) == 11, what="the verdicts")
            steer(sides)
            until(lambda: told.exists() and "dead" in told.read_text(), what="the command's alarm")
            places = said(sides.center) | said(sides.region) | {"told": told.read_bytes()}
            places |= everywhere(sides, listeners)
        stopped = (sides.region_up.stop(), sides.center_up.stop())
        assert stopped == (0, 0)
        places |= written(sides.center) | written(sides.region)  # and what was said at the end
    assert not found(places)
    assert_it_was_searched(places)


def steer(sides: BothSides) -> None:
    """What people do meanwhile: pause, look for a citizen, look at what is dead, send it again."""
    data = ("--data", sides.region.path)
    reason = ("--reason", "office hours", "--who", "sari")
    assert titian("pause", "biometric", *reason, *data).code == 0
    with open_outbox(sides.region.path) as outbox:
        dead = outbox.enqueue(citizen(NIK, lane="biometric"))
    refuse(sides.region.path, dead)
    for folder in (sides.region, sides.center):
        assert titian("trace", NIK, "--data", folder.path).code == 0
    assert str(dead) in titian("dead", "list", *data).out
    assert titian("dead", "show", dead, *data).code == 0


def refuse(folder: Path, packet: PacketId) -> None:
    """As if an older center had refused it, before anything that it said of other packets."""
    outbox = SqliteOutbox(folder, SMALL_DISK)
    why, seqs = (Reason("unreadable", "a rule of its schema"),), ((packet.seq, packet.seq + 1),)
    outbox.settle([(1, FactGroup(packet.epoch, Status.REFUSED, why, seqs, b""))], 0, 1)
    outbox.close()


def assert_it_was_searched(places: dict[str, bytes]) -> None:
    """That all of that was really looked at."""
    text = {name: data for name, data in places.items() if data}
    for part in (
        "commands to the link's broker",
        "commands to the center's broker",
        "commands to the region's broker",
        "/metrics of region",
        "titian depth of center",
        "titian alarms of region",
        "told",
    ):
        assert part in text, part
    for part in ("intake", "region.log", "watch.db", "audit.ndjson", "push.json", "appendonlydir", "watch"):
        assert any(part in name for name in text), (part, sorted(text))
    assert b"XADD" in text["commands to the link's broker"].upper()
    heard = b"\n".join(unpacked(text["commands to the center's broker"]))
    assert b"task-succeeded" in heard  # Celery's events
    assert b"titian.validate" in heard
