"""Step 4: the ledger's tables: the layout of the center's durable store (SQLite by default, or PostgreSQL).

region             one row per admitted office: its token, its conversation (session, instance, grant, the
                   last want), and the two counters from which its facts and records are numbered
hold               who has set `region.window_bytes` or `hold_s`, why, since and until when (null: for good)
region_key         public keys of regions; a retired one still verifies, a revoked one does not
epoch              the lives of outboxes, `ord` in the order in which the center first saw them (per region);
                   `highest_seq` is that of the last signed want of that epoch,
                   and `last_ms` when it came
was                packets under their older names: (epoch_id, seq) is (old_epoch_id, old_seq) numbered anew
packet             one row per packet for ever, with the center's latest word (its *fact*): `status`,
                   `reasons` (JSON [[code, detail], ...], empty for none), `fact_no` its number in the
                   region's feed. `due_ms`: when validation looks at it; null once it does not. `pieces` 1:
                   the body lies in `piece`, 0: in `body` (a refused packet has none)
body               stored bytes of small packets, one row each
piece              stored bytes of large packets: disjoint parts by their offset, which are the body once
                   the packet is complete
assembling         large packets that are not complete: ranges held (flat differences, JSON), failed digests,
                   and when the last chunk of them came (`last_ms`)
announced          packets of which their region has said that they exist, and that are not received: what
                   `nik_key`, `size`, `digest` and `at_ms` are at the region, and when it told. The row goes
                   in the transaction that receives the packet
record             one row per (region, nik): the packet that it was made from, its version and `record_no`;
                   `leaf` is `schemas.feed.record_leaf` (0: not known yet)
claim              one row per biometric digest: whose it is. `settled` 0: of a packet that a person decides
                   on
incarnation        the lives of the ledger; incarnation_start: the last numbers given out before each, by
                   region
quarantine         frames that did not verify or could not be read, bounded per region
tally              packets by region, lane and status, as they are now
counter            what happened, by region, in all (`bytes_twice`: contents that were held already)
rate               the same by minute
event              a packet's history: `what` happened to seqs `seq_first` to `seq_last`
setting            `schema` (the version of this layout), `keys` (rises when a key changes), `verdicts`
                   (locked by whoever writes about more than one region: the validator above all) and `probe`
                   (written to see whether writing works)
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

META = MetaData()
#: A number that the database gives out; SQLite wants exactly INTEGER for that.
_Serial = BigInteger().with_variant(Integer, "sqlite")

SETTING = Table("setting", META, Column("name", String(32), primary_key=True), Column("value", BigInteger))

REGION = Table(
    "region",
    META,
    Column("code", String(4), primary_key=True),
    Column("admitted_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    Column("token_hash", LargeBinary),
    Column("token_key", LargeBinary),
    Column("session", BigInteger, nullable=False, default=0),
    Column("instance", String(64), nullable=False, default=""),
    Column("grant_no", BigInteger, nullable=False, default=0),
    Column("past", Text, nullable=False, default=""),
    Column("superseded", String(64), nullable=False, default=""),
    Column("epoch", String(6), nullable=False, default=""),
    Column("highest_seq", BigInteger, nullable=False, default=0),
    Column("facts_no", BigInteger, nullable=False, default=0),
    Column("records_no", BigInteger, nullable=False, default=0),
    Column("window_bytes", BigInteger),
    Column("hold_s", Float, nullable=False, default=0.0),
    Column("want_n", BigInteger, nullable=False, default=0),
    Column("want", LargeBinary),
    Column("last_seen_ms", BigInteger),
)

HOLD = Table(
    "hold",
    META,
    Column("region", String(4), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("who", String(64), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger),
)

REGION_KEY = Table(
    "region_key",
    META,
    Column("key_id", LargeBinary, primary_key=True),
    Column("region", String(4), nullable=False, index=True),
    Column("sign", LargeBinary, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("retired_ms", BigInteger),
    Column("revoked_ms", BigInteger),
)

EPOCH = Table(
    "epoch",
    META,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("region", String(4), nullable=False),
    Column("epoch", String(6), nullable=False),
    Column("ord", BigInteger, nullable=False),
    Column("highest_seq", BigInteger, nullable=False, default=0, server_default="0"),
    Column("last_ms", BigInteger),
    Index("epoch_name", "region", "epoch", unique=True),
)

WAS = Table(
    "was",
    META,
    Column("old_epoch_id", BigInteger, primary_key=True, autoincrement=False),
    Column("old_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch_id", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Index("was_now", "epoch_id", "seq"),
    sqlite_with_rowid=False,
)

PACKET = Table(
    "packet",
    META,
    Column("epoch_id", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("region", String(4), nullable=False),
    Column("lane", SmallInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("nik_key", BigInteger, nullable=False),
    Column("fact_no", BigInteger, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("due_ms", BigInteger),
    Column("tries", Integer, nullable=False),
    Column("verdict_ms", BigInteger),
    Column("pieces", SmallInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("packet_fact", PACKET.c.region, PACKET.c.fact_no)
_waits = PACKET.c.due_ms.is_not(None)
_due = (PACKET.c.due_ms, PACKET.c.epoch_id, PACKET.c.seq)
Index("packet_due", *_due, sqlite_where=_waits, postgresql_where=_waits)
Index("packet_nik", PACKET.c.nik_key)

BODY = Table(
    "body",
    META,
    Column("epoch_id", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("stored", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

PIECE = Table(
    "piece",
    META,
    Column("epoch_id", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("piece_place", "epoch_id", "seq", "start", unique=True),
)

ASSEMBLING = Table(
    "assembling",
    META,
    Column("epoch_id", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("lane", SmallInteger, nullable=False),
    Column("ranges", Text, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
)

ANNOUNCED = Table(
    "announced",
    META,
    Column("epoch_id", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("region", String(4), nullable=False),
    Column("lane", SmallInteger, nullable=False),
    Column("nik_key", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("told_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("announced_nik", ANNOUNCED.c.nik_key)
Index("announced_since", ANNOUNCED.c.region, ANNOUNCED.c.told_ms)

RECORD = Table(
    "record",
    META,
    Column("region", String(4), primary_key=True),
    Column("nik", String(16), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("record_no", BigInteger, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("epoch_ord", BigInteger, nullable=False),
    Column("epoch_id", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("leaf", BigInteger, nullable=False, default=0, server_default="0"),
    sqlite_with_rowid=False,
)
Index("record_number", RECORD.c.region, RECORD.c.record_no)
_open = RECORD.c.status != 7  # CARD_PRINTED: what a rebuild fetches first
_number = (RECORD.c.region, RECORD.c.record_no)
RECORD_OPEN = Index("record_open", *_number, sqlite_where=_open, postgresql_where=_open)

CLAIM = Table(
    "claim",
    META,
    Column("digest", LargeBinary, primary_key=True),
    Column("nik", String(16), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("settled", SmallInteger, nullable=False),
    Column("epoch_id", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
)

INCARNATION = Table(
    "incarnation",
    META,
    Column("ord", _Serial, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("at_ms", BigInteger, nullable=False),
)
INCARNATION_START = Table(
    "incarnation_start",
    META,
    Column("region", String(4), primary_key=True),
    Column("ord", BigInteger, primary_key=True, autoincrement=False),
    Column("facts", BigInteger, nullable=False),
    Column("records", BigInteger, nullable=False),
)

QUARANTINE = Table(
    "quarantine",
    META,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("region", String(4), nullable=False, index=True),
    Column("stream", String(8), nullable=False),
    Column("code", String(64), nullable=False),
    Column("sentence", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("frame", LargeBinary, nullable=False),
)

TALLY = Table(
    "tally",
    META,
    Column("region", String(4), primary_key=True),
    Column("lane", SmallInteger, primary_key=True, autoincrement=False),
    Column("status", SmallInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
)
COUNTER = Table(
    "counter",
    META,
    Column("region", String(4), primary_key=True),
    Column("what", String(32), primary_key=True),
    Column("n", BigInteger, nullable=False),
)
RATE = Table(
    "rate",
    META,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("region", String(4), primary_key=True),
    Column("what", String(32), primary_key=True),
    Column("n", BigInteger, nullable=False),
)
EVENT = Table(
    "event",
    META,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("region", String(4), nullable=False),
    Column("epoch_id", BigInteger),
    Column("seq_first", BigInteger),
    Column("seq_last", BigInteger),
    Column("what", String(32), nullable=False),
    Column("detail", Text, nullable=False),
)
Index("event_packet", EVENT.c.epoch_id, EVENT.c.seq_first)
