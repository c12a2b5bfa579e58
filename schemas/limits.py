"""Every bound on what travels, in one place: a reader refuses what passes one before it allocates."""

from __future__ import annotations

#: The largest frame on the link, in bytes as it lies in a stream (256 KiB of contents and its envelope).
FRAME_BYTES_MAX = 320 * 1024
#: The largest contents of a frame before compression, in bytes.
BODY_BYTES_MAX = 4 * 1024 * 1024
#: Packets in one batch frame.
BATCH_PACKETS_MAX = 2_000
#: The largest head (payload and the list of attachments) of a packet, in bytes of msgpack.
HEAD_BYTES_MAX = 64 * 1024
#: A packet up to this size (bytes) travels in a batch; a larger one travels as chunks.
BATCHED_PACKET_BYTES_MAX = 16 * 1024
#: The largest chunk (and piece in a store), in bytes of the packet's stored bytes.
CHUNK_BYTES_MAX = 256 * 1024
#: The largest attachment by default, in bytes; the setting `attachment_bytes_max` changes it.
ATTACHMENT_BYTES_MAX = 32 * 1024 * 1024
#: The largest packet that the wire can name at all, in bytes; the center refuses what is larger.
PACKET_BYTES_MAX = 256 * 1024 * 1024
#: Attachments of one packet.
ATTACHMENTS_MAX = 64
#: Characters of an attachment's name and of its media type.
ATTACHMENT_NAME_CHARS_MAX = 100
#: Fields of a payload, entries of any array in it, and how deep it nests.
PAYLOAD_FIELDS_MAX = 200
PAYLOAD_DEPTH_MAX = 6
#: Characters of one text field of the payload.
TEXT_CHARS_MAX = 4_000
#: The largest seq and size an identity can carry (fits SQLite's and PostgreSQL's signed 64 bits).
INTEGER_MAX = 2**63 - 1
#: Ranges in one header, fact group or ack.
RANGES_MAX = 4_000
#: One NDJSON line, in bytes (base64 attachments stand in it; larger ones belong into files).
LINE_BYTES_MAX = 64 * 1024 * 1024
