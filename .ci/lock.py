"""Writes requirements.lock: the pins of constraints.txt, each with the hash of its file.

make lock

The hashes are those of the files that pip chooses on Linux, x86_64, Python 3.11. Versions are
decided in constraints.txt alone; tests/test_lock.py holds that both agree. Pins that are locked
already keep their hash: delete the lock to ask for all of them anew.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINS, LOCK = ROOT / "constraints.txt", ROOT / "requirements.lock"
HEAD = """\
# The pins of constraints.txt with the hashes of their files on Linux, x86_64, Python 3.11.
# Made by: make lock. Use: pip install --require-hashes --no-deps --requirement requirements.lock
"""


def main() -> None:
    """Ask pip which file it would install for each new pin, and write that down."""
    pins = {plain(line) for line in read(PINS)}
    locked = {plain(line): line for line in read(LOCK)} if LOCK.exists() else {}
    kept = {pin: line for pin, line in locked.items() if pin in pins}
    new = ask_pip(sorted(pins - set(kept)))
    lines = sorted([*kept.values(), *new], key=str.lower)
    LOCK.write_text(HEAD + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{LOCK.name}: {len(lines)} packages, {len(new)} of them new")


def read(path: Path) -> list[str]:
    """The lines that pin something."""
    text = path.read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def plain(line: str) -> str:
    """NAME==VERSION of a line, the name as PyPI compares it."""
    name, _, version = line.split(" ")[0].partition("==")
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"


def ask_pip(pins: list[str]) -> list[str]:
    """A lock line for each pin."""
    if not pins:
        return []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = "--dry-run --no-deps --ignore-installed --quiet"
        command = [sys.executable, "-m", "pip", "install", *options.split(), *pins]
        subprocess.run([*command, "--report", str(report)], check=True)
        chosen = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [
        f"{entry['metadata']['name']}=={entry['metadata']['version']} "
        f"--hash=sha256:{entry['download_info']['archive_info']['hashes']['sha256']}"
        for entry in chosen
    ]


if __name__ == "__main__":
    main()
