"""The supervisor with real processes: order, restarts, a stop, and that nothing is left of them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.file_lock import is_alive
from pipeline.errors import AlreadyRunning, Unreachable
from workers.embedded import ValkeyServer
from workers.supervisor import ChildSpec, Supervisor
from workers.supervisor_child import FIRST_TICK_S_MAX
from workers.supervisor_state import claim, running

SLEEPER = "import time; time.sleep(300)"
#: Says when it was asked to stop, and stops.
POLITE = """
import signal, sys, time
def end(*_):
    open(sys.argv[1], "a").write(f"{sys.argv[2]}\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open(sys.argv[1], "a").write(f"{sys.argv[2]} runs\\n")
time.sleep(300)
"""
STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "a").write("runs\\n")
time.sleep(300)
"""


class Events(list[tuple[str, dict[str, Any]]]):
    """What was told, in order."""

    def __call__(self, name: str, **fields: Any) -> None:
        self.append((name, fields))

    def of(self, name: str) -> list[dict[str, Any]]:
        return [fields for found, fields in self if found == name]


class Soon(random.Random):
    """The shortest delays."""

    def uniform(self, a: float, b: float) -> float:
        return min(a, b)


def until(done: Callable[[], object], deadline_s: float = 20.0) -> None:
    end_s = time.monotonic() + deadline_s
    while not done():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


def python(folder: Path, name: str, code: str, *arguments: str, **more: Any) -> ChildSpec:
    return ChildSpec(name, [sys.executable, "-c", code, *arguments], folder / f"{name}.log", **more)


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def running_supervisors() -> Iterator[list[Supervisor]]:
    """Those that a test leaves running are stopped hard at its end."""
    made: list[Supervisor] = []
    yield made
    for supervisor in made:
        supervisor.stop(0.0)


def test_servers_start_first_and_stop_last(tmp_path: Path, events: Events) -> None:
    diary = tmp_path / "diary"
    server = python(
        tmp_path, "server", POLITE, str(diary), "server", ready=lambda: "server runs" in text(diary)
    )
    worker = python(tmp_path, "worker", POLITE, str(diary), "worker")
    supervisor = Supervisor([worker, server], events)  # the order in which they are given does not matter
    supervisor.start()
    until(lambda: "worker runs" in text(diary))
    stopped = supervisor.stop()
    assert text(diary).splitlines() == ["server runs", "worker runs", "worker", "server"]
    assert stopped.killed == ()
    assert events[-1][0] == "stopped"


def test_a_child_that_will_not_stop_is_killed_and_named(tmp_path: Path, events: Events) -> None:
    diary = tmp_path / "diary"
    supervisor = Supervisor(
        [python(tmp_path, "mule", STUBBORN, str(diary)), python(tmp_path, "sheep", SLEEPER)], events
    )
    supervisor.start()
    until(lambda: text(diary))
    pids = [child.pid for child in supervisor.states]
    stopped = supervisor.stop(deadline_s=0.5)
    assert stopped.killed == ("mule",)
    assert stopped.seconds < 3
    assert not any(is_alive(pid) for pid in pids if pid)


def test_a_child_that_dies_comes_back_after_a_growing_delay(
    tmp_path: Path, events: Events, running_supervisors: list[Supervisor]
) -> None:
    supervisor = Supervisor([python(tmp_path, "w", "raise SystemExit(7)")], events, rng=Soon())
    running_supervisors.append(supervisor)
    supervisor.start()

    def came_back() -> bool:
        supervisor.look(time.monotonic())
        return len(events.of("child_ended")) >= 3

    until(came_back)
    ended = events.of("child_ended")
    assert [fields["code"] for fields in ended[:3]] == [7, 7, 7]
    assert [fields["restart_in_s"] for fields in ended[:3]] == [0.4, 0.8, 1.5]
    assert len(events.of("child_started")) == 3


def test_a_child_killed_with_sigkill_is_replaced(
    tmp_path: Path, events: Events, running_supervisors: list[Supervisor]
) -> None:
    supervisor = Supervisor([python(tmp_path, "w", SLEEPER)], events, rng=Soon())
    running_supervisors.append(supervisor)
    supervisor.start()
    (before,) = supervisor.states
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)

    def replaced() -> bool:
        supervisor.look(time.monotonic())
        (now,) = supervisor.states
        return now.pid is not None and now.pid != before.pid and now.starts == 2

    until(replaced)


