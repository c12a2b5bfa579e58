"""What the center lets regions send, said by `deliver` for `depth`: `DATA/run/restraint.json`."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.adapters.folder import write_private
from pipeline.center.behind import Restraint
from pipeline.ports import Clock

#: Where nothing has changed it is said again after so long, seconds.
AGAIN_S = 10.0
#: Acks are made every 30 s at least: what was said longer ago does not hold now.
FRESH_S = 120.0


def _path(run: Path) -> Path:
    return run / "restraint.json"


@dataclass
class RestraintFile:
    """Writes it when it has changed, and now and then."""

    run: Path
    clock: Clock
    _said: tuple[int, int, float] = (-1, 0, 0.0)

    def say(self, now: Restraint) -> None:
        """Keep `now` for whoever looks. A disk that is full keeps nobody from being told to hold."""
        step, window_bytes, at_s = self._said
        now_s = self.clock.now_s()
        if (step, window_bytes) == (now.step, now.window_bytes) and now_s - at_s < AGAIN_S:
            return
        self._said = now.step, now.window_bytes, now_s
        with suppress(OSError):
            write_private(_path(self.run), json.dumps({"at_ms": self.clock.now_ms(), **asdict(now)}))


def read_restraint(run: Path, now_ms: int) -> dict[str, Any] | None:
    """What was said last, if that holds now."""
    try:
        said: Any = json.loads(_path(run).read_text(encoding="utf-8"))
        fresh = abs(now_ms - said["at_ms"]) <= FRESH_S * 1000
        return {name: said[name] for name in ("window_bytes", "hold_s", "step", "why")} if fresh else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
