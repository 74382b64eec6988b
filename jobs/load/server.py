"""A server as a process of its own that ends with the block that started it, come what may."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobs.load.process_tree import cpu_seconds, kill_left

STARTS_WITHIN_S = 300.0
ENDS_WITHIN_S = 60.0


@dataclass(frozen=True)
class Server:
    """A server that was started; it may not answer yet."""

    name: str
    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def await_ready(self, path: str) -> None:
        """Return once GET of the path is answered with 200; RuntimeError if that never comes."""
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.25)
        end = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
        raise RuntimeError(f"{self.name} did not start; the end of its log:\n{end}")


@contextmanager
def serving(
    name: str, command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str]
) -> Iterator[Server]:
    """Start a server; at the end of the block it and all its processes are gone.

    folder: for its log.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            # Ctrl-C reaches the benchmark alone, which then ends its servers in order.
            start_new_session=True,
        )
    try:
        yield Server(name, process, f"http://127.0.0.1:{port}", log)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end; kill what is left of its descendants."""
    family = cpu_seconds(process.pid)
    try:
        process.terminate()
        process.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        family |= cpu_seconds(process.pid)
    finally:
        # Also when a second Ctrl-C cut the wait short.
        kill_left(family)
        process.wait()
