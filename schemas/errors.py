"""What can be wrong with bytes and values that travel: one small tree, each with a code that is stored."""

from __future__ import annotations


class SchemaError(ValueError):
    """The input does not have the form it should have.

    `code` is a short stable word (kept with quarantined frames and refused packets), `field` names the
    place in the input where there is one, and the text is the sentence for a person.
    """

    code: str = "bad_input"

    def __init__(self, message: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        if code is not None:
            self.code = code


class CodecError(SchemaError):
    """These bytes are not the canonical msgpack that Titian writes, or they pass a limit."""

    code = "bad_msgpack"


class FrameError(SchemaError):
    """A frame could not be taken in; the subclass says at which step."""

    code = "bad_frame"


class MalformedFrame(FrameError):
    """The frame's outer form or its header cannot be read."""

    code = "malformed"


class UnknownKey(FrameError):
    """The frame names a key that is not known here, is revoked, or does not belong to its region."""

    code = "unknown_key"


class BadSignature(FrameError):
    """The signature does not hold over header and body as received."""

    code = "bad_signature"


class BadSeal(FrameError):
    """The body does not open with our key under this header."""

    code = "bad_seal"


class UnreadableBody(FrameError):
    """The signature holds, but what is inside cannot be read (newer version, bomb, not msgpack)."""

    code = "unreadable"


class InvalidPacket(SchemaError):
    """A packet breaks a rule of its schema: unknown kind or version, a bad field, a bad NIK."""

    code = "invalid_packet"
