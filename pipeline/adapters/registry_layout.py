"""Step 7: how the region's registry lies on disk (`registry.db`). Whoever changes it appends a migration.

meta(key, value)            facts, records: the two cursors; made_ms
since(n, incarnation, facts, records)   the history of incarnations, oldest first
record(id, nik, version, record_no, status, epoch, seq, open, head, leaf)   one row a citizen, in the order in
                            which they first came; the NIK is a whole number of 16 digits; `record_no` is
                            the position up to which the frame went that brought it; `open` after a rewind:
                            any version is taken; rows are never deleted, so the newest id is their count;
                            `leaf` is `schemas.feed.record_leaf` of the row, by which damage on this disk is
                            noticed (NULL: written by a version that did not keep it)
fact(position, n, epoch, status, reasons, seqs, hash)   groups of facts until the outbox has settled them
            meta also holds `fresh` (1: nothing yet, see `start_at`), `back` (JSON of `schemas.messages.Back`)
            and `rebuilt_ms`, when the last pass of a rebuild was done
ask(id, what, args, at, asked_ms, answered_ms, answer)      questions to the center; `answered_ms` NULL: open;
                            `answer` gathers the payloads of those whose asker reads them
attachment(id, nik, epoch, seq, name, media_type, size, digest, at_ms, whole)    attachments that came back;
                            `whole` 1: all pieces are there and match the digest, 2: they did not match
piece(attachment, start, bytes)     their bytes
raw(id, sequence, start, upto, incarnation, at_ms, reason, frame)   verified frames of a newer center
event(id, at_ms, what, detail)      what happened: no names, no NIKs
rate(minute, what, n, bytes)        records and facts applied, by minute of the wall clock, for 48 hours
"""

from __future__ import annotations

from pipeline.adapters.sqlite import Layout

FILE_NAME = "registry.db"

_FIRST = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE since(n INTEGER PRIMARY KEY, incarnation TEXT NOT NULL, facts INTEGER NOT NULL,
  records INTEGER NOT NULL);
CREATE TABLE record(
  id INTEGER PRIMARY KEY, nik INTEGER NOT NULL, version INTEGER NOT NULL, record_no INTEGER NOT NULL,
  status INTEGER NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL, open INTEGER NOT NULL DEFAULT 0,
  head BLOB NOT NULL);
CREATE UNIQUE INDEX record_nik ON record(nik);
CREATE TABLE fact(
  position INTEGER, n INTEGER, epoch TEXT NOT NULL, status INTEGER NOT NULL, reasons TEXT NOT NULL,
  seqs TEXT NOT NULL, hash BLOB NOT NULL, PRIMARY KEY(position, n)) WITHOUT ROWID;
CREATE TABLE raw(
  id INTEGER PRIMARY KEY, sequence TEXT NOT NULL, start INTEGER NOT NULL, upto INTEGER NOT NULL,
  incarnation TEXT NOT NULL, at_ms INTEGER NOT NULL, reason TEXT NOT NULL, frame BLOB NOT NULL);
CREATE TABLE event(id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL);
CREATE TABLE rate(minute INTEGER, what TEXT, n INTEGER NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY(minute, what)) WITHOUT ROWID;
INSERT INTO meta VALUES ('facts', 0), ('records', 0);
"""

_REBUILD = """
CREATE TABLE ask(
  id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL, args BLOB NOT NULL, at INTEGER NOT NULL DEFAULT 0,
  asked_ms INTEGER NOT NULL, answered_ms INTEGER, answer BLOB);
CREATE INDEX ask_open ON ask(id) WHERE answered_ms IS NULL;
CREATE TABLE attachment(
  id INTEGER PRIMARY KEY, nik INTEGER NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL, name TEXT NOT NULL,
  media_type TEXT NOT NULL, size INTEGER NOT NULL, digest BLOB NOT NULL, at_ms INTEGER NOT NULL,
  whole INTEGER NOT NULL DEFAULT 0, UNIQUE(epoch, seq, name));
CREATE INDEX attachment_nik ON attachment(nik);
CREATE TABLE piece(
  attachment INTEGER, start INTEGER, bytes BLOB NOT NULL, PRIMARY KEY(attachment, start)) WITHOUT ROWID;
INSERT INTO meta VALUES ('fresh', 0);
"""
_LEAF = "ALTER TABLE record ADD COLUMN leaf INTEGER"
LAYOUT = Layout("registry", 0x7469_7267, (_FIRST, _REBUILD, _LEAF))
