"""How hard tests look that could look for ever: `TEST_EFFORT` times as many examples (make nightly: 4)."""

from __future__ import annotations

import os

EFFORT = int(os.environ.get("TEST_EFFORT", "1"))
