"""Step 2 to 3, how fast: what leaves the office when the line is thin, shared, lossy and cut.

`controller` decides how many bytes may be under way (pure: no clock, no socket). `base_delay` knows how fast
the line answers when it is empty. `pace` turns the measured rate into frame size and compression, `steering`
says which lane may go when, and how fast. The kernel's part of a socket (`TCP_INFO`, BBR, DSCP) is read and
set by `pipeline.adapters.tcp_kernel`.
"""

from __future__ import annotations

from pipeline.throttle.base_delay import BaseDelay
from pipeline.throttle.controller import Controller
from pipeline.throttle.view import State, ThrottleSettings, ThrottleView

__all__ = ["BaseDelay", "Controller", "State", "ThrottleSettings", "ThrottleView"]
