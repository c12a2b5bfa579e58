"""`titian demo`: the whole way on one machine. A center, a region, a bad link that dies half-way, 500 packets.

Everything is real but the distance: two folders, two Valkeys each of its own side, Celery workers, SQL stores;
between them a relay that shapes the link. What the summary says is counted from the two sides' stores and from
the relay, never assumed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipeline.errors import TitianError
