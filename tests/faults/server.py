"""A server of its own for tests that kill parts of it, started by the command of the README."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import psutil

from jobs.free_port import free_port

ROOT = Path(__file__).parents[2]
REPLICA = "ray::ServeReplica:{}"  # of an application
INGRESS_PORTS = range(30_000, 31_000)  # of replicas, Serve's own
LISTENING = "0A"  # in /proc/net/tcp
CONTROLLER = "ray::ServeController"
PROXY = "haproxy"


class Server:
    """`python -m serve_app` in a process group of its own.

    within: words before it, such as those that enter a network namespace.
    host: where it is reached from here.
    """

    def __init__(
        self,
        *arguments: str,
        environment: dict[str, str] | None = None,
        within: Sequence[str] = (),
        host: str = "127.0.0.1",
    ) -> None:
        self.host, self._elsewhere = host, bool(within)
        self.port = free_port()
        # Each test server is a cluster of its own, whatever the suite's environment says.
        here = {"RAY_ADDRESS", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"}
        clean = {k: v for k, v in os.environ.items() if "HAPROXY" not in k and k not in here}
        self.environment = {**clean, **(environment or {})}
        self._started = time.time()
        self.process = subprocess.Popen(
            [*within, sys.executable, "-m", "serve_app", "--port", str(self.port), *arguments],
            cwd=ROOT, env=self.environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        printed = []
        for line in self.process.stdout:
            printed.append(line)
            if line.startswith("Ctrl-C stops"):
                # Ray goes on telling of what dies; unread, that would fill the pipe and stop it.
                threading.Thread(target=self.process.stdout.read, daemon=True).start()
                return
        raise RuntimeError("the server did not start:\n" + "".join(printed))

    @property
    def address(self) -> str:
        """Its URL."""
        return f"http://{self.host}:{self.port}"

    def processes(self, name: str) -> list[psutil.Process]:
        """Its processes whose title starts so, the oldest first.

        On nodes elsewhere, which it has not started itself: those of any server started since.
        """
        found = []
        own: set[int] = set()
        if self.process.poll() is None:
            tree = psutil.Process(self.process.pid).children(recursive=True)
            own = {process.pid for process in tree}
        for process in psutil.process_iter(["cmdline", "create_time", "ppid"]):
            words = process.info["cmdline"] or [""]
            if process.info["create_time"] < self._started:
                continue
            # Of a manager that was killed, its proxy has no parent.
            if not (self._elsewhere or process.pid in own or process.info["ppid"] == 1):
                continue
            if words[0].startswith(name) or Path(words[0].split(" ")[0]).name == name:
                found.append(process)
        return sorted(found, key=lambda process: process.info["create_time"])

    def memory_mib(self, name: str) -> float:
        """Unique memory of those processes together."""
        return sum(p.memory_full_info().uss for p in self.processes(name)) / 2**20

    def ready(self) -> bool:
        """Whether /readyz says so."""
        try:
            return httpx.get(f"{self.address}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def update(
        self,
        *arguments: str,
        environment: dict[str, str] | None = None,
        once_checked: Callable[[], object] = lambda: None,
    ) -> subprocess.CompletedProcess[str]:
        """`python -m serve_app --update` for this server.

        environment: of the command; the server's own if None.
        once_checked: called when the command has found its arguments in order.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", "serve_app", "--update", "--port", str(self.port), *arguments],
            cwd=ROOT, env=self.environment if environment is None else environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline()
        once_checked()
        rest, errors = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, first + rest, errors)

    def stop(self) -> float:
        """SIGTERM, as a supervisor sends it; returns how long it took, in seconds."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=90)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        return time.monotonic() - started


def serves(pid: int) -> bool:
    """Whether a replica takes requests: its port is open once its model has run.

    By /proc, since psutil doesn't look into other network namespaces.
    """
    try:
        own = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return False  # it ended, or a file of its was closed meanwhile
    sockets = [line.split() for line in lines]
    return any(
        words[3] == LISTENING
        and int(words[1].rpartition(":")[2], 16) in INGRESS_PORTS
        and f"socket:[{words[9]}]" in own
        for words in sockets
    )
