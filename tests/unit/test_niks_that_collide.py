"""Two NIKs under one number: what the ledger says of the one is never said of the other.

Such a pair is hard to find, so the number is made the same for all; the second time the one that stands for
"not known".
"""

from __future__ import annotations

import pytest
from sqlalchemy import update

from pipeline.adapters import ledger_history, ledger_packets
from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_niks import NO_NIK, nik_key
from pipeline.adapters.ledger_tables import BODY
from pipeline.inspection.trace import center_trace
from schemas.verdicts import Status
from tests.unit.ledger_rig import Rig, face, nik, packet

LARGE = b"y" * 300_000
READY, DUPLICATE, ADJUDICATE = (
    Status.PRINT_READY_RECORD,
    Status.DUPLICATE_RECORD,
    Status.ADJUDICATE_RECORD,
)


@pytest.fixture(params=[7, NO_NIK], autouse=True)
def one_number_for_all(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    number: int = request.param
    for module in (ledger_packets, ledger_history):
        monkeypatch.setattr(module, "nik_key", lambda _: number)


def seqs(rig: Rig, number: int) -> list[int]:
    return [row.id.seq for row in rig.ledger.reader.packets_of(nik(number))]


def take_all(rig: Rig) -> None:
    """Citizen 1 in packets 1 and 3, citizen 2 in 2 and (large) 4; packet 5 is refused."""
    rig.take(packet(1, [face(b"one")]), packet(2, [face(b"two")]), packet(1, [face(b"one")], nama="SITI B"))
    large = packet(2, [face(b"two"), ("scan", "text/plain", LARGE)])
    half = len(large) // 2
    rig.step(rig.chunk(4, large, 0, half), rig.chunk(4, large, half, len(large)))
    rig.step(rig.batch({5: packet(3, kind="tea")}))
    while rig.validate().packets:
        pass


def test_each_citizen_has_only_its_own_packets(rig: Rig) -> None:
    take_all(rig)
    assert (seqs(rig, 1), seqs(rig, 2), seqs(rig, 3)) == ([1, 3], [2, 4], [])
    assert [row.id.seq for row in rig.ledger.reader.refused()] == [5]


def test_a_trace_by_nik_shows_one_citizen(rig: Rig) -> None:
    take_all(rig)
    found = center_trace(rig.ledger.reader, nik(2), rig.clock.ms)
    assert [one["id"][-6:] for one in found["packets"]] == ["000002", "000004"]
    assert [one["source"][-6:] for one in found["records"]] == ["000004"]


def test_each_citizen_has_its_own_record_and_versions(rig: Rig) -> None:
    take_all(rig)
    rows = {row.nik: row for row in rig.ledger.reader.records()}
    assert set(rows) == {nik(1), nik(2)}
    versions = {one: row.version for one, row in rows.items()}
    assert versions == {nik(1): 1, nik(2): 2}  # both packets of 1 were decided at once
    assert {change.seq for change in rig.records()} == {3, 4}
    assert rows[nik(1)].packet.payload["nama"] == "SITI B"


def test_the_biometrics_of_one_are_not_those_of_the_other(rig: Rig) -> None:
    said = rig.take(
        packet(1, [face(b"one")]),
        packet(2, [face(b"two")]),
        packet(2, [face(b"one")]),
        packet(1, [face(b"other")]),
    )
    assert [status for status, _ in said.values()] == [READY, READY, DUPLICATE, ADJUDICATE]
    (reason, *_) = said[3][1]
    assert nik(1) in reason.detail
    assert nik(2) in reason.detail


def test_a_packet_whose_bytes_are_damaged_is_shown_rather_than_hidden(rig: Rig) -> None:
    take_all(rig)
    store = open_store(rig.place)
    with store.write() as connection:
        connection.execute(update(BODY).where(BODY.c.seq == 1).values(stored=b"\0\0\0\1\xc1"))
    store.close()
    assert (seqs(rig, 1), seqs(rig, 2)) == ([1, 3], [1, 2, 4])


def test_the_number_is_of_eight_bytes_and_signed() -> None:
    numbers = {nik_key(nik(number)) for number in range(1, 200)}
    assert len(numbers) == 199
    assert all(-(2**63) <= one < 2**63 for one in numbers)
    assert min(numbers) < 0 < max(numbers)
