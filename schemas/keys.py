"""Keys of a side: Ed25519 to sign, X25519 to be sealed to; one id names the pair.

Only bytes and arithmetic here: where private keys lie on disk is an adapter's business.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from schemas.errors import BadSeal, SchemaError

KEY_ID_BYTES = 8
_PROBE = X25519PrivateKey.from_private_bytes(bytes(range(32)))
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)


class PublicBytes(NamedTuple):
    """The two public keys as 32 bytes each: what a join file and a `join` message carry."""

    sign: bytes
    seal: bytes


def key_id(public: PublicBytes) -> bytes:
    """The 8 bytes that name a pair in a frame's header."""
    return hashlib.sha256(b"titian key 1" + public.sign + public.seal).digest()[:KEY_ID_BYTES]


@dataclass(frozen=True)
class PublicKey:
    """The other side's keys, ready for use. `region` is `None` for the center's."""

    raw: PublicBytes
    id: bytes
    sign: Ed25519PublicKey
    seal: X25519PublicKey
    region: str | None = None

    @classmethod
    def load(cls, raw: PublicBytes, region: str | None = None) -> PublicKey:
        """Keys of their bytes; raises `SchemaError` if they are none, or if nothing can be sealed to them."""
        try:
            sign = Ed25519PublicKey.from_public_bytes(raw.sign)
            seal = X25519PublicKey.from_public_bytes(raw.seal)
            _PROBE.exchange(seal)  # a point of low order loads, and fails at the first sealing
        except ValueError as why:
            raise SchemaError("these bytes are not a pair of public keys", code="bad_key") from why
        return cls(PublicBytes(*raw), key_id(PublicBytes(*raw)), sign, seal, region)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` (64 bytes) is this key's over `message`."""
        try:
            self.sign.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def seal_to(self, plain: bytes, info: bytes) -> bytes:
        """`plain` sealed to this key: 48 bytes longer (RFC 9180, base mode)."""
        sealed: bytes = _SUITE.encrypt(plain, self.seal, info=info)
        return sealed


@dataclass(frozen=True, repr=False)
class PrivateKey:
    """Our own pair."""

    sign: Ed25519PrivateKey
    seal: X25519PrivateKey
    public: PublicKey

    @property
    def id(self) -> bytes:
        """The 8 bytes that name this pair."""
        return self.public.id

    @classmethod
    def generate(cls, region: str | None = None) -> PrivateKey:
        """A new random pair."""
        return cls._of(Ed25519PrivateKey.generate(), X25519PrivateKey.generate(), region)

    @classmethod
    def load(cls, sign: bytes, seal: bytes, region: str | None = None) -> PrivateKey:
        """The pair of its private bytes (32 each); raises `SchemaError` if they are none."""
        try:
            return cls._of(
                Ed25519PrivateKey.from_private_bytes(sign), X25519PrivateKey.from_private_bytes(seal), region
            )
        except ValueError as why:
            raise SchemaError("these bytes are not a pair of private keys", code="bad_key") from why

    @classmethod
    def _of(cls, sign: Ed25519PrivateKey, seal: X25519PrivateKey, region: str | None) -> PrivateKey:
        raw = PublicBytes(sign.public_key().public_bytes_raw(), seal.public_key().public_bytes_raw())
        return cls(sign, seal, PublicKey.load(raw, region))

    def private_bytes(self) -> tuple[bytes, bytes]:
        """The private halves, 32 bytes each, for a file with mode 0600."""
        return self.sign.private_bytes_raw(), self.seal.private_bytes_raw()

    def signature(self, message: bytes) -> bytes:
        """64 bytes over `message`."""
        return self.sign.sign(message)

    def unseal(self, sealed: bytes, info: bytes) -> bytes:
        """What was sealed to us; raises `BadSeal`."""
        try:
            plain: bytes = _SUITE.decrypt(sealed, self.seal, info=info)
        except Exception as why:  # the library raises InvalidTag, ValueError or its own by version
            raise BadSeal("the body does not open with our key under this header") from why
        return plain
