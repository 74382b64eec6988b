"""A Ray head node on this machine: dashboard and job server on 127.0.0.1, tokens on.

python -m cluster.local up       # start it and print what to export
python -m cluster.local down     # stop it, and nothing else

It is `ray start --head --block` in the background. `down` ends that process and so the node it
watches over; other Rays on this machine are left alone, which `ray stop` would not do.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.settings import DASHBOARD_PORT, GCS_PORT, RAY_ENVIRONMENT

START_SECONDS, STOP_SECONDS, LEFT_SECONDS = 90, 60, 5
ADDRESSES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")  # of another cluster, or of one that is gone


@dataclass(frozen=True)
class Head:
    """The head node that this command started."""

    pid: int  # of `ray start --block`
    born: int  # its start time in clock ticks since boot, so that a reused pid is not mistaken
    dashboard: str  # http://127.0.0.1:PORT


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m cluster.local",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_subparsers(dest="what", required=True)
    start = what.add_parser("up", help="start a head node in the background")
    start.add_argument("--port", type=int, default=GCS_PORT, help="of Ray's own traffic")
    start.add_argument("--dashboard-port", type=int, default=DASHBOARD_PORT, help="also of jobs")
    start.add_argument("--cpus", type=int, help="to offer (default: all)")
    start.add_argument("--gpus", type=int, help="to offer (default: all)")
    what.add_parser("down", help="stop the head node that `up` started")
    options = parser.parse_args(arguments)
    try:
        if options.what == "up":
            up(options.port, options.dashboard_port, options.cpus, options.gpus)
        else:
            down()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"cluster.local: {error}")


def up(port: int, dashboard_port: int, cpus: int | None, gpus: int | None) -> None:
    """Start a head node, wait until it answers, and print how to use it."""
    head = running()
    if head is not None:
        raise RuntimeError(f"a head node runs already ({head.dashboard}); stop it first with down")
    for option, number in (("--port", port), ("--dashboard-port", dashboard_port)):
        if not 1 <= number <= 65535:
            raise RuntimeError(f"{option} {number}: expected 1 to 65535")
        if not is_free(number):
            raise RuntimeError(
                f"{option} {number}: something listens there, perhaps another Ray; choose another"
            )
    environment = node_environment(os.environ)
    ensure_token(environment)
    command = [
        *ray_command(), "start", "--head", "--block", f"--port={port}",
        "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard_port}",
        # Its usual port may be another Ray's on this machine; then no job would ever start.
        f"--dashboard-agent-listen-port={free_port()}",
        *([f"--num-cpus={cpus}"] if cpus is not None else []),
        *([f"--num-gpus={gpus}"] if gpus is not None else []),
    ]  # fmt: skip
    folder = state_file().parent
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "local-head.log"
    print(f"Starting a Ray head node; its output goes to {log}", flush=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    head = Head(process.pid, birth(process.pid) or 0, f"http://127.0.0.1:{dashboard_port}")
    state_file().write_text(json.dumps(asdict(head)), encoding="utf-8")
    deadline = time.monotonic() + START_SECONDS
    while not answers(head.dashboard):
        if process.poll() is not None or time.monotonic() > deadline:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            end(head)
            raise RuntimeError(f"the head node did not start: {' '.join(last)} (see {log})")
        time.sleep(0.5)
    print(
        f"Ready: dashboard and job server at {head.dashboard}\n"
        f"  export RAY_ADDRESS={head.dashboard} RAY_AUTH_MODE=token\n"
        "  python -m cluster.doctor\n"
        "  python -m jobs.submit train --data digits --recipe digits --workers 2 "
        '--storage "$PWD/runs"\n'
        "The dashboard asks for the token once: ray get-auth-token",
        flush=True,
    )


def down() -> None:
    """Stop the head node that `up` started, with all that runs on it."""
    head = running()
    if head is None:
        raise RuntimeError("no head node of this command is running")
    end(head)
    print(f"Stopped the head node of {head.dashboard}")


def end(head: Head) -> None:
    """SIGTERM to `ray start --block`, which ends the node's processes; SIGKILL after a minute.

    What it leaves behind, such as Serve's HAProxy, which holds ports, is ended after it.
    """
    if birth(head.pid) == head.born:
        below = descendants(head.pid)
        with suppress(ProcessLookupError):  # whoever ends this moment
            os.killpg(head.pid, signal.SIGTERM)
            if not gone({head.pid: head.born}, STOP_SECONDS):
                os.killpg(head.pid, signal.SIGKILL)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if gone(below, LEFT_SECONDS):
                break
            for pid, born in below.items():
                if birth(pid) == born:
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)
        gone(below, LEFT_SECONDS)
    state_file().unlink(missing_ok=True)


def gone(processes: Mapping[int, int], seconds: float) -> bool:
    """Whether all of these (pid -> birth) end within so many seconds."""
    deadline = time.monotonic() + seconds
    while any(birth(pid) == born for pid, born in processes.items()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def descendants(pid: int) -> dict[int, int]:
    """All processes that a process has started, and they in turn: pid -> birth."""
    children: dict[int, dict[int, int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := stat_of(int(entry.name))):
            children.setdefault(int(fields[1]), {})[int(entry.name)] = int(fields[19])
    found: dict[int, int] = {}
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), {})
        waiting += below.keys() - found.keys()
        found |= below
    return found


def running() -> Head | None:
    """The head node that `up` started, if it still runs."""
    try:
        head = Head(**json.loads(state_file().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return head if birth(head.pid) == head.born else None


def state_file() -> Path:
    """Where `up` leaves word for `down`."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "ray-cifar" / "local-head.json"


def birth(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is none or it's a zombie."""
    fields = stat_of(pid)
    return None if fields is None or fields[0] == "Z" else int(fields[19])


def stat_of(pid: int) -> list[str] | None:
    """What /proc says of a process, from its state on; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()


def answers(dashboard: str) -> bool:
    """Whether the job server is there (it may well ask for a token)."""
    # A proxy that the environment names has no way to 127.0.0.1.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{dashboard}/api/version", timeout=2):
            return True
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)
    except OSError:
        return False


def is_free(port: int) -> bool:
    """Whether nothing listens on a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def node_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What a head node is started with, from the environment of this command.

    A cluster that the shell names stays out: actors here would ask that one about themselves.
    """
    environment = {**RAY_ENVIRONMENT, **ours, "RAY_AUTH_MODE": "token"}
    for name in ADDRESSES:
        environment.pop(name, None)
    # Jobs are started as `python -m …`: that must be this Python, also where no venv is activated.
    environment["PATH"] = f"{Path(sys.executable).parent}:{ours.get('PATH', os.defpath)}"
    return environment


def ensure_token(environment: dict[str, str]) -> None:
    """Have Ray make a token in ~/.ray/auth_token, unless there is one or the environment has it."""
    if environment.get("RAY_AUTH_TOKEN") or environment.get("RAY_AUTH_TOKEN_PATH"):
        return
    if (Path.home() / ".ray" / "auth_token").is_file():
        return
    subprocess.run(
        [*ray_command(), "get-auth-token", "--generate"],
        env=environment, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def ray_command() -> list[str]:
    """Ray's command line, of the Python that runs this."""
    return [sys.executable, "-m", "ray.scripts.scripts"]


if __name__ == "__main__":
    main()