def test_what_a_dead_child_leaves_in_its_group_dies_with_it(
    tmp_path: Path, events: Events, running_supervisors: list[Supervisor]
) -> None:
    note = tmp_path / "grandchild"
    code = (
        "import subprocess, sys, os\n"
        f"p = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}])\n"
        "open(sys.argv[1], 'w').write(str(p.pid) + '\\n')\n"
        "os._exit(1)\n"
    )
    supervisor = Supervisor([python(tmp_path, "w", code, str(note))], events)
    running_supervisors.append(supervisor)
    supervisor.start()
    until(lambda: text(note).endswith("\n"))
    grandchild = int(text(note))

    def gone() -> bool:
        supervisor.look(time.monotonic())
        return bool(events.of("child_ended")) and not is_alive(grandchild)

    until(gone)


def test_a_child_that_no_longer_ticks_is_killed_and_started_again(
    tmp_path: Path, events: Events, running_supervisors: list[Supervisor]
) -> None:
    tick = tmp_path / "tick"
    supervisor = Supervisor([python(tmp_path, "w", SLEEPER, ticks=[tick])], events, rng=Soon())
    running_supervisors.append(supervisor)
    supervisor.start()
    now_s = time.monotonic()
    for later_s in range(0, int(FIRST_TICK_S_MAX) - 5, 5):  # time is an argument: nobody waits for a minute
        supervisor.look(now_s + later_s)
    assert not events.of("child_stuck")
    for later_s in range(int(FIRST_TICK_S_MAX) - 5, int(FIRST_TICK_S_MAX) + 10, 5):
        supervisor.look(now_s + later_s)
    assert [fields["tick"] for fields in events.of("child_stuck")] == ["tick"]
    assert events.of("child_ended")[0]["code"] == -signal.SIGKILL


def test_a_server_that_does_not_start_is_told_with_its_last_words(tmp_path: Path, events: Events) -> None:
    bad = python(tmp_path, "server", "print('the port is taken'); raise SystemExit(1)", ready=lambda: False)
    worker = python(tmp_path, "worker", SLEEPER)
    with pytest.raises(Unreachable, match="the port is taken"):
        Supervisor([bad, worker], events).run_until(threading.Event())
    assert [fields["child"] for fields in events.of("child_started")] == ["server", "server"]


def test_a_server_that_hangs_at_its_start_is_given_up_and_nothing_runs_then(
    tmp_path: Path, events: Events
) -> None:
    hangs = python(tmp_path, "server", SLEEPER, ready=lambda: False, ready_s=0.3)
    with pytest.raises(Unreachable, match="server did not start"):
        Supervisor([hangs], events).run_until(threading.Event())
    (started,) = events.of("child_started")
    assert not is_alive(started["pid"])


def test_a_program_that_is_not_there_is_tried_again_and_holds_up_nobody(
    tmp_path: Path, events: Events
) -> None:
    missing = ChildSpec("missing", [str(tmp_path / "nothing")], tmp_path / "log")
    supervisor = Supervisor([missing, python(tmp_path, "w", SLEEPER)], events)
    supervisor.start()
    assert events.of("child_not_started")[0]["child"] == "missing"
    assert [fields["child"] for fields in events.of("child_started")] == ["w"]
    assert supervisor.stop().killed == ()


def test_what_stands_in_the_way_is_cleared_before_each_start_and_told(tmp_path: Path, events: Events) -> None:
    cleared: list[int] = []

    def clear() -> list[str]:
        cleared.append(1)
        return ["removed an old socket"]

    supervisor = Supervisor([python(tmp_path, "w", SLEEPER, before=clear)], events)
    supervisor.start()
    supervisor.stop()
    assert cleared == [1]
    assert events.of("child_note") == [{"child": "w", "what": "removed an old socket"}]


def test_it_runs_until_it_is_told_to_stop(tmp_path: Path, events: Events) -> None:
    stop = threading.Event()
    threading.Timer(0.4, stop.set).start()
    stopped = Supervisor([python(tmp_path, "w", SLEEPER)], events).run_until(stop)
    assert stopped.killed == ()
    assert stopped.seconds < 4
    assert stop.is_set()


# --- one side, one `up` ---------------------------------------------------------------------------


def test_a_second_claim_on_the_folder_names_the_first(tmp_path: Path) -> None:
    with claim(tmp_path) as first:
        first.say(())
        with pytest.raises(AlreadyRunning, match=rf"already running, pid {os.getpid()}, since 20") as refused:
            claim(tmp_path)
        assert refused.value.exit_code == 4
        found = running(tmp_path)
        assert found is not None
        assert found.pid == os.getpid()
    assert running(tmp_path) is None
    claim(tmp_path).release()


