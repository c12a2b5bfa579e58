"""`titian up`, `status` and `stop`: one side's servers and worker processes, under one supervisor."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pipeline.adapters.file_lock import FileLock
from pipeline.adapters.folder import Folder
from pipeline.errors import NotFound, Unreachable
from workers.embedded import ValkeyServer
from workers.supervisor import ChildSpec, Supervisor
