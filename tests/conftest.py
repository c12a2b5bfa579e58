"""For every test: how Hypothesis searches. A slow example is no defect on a busy machine: no deadline."""

from __future__ import annotations

import os

from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

#: Failing examples are kept and tried first; in CI every run tries the same ones.
settings.register_profile(
    "here", deadline=None, print_blob=True, database=DirectoryBasedExampleDatabase(".hypothesis/examples")
)
settings.register_profile("ci", deadline=None, print_blob=True, database=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
