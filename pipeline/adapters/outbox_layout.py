"""Step 2: how the outbox lies on disk (`outbox.db`). Whoever changes it appends a migration.

    meta(key, value)            region, epoch, made_ms, settled_to; `loss`, while it is not known which of the
                                lost packets of this epoch the center has: epoch, last seq kept, last promised
    epoch(epoch, began_ms, why) every life of this outbox, oldest first; the last one is the current
    packet(seq, ...)            one small row a packet; sending does not touch it, the center's word does
        lane, kind, size        Lane, the packet's kind, bytes of its stored bytes
        digest, key             SHA-256 of the stored bytes; 16 bytes by which a repeat is recognised
        nik                     the first 8 bytes of `schemas.nik.nik_hash` as a signed number
        at_ms                   when it was enqueued, wall clock
        upload                  where its bytes are: NULL: `body`, else `piece`
        status, fact_no, reasons    the center's latest word, its position, reasons as JSON (NULL: none yet)
    body(seq, stored)           the stored bytes of a packet of at most 256 KiB
    piece(id, bytes)            those of a larger one: id = upload * 4096 + n; all but the last have 256 KiB
    upload(id, began_ms)        an upload that has no packet yet: in progress, or left over by a dead process
    past(...), past_body(id, stored)    packets of earlier epochs; `now_seq`: its seq in the next one. The
                                index `past_key` is made with the second epoch (`outbox_loss`)
    packet.final_ms             when the center's final word was settled here (NULL: none yet)
    packet.pruned_ms            when its attachments were deleted later (NULL: they are here; -1: dropped)
    past.word_ms                when the center's latest word on a packet of an earlier epoch was settled here
    aside(seq, at_ms, why)      packets that cannot be sent (their stored bytes are damaged); they do not wait
    dropped(epoch, seq, at_ms, who, reason, whole)    dead packets that a person gave up: their bytes are not
                                here; `whole`: those that were put away are those that were enqueued
    suspect(first, stop)        seqs that the center may hold with other contents: nothing is sent until it is
                                known which of ours it lacks (`pipeline.region.forked`)
    lane(lane, cursor)          packets of the lane up to `cursor` have been taken up at least once
    again(lane, seq)            packets at or below the cursor of which something waits (again, or still)
    large(seq, covered, waiting)    of a packet that travels as chunks: ranges that the center holds, ranges
                                that wait to be claimed; no row: nothing covered, and all or nothing waits
    sent(session, n, lane, seqs, first, last, start, stop, bytes)    claimed frames; `seqs` without those that
                                the center has spoken of; `start`, `stop` of a chunk, NULL for a batch
    announced(seq, lane)        packets without a receipt of which the center was told that they exist
    counter(lane, what, packets, bytes)    what: a Status, 0: no word, -1: waiting (bytes: not yet claimed)
    tally(what, n)              rare things that are counted: forks, foreign facts, losses
    event(id, at_ms, what, first, last, ranges, detail)    what happened to which seqs; no names, no NIKs
    rate(minute, lane, what, packets, bytes)    by minute of the wall clock, for 48 hours

A packet waits if the center has said nothing of it and it is above its lane's cursor, or in `again`.
Ranges are JSON lists in the form of `schemas.ranges.to_wire`.
"""

from __future__ import annotations

from pipeline.adapters.sqlite import Layout

FILE_NAME = "outbox.db"
HIGH_WATER_NAME = "highest-seq"
BALLAST_NAME = "ballast"
UPLOADS_LOCK_NAME = "uploads.lock"

#: Bytes of a piece; a packet up to this size is stored in one transaction.
PIECE_BYTES = 256 * 1024
#: Pieces that one upload can have: `PACKET_BYTES_MAX` is 1,024 of them and a little.
PIECES_MAX = 4096
#: `packet.pruned_ms` of a packet that a person dropped: nothing of its bytes is here.
DROPPED = -1
#: `counter.what` of what waits.
WAITING = -1
#: `counter.what` of packets of which the center has said nothing.
NO_WORD = 0

_FIRST = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE epoch(
  n INTEGER PRIMARY KEY, epoch TEXT NOT NULL UNIQUE, began_ms INTEGER NOT NULL, why TEXT NOT NULL);
