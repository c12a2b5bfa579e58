"""Step 3, pure: what the measured rate means for frames: how large, and how hard to compress.

A frame is about 200 ms of the link: large enough to compress well, small enough that the next choice of a
lane is never far. Compression may take about a tenth of a core: on a thin link that buys the highest levels.
"""

from __future__ import annotations

from pipeline.throttle.view import ThrottleView

#: How long a frame may take on the link, seconds, and the smallest frame, bytes.
FRAME_S = 0.2
FRAME_BYTES_MIN = 4096
#: How many frames the window holds where only whole ones are answered.
FRAMES_IN_THE_WINDOW = 2
#: While nothing is known of the link, a frame is not larger than this.
FRAME_BYTES_FIRST = 16 * 1024
#: Up to this rate (bytes a second) batches of records are compressed at that zstd level. Measured on one core
#: with the shipped dictionary and 300 records a frame: level 15 gives 0.9 MB/s, 12 4.2, 9 8.2, 6 21.
LEVELS = ((128_000, 15), (400_000, 12), (1_250_000, 9), (5_000_000, 6))
LEVEL_LAST = 3
#: Biometrics are compressed already: what a higher level finds in them is not worth it.
LEVEL_CHUNK = 3
#: While nothing is known.
LEVEL_FIRST = 6


def frame_bytes(view: ThrottleView, most: int) -> int:
    """What a frame aims at on such a link, at most `most` bytes. Where only whole frames are answered,
    several must fit into the window, or the link is idle between one and the next."""
    wanted = FRAME_S * view.rate_bytes_s if view.rate_bytes_s else FRAME_BYTES_FIRST
    if view.by_answers:
        wanted = min(wanted, view.window_bytes / FRAMES_IN_THE_WINDOW)
    return max(FRAME_BYTES_MIN, min(int(wanted), most))


def zstd_level(rate_bytes_s: float) -> int:
    """The level for batches of records on a link of that rate (0: not known yet)."""
    if not rate_bytes_s:
        return LEVEL_FIRST
    return next((level for rate, level in LEVELS if rate_bytes_s <= rate), LEVEL_LAST)
