"""The ledger on PostgreSQL: what only a database server does, and the whole way with real processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from pipeline.adapters.folder import open_folder
from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.center.intake import ATTEMPTS_MAX, Intake
from pipeline.center.outcomes import BadItem, Item, TookIn
from pipeline.errors import StoreError, Unreachable, UsageError
from schemas.verdicts import Status
from tests.nightly.postgresql_rig import Server, postgresql
from tests.sides_rig import enqueue, everything_is_back, two_sides, until
from tests.unit.ledger_rig import CENTER_KEY, REGION, new_rig, packet
from workers.both_sides import BothSides
from workers.looking import ledger_place

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgresql() as running:
        yield running


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    with server.database() as made:
        yield made


# --- what only a server does --------------------------------------------------------------------


def test_a_commit_waits_for_the_disk_where_the_database_would_not(server: Server, url: str) -> None:
    server.tell("alter role titian set synchronous_commit = off")
    try:
        with closing(open_store(url)) as store, store.write() as connection:
            assert connection.exec_driver_sql("show synchronous_commit").scalar() == "on"
        server.tell("alter role titian set synchronous_commit = remote_apply")
        with closing(open_store(url)) as store, store.write() as connection:
            assert connection.exec_driver_sql("show synchronous_commit").scalar() == "remote_apply"
    finally:
        server.tell("alter role titian reset synchronous_commit")


def test_a_right_that_is_missing_is_no_fault_of_a_frame(server: Server, url: str) -> None:
    rig = new_rig(url)
    with closing(open_store(url)) as store, store.write() as connection:
        connection.exec_driver_sql("alter table packet rename to elsewhere")
    with pytest.raises(StoreError) as told:
        rig.step(rig.batch({1: packet(1)}))
    assert not isinstance(told.value, BadItem)
    assert rig.link.region(REGION).up.bytes > 0  # it waits where it was
    rig.ledger.close()


def test_a_server_that_restarts_again_and_again_makes_no_frame_a_killer(server: Server, url: str) -> None:
    class Restarted(SqlLedger):
        """Its server restarts just before something is written."""

        def take_in(self, region: str, items: Sequence[Item], last_session: int, now_ms: int) -> TookIn:
            server.stop(crash=True)
            server.start()
            return super().take_in(region, items, last_session, now_ms)

    rig = new_rig(url)
    with closing(Restarted(url)) as unlucky:
        rig.put(rig.batch({1: packet(1)}))
        rig.intake = Intake(rig.center, unlucky, rig.clock, [CENTER_KEY])
        for _ in range(ATTEMPTS_MAX + 1):
            with pytest.raises(Unreachable):
                rig.intake.step(REGION)
    rig.ledger.close()  # its connections are of the server's first life
    rig.intake._ledger = rig.ledger
    rig.step()
    assert rig.aside() == []
    assert rig.word(1)[0] is Status.RECEIVED_AT_CENTRAL
    rig.ledger.close()


def test_a_server_that_is_not_there_is_unreachable_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="does not answer"):
        SqlLedger(f"postgresql+psycopg://titian@/ledger?host={tmp_path}")


@pytest.mark.parametrize("url", ["not a url", "nosuch://titian@/ledger", "postgresql+nosuch://titian@/x"])
def test_a_url_that_cannot_be_used_is_an_error_of_the_settings(url: str) -> None:
    with pytest.raises(UsageError, match=r"ledger\.url"):
        SqlLedger(url)


def test_who_only_looks_holds_no_connection(server: Server, url: str) -> None:
    SqlLedger(url).close()
    reader = LedgerReader.open(url)
    assert reader.counts().received == 0
    with closing(open_store(server.url())) as store, store.read() as connection:
        asked = "select count(*) from pg_stat_activity where datname like 'ledger%%'"
        until(lambda: connection.exec_driver_sql(asked).scalar() == 0, 10, "the end of its connection")


# --- the whole way ------------------------------------------------------------------------------


@contextmanager
def _sides_at(url: str, place: Path) -> Iterator[BothSides]:
    """Both sides in `place`, started; the center's `titian.toml` names `url`."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("TITIAN_LEDGER__URL", url)  # only while the center is made: it has no titian.toml yet
        sides = stack.enter_context(two_sides(place, started=False))
        patch.delenv("TITIAN_LEDGER__URL")
        settings = sides.center.path / "titian.toml"
        before, ledger, after = settings.read_text().partition("[ledger]\n")
        settings.write_text(before + ledger + f'url = "{url}"\n' + after)
        assert ledger_place(open_folder(sides.center.path)) == url
        for up in (sides.center_up, sides.region_up):
            up.start()
        yield sides
    assert not (sides.center.path / "ledger.db").exists()


@pytest.mark.timeout(240)
def test_every_packet_goes_there_and_back_once(url: str, tmp_path: Path) -> None:
    with _sides_at(url, tmp_path) as sides:
        everything_is_back(sides, enqueue(sides, 60, biometrics=6), 150)


@pytest.mark.timeout(240)
def test_a_server_that_crashes_in_the_middle_and_comes_back_loses_and_doubles_nothing(
    server: Server, url: str, tmp_path: Path
) -> None:
    with _sides_at(url, tmp_path) as sides:
        packets = enqueue(sides, 30, biometrics=3)
        until(lambda: sides.counts()["received"] > 0, what="the first packet at the center")
        server.stop(crash=True)
        packets += enqueue(sides, 30, biometrics=3, seed=2)
        with pytest.raises(Unreachable):
            sides.counts()
        server.start()
        everything_is_back(sides, packets, 150)