CREATE TABLE packet(
  seq INTEGER PRIMARY KEY, lane INTEGER NOT NULL, kind TEXT NOT NULL, size INTEGER NOT NULL,
  digest BLOB NOT NULL, key BLOB NOT NULL, nik INTEGER NOT NULL, at_ms INTEGER NOT NULL, upload INTEGER,
  status INTEGER, fact_no INTEGER, reasons TEXT);
CREATE INDEX packet_lane ON packet(lane);
CREATE INDEX packet_key ON packet(key);
CREATE INDEX packet_nik ON packet(nik);
CREATE INDEX packet_dead ON packet(status) WHERE status = 8;
CREATE TABLE past(
  id INTEGER PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL, lane INTEGER, kind TEXT, size INTEGER,
  digest BLOB, key BLOB, nik INTEGER, at_ms INTEGER, upload INTEGER, status INTEGER, fact_no INTEGER,
  reasons TEXT, now_seq INTEGER, UNIQUE(epoch, seq));
CREATE TABLE past_body(id INTEGER PRIMARY KEY, stored BLOB NOT NULL);
CREATE TABLE body(seq INTEGER PRIMARY KEY, stored BLOB NOT NULL);
CREATE TABLE piece(id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE upload(id INTEGER PRIMARY KEY AUTOINCREMENT, began_ms INTEGER NOT NULL);
CREATE TABLE lane(lane INTEGER PRIMARY KEY, cursor INTEGER NOT NULL);
CREATE TABLE again(lane INTEGER, seq INTEGER, PRIMARY KEY(lane, seq)) WITHOUT ROWID;
CREATE TABLE large(seq INTEGER PRIMARY KEY, covered TEXT NOT NULL, waiting TEXT NOT NULL);
CREATE TABLE sent(
  session INTEGER, n INTEGER, lane INTEGER NOT NULL, seqs TEXT NOT NULL, first INTEGER NOT NULL,
  last INTEGER NOT NULL, start INTEGER, stop INTEGER, bytes INTEGER NOT NULL,
  PRIMARY KEY(session, n)) WITHOUT ROWID;
CREATE TABLE counter(
  lane INTEGER, what INTEGER, packets INTEGER NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY(lane, what)) WITHOUT ROWID;
CREATE TABLE tally(what TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE event(
  id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, what TEXT NOT NULL, first INTEGER NOT NULL,
  last INTEGER NOT NULL, ranges TEXT NOT NULL, detail TEXT NOT NULL);
CREATE TABLE rate(
  minute INTEGER, lane INTEGER, what TEXT, packets INTEGER NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY(minute, lane, what)) WITHOUT ROWID;
INSERT INTO lane VALUES (0, 0), (1, 0), (2, 0), (3, 0);
INSERT INTO counter SELECT l.lane, w.value, 0, 0
  FROM lane l, (SELECT value FROM json_each('[-1, 0, 1, 2, 3, 4, 5, 6, 7, 8]')) w;
"""
_ANNOUNCED = """
CREATE TABLE announced(seq INTEGER PRIMARY KEY, lane INTEGER NOT NULL);
CREATE INDEX announced_lane ON announced(lane);
"""
_CUSTODY = """
ALTER TABLE packet ADD COLUMN final_ms INTEGER;
ALTER TABLE packet ADD COLUMN pruned_ms INTEGER;
ALTER TABLE past ADD COLUMN word_ms INTEGER;
UPDATE packet SET final_ms = (SELECT coalesce(max(at_ms), 0) FROM event)
  WHERE status IN (2, 3, 4, 7) AND EXISTS (SELECT 1 FROM event);
CREATE INDEX packet_final ON packet(final_ms) WHERE final_ms IS NOT NULL AND pruned_ms IS NULL;
CREATE TABLE aside(seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, why TEXT NOT NULL);
CREATE TABLE suspect(first INTEGER PRIMARY KEY, stop INTEGER NOT NULL);
"""
_DROPPED = """
CREATE TABLE dropped(
  epoch TEXT, seq INTEGER, at_ms INTEGER NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL,
  whole INTEGER NOT NULL, PRIMARY KEY(epoch, seq)) WITHOUT ROWID;
"""
LAYOUT = Layout("outbox", 0x7469_6F62, (_FIRST, _ANNOUNCED, _CUSTODY, _DROPPED))