def test_the_state_file_follows_the_children(tmp_path: Path, events: Events) -> None:
    with claim(tmp_path) as held:
        supervisor = Supervisor([python(tmp_path, "w", SLEEPER)], events, held)
        supervisor.start()
        found = running(tmp_path)
        assert found is not None
        assert found.children == supervisor.states
        assert json.loads((tmp_path / "up.json").read_text())["children"][0]["name"] == "w"
        supervisor.stop()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_state_file_still_tells_who_runs(tmp_path: Path, text: str) -> None:
    with claim(tmp_path):
        (tmp_path / "up.json").write_text(text)
        found = running(tmp_path)
        assert found is not None
        assert found.pid == os.getpid()


# --- kill -9 --------------------------------------------------------------------------------------

UP = """
import os, signal, sys
from pathlib import Path
from workers.embedded import ValkeyServer
from workers.stop_signal import StopSignal
from workers.supervisor import ChildSpec, Supervisor
from workers.supervisor_state import claim

run = Path(sys.argv[1])
stop = StopSignal(signal.SIGTERM, signal.SIGINT)
worker = (
    "import sys, time; from workers.deathsig import die_with_parent; "
    "die_with_parent(int(sys.argv[1])); print('works', flush=True); time.sleep(300)"
)
with claim(run) as held:
    valkey = ValkeyServer(run / "valkey").child("valkey")
    python = ChildSpec("worker", [sys.executable, "-c", worker, str(os.getpid())], run / "worker.log")
    Supervisor([valkey, python], lambda name, **fields: print(name, fields, flush=True), held).run_until(stop)
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a process tree: a supervisor with a Valkey and a Python child; waits until all of it works."""
    made: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "up.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", UP, str(tmp_path)], stdout=log, stderr=log, start_new_session=True
            )
        made.append(process)
        until(lambda: len(pids(tmp_path)) == 2 and "works" in text(tmp_path / "worker.log"))
        return process

    yield start
    for process in made:
        process.kill()
        process.wait()
    if made:  # a kill leaves the socket: nothing of a test stays in the machine's temporary folder
        left = ValkeyServer(tmp_path / "valkey").socket_path
        until(lambda: not pids(tmp_path))
        shutil.rmtree(left.parent)


def pids(run: Path) -> list[int]:
    found = running(run)
    return [] if found is None else [child.pid for child in found.children if child.pid]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux's")
def test_kill_9_of_the_supervisor_leaves_no_process_and_the_next_one_starts_at_once(
    tmp_path: Path, up: Callable[[], subprocess.Popen[bytes]]
) -> None:
    first = up()
    children = pids(tmp_path)
    assert all(is_alive(pid) for pid in children)
    (tmp_path / "worker.log").write_text("")
    first.kill()
    first.wait(10)
    until(lambda: not any(is_alive(pid) for pid in children))
    assert running(tmp_path) is None
    up()
    assert not set(pids(tmp_path)) & set(children)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_the_whole_tree_within_five_seconds(
    tmp_path: Path, up: Callable[[], subprocess.Popen[bytes]], signum: signal.Signals
) -> None:
    process = up()
    children = pids(tmp_path)
    process.send_signal(signum)
    assert process.wait(5) == 0
    assert not any(is_alive(pid) for pid in children)
    assert running(tmp_path) is None
    assert not (tmp_path / "up.json").exists()
    assert "'killed': []" in text(tmp_path / "up.log")


def test_a_valkey_killed_under_the_supervisor_comes_back_with_what_it_held_and_the_worker_stays(
    tmp_path: Path, up: Callable[[], subprocess.Popen[bytes]]
) -> None:
    up()
    valkey, worker = pids(tmp_path)
    server = ValkeyServer(tmp_path / "valkey")
    with server.client() as client:
        client.set("k", "v")
    os.kill(valkey, signal.SIGKILL)
    until(lambda: not is_alive(valkey))
    until(server.alive)
    with server.client() as client:
        assert client.get("k") == b"v"
    until(lambda: len(pids(tmp_path)) == 2 and valkey not in pids(tmp_path))
    assert pids(tmp_path)[1] == worker
    assert is_alive(worker)


def test_a_second_one_on_the_same_folder_ends_and_disturbs_nothing(
    tmp_path: Path, up: Callable[[], subprocess.Popen[bytes]]
) -> None:
    first = up()
    children = pids(tmp_path)
    second = subprocess.run(
        [sys.executable, "-c", UP, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert f"already running, pid {first.pid}, since" in second.stderr
    assert first.poll() is None
    assert pids(tmp_path) == children
    assert all(is_alive(pid) for pid in children)
