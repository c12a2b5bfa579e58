"""Step 3: what bounds a push, and what one step of it did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PushSettings:
    """What bounds a push. Bytes as they lie on the link; seconds.

    `frame_bytes` is what a frame aims at, `level_bytes` what of `down` we can take. A broker that denies us
    is asked again after `denied_s`, one without memory after `full_s`.
    """

    frame_bytes: int = 32 * 1024
    link_window_bytes: int = 256 * 1024
    level_bytes: int = 256 * 1024
    denied_s: float = 15.0
    full_s: float = 1.0


@dataclass(frozen=True)
class Pushed:
    """What one step did. `waits` says in a word why nothing more went (`""`: there may be more at once)."""

    frames: int = 0
    packets: int = 0
    bytes: int = 0
    settled: int = 0
    requeued: int = 0
    forks: int = 0
    waits: str = ""
