"""Two NIKs that share the 8 bytes of a hash that the stores keep: a trace shows each citizen only its own.

Such a pair is not to be found in a test, so the number in the row is changed to the other one's.
"""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from sqlalchemy import update

from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_niks import nik_key
from pipeline.adapters.ledger_tables import PACKET
from pipeline.adapters.outbox_intake import nik_number
from pipeline.adapters.outbox_layout import FILE_NAME
from schemas.nik import nik_hash
from tests.unit.cli_rig import JPEG, Sides, Titian, line, make_sides, nik, write_lines


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    """Packets 1 (small) and 2 (in pieces), there and back, whose rows say that both are of NIK 1."""
    made = make_sides(titian, tmp_path)
    (tmp_path / "face.jpg").write_bytes(JPEG + bytes(300_000))
    face = {"name": "face", "media_type": "image/jpeg", "path": "face.jpg"}
    path = write_lines(tmp_path / "p.ndjson", line(1), line(2, attachments=[face]))
    titian.ok("enqueue", "--data", made.region, path)
    made.take_over()
    outbox = apsw.Connection(str(made.region / FILE_NAME))
    outbox.execute("UPDATE packet SET nik = ?", (nik_number(nik_hash(nik(1))),))
    outbox.close()
    store = open_store(made.center / "ledger.db")
    with store.write() as connection:
        connection.execute(update(PACKET).values(nik_key=nik_key(nik(1))))
    store.close()
    return made


@pytest.mark.parametrize("side", ["region", "center"])
def test_a_citizen_whose_hash_another_one_shares_is_traced_alone(
    titian: Titian, sides: Sides, side: str
) -> None:
    found = titian.ok("trace", nik(1), "--data", getattr(sides, side), "--json").json
    assert [one["id"][-6:] for one in found["packets"]] == ["000001"]
    assert [one["source"][-6:] for one in found["records"]] == ["000001"]


@pytest.mark.parametrize("side", ["region", "center"])
def test_the_one_with_the_other_number_still_has_its_record(titian: Titian, sides: Sides, side: str) -> None:
    found = titian.ok("trace", nik(2), "--data", getattr(sides, side), "--json").json
    assert (found["packets"], [one["source"][-6:] for one in found["records"]]) == ([], ["000002"])


def test_a_packet_whose_bytes_are_damaged_is_traced_all_the_same(titian: Titian, sides: Sides) -> None:
    outbox = apsw.Connection(str(sides.region / FILE_NAME))
    outbox.execute("UPDATE body SET stored = x'00000001c1' WHERE seq = 1")
    outbox.execute("DELETE FROM piece")
    outbox.close()
    found = titian.ok("trace", nik(1), "--data", sides.region, "--json").json
    assert [one["id"][-6:] for one in found["packets"]] == ["000001", "000002"]
