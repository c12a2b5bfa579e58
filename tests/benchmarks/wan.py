"""Both sides in two network namespaces with a packet-level link between them (root).

    WAN=path/to/wan.sh python -m tests.benchmarks.wan PROFILE LOAD [--seconds S] [--plain-kernel] [--tag T]

`wan.sh up OPTIONS` must make the namespaces `region` (198.18.0.1) and `center` (198.18.0.2) and the link,
`wan.sh down` take them away, and `wan.sh outage` cut the link or mend it; with `--tag T` (or TAG) another
pair beside them. Meanwhile a small UDP packet goes to and fro ten times a second: what an office's ping sees.
`--plain-kernel`: without the congestion control and marking that Titian asks for. The last line printed is
one JSON object.

Loads:
- `large`, `records`, `idle`: how full the line is
- `own-tcp`: an office's own download and upload beside us
- `urgent`: one urgent packet now and then during a drain
- `cut`: outages of `--cut` seconds during a drain
- `cuts-large`: one packet of 2 MB with an outage every `--every` seconds
- `relay`: the simulator's relay beside the packet-level link
- `several`: plain connections without us, one to eight at a time
- `rebuild`: an empty machine gets `--records` records back (`--open` of them first)
- `raw`: a raw TCP stream, and one Celery task per packet, instead of us
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from typing import Any

from tests.benchmarks import (
    wan_cuts,
    wan_own,
    wan_raw,
    wan_rebuild,
    wan_relay,
    wan_several,
    wan_steady,
    wan_urgent,
)
from tests.benchmarks.wan_link import PROFILES

LOADS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "large": wan_steady.run,
    "records": wan_steady.run,
    "idle": wan_steady.run,
    "own-tcp": wan_own.run,
    "urgent": wan_urgent.run,
    "cut": wan_cuts.run_cut,
    "cuts-large": wan_cuts.run_large,
    "raw": wan_raw.run,
    "several": wan_several.run,
    "relay": wan_relay.run,
    "rebuild": wan_rebuild.run,
}


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    known = f"{', '.join(PROFILES)}, or RATE,DELAY_MS,LOSS[,JITTER_MS[,QUEUE_KIB]]"
    parser.add_argument("profile", help=known)
    parser.add_argument("load", choices=LOADS)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--plain-kernel", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--tag", default=os.environ.get("TAG", ""), help="of a second link beside another")
    parser.add_argument("--cut", type=float, help="seconds of an outage (cut: 20, cuts-large: 2)")
    parser.add_argument("--cuts", type=int, default=1, help="how many, for `cut`")
    parser.add_argument("--every", type=float, default=wan_cuts.EVERY_S, help="seconds, for `cuts-large`")
    parser.add_argument("--records", type=int, default=600_000, help="for `rebuild`")
    parser.add_argument("--open", type=int, default=2_000, help="of them without a card, for `rebuild`")
    args = parser.parse_args()
    print(json.dumps(LOADS[args.load](args)), flush=True)


if __name__ == "__main__":
    main()
