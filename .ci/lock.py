"""Writes requirements.lock: the pins of constraints.txt, each with the hash of its file.

make lock

The hashes are those of the files that pip chooses on Linux, x86_64, Python 3.11. Versions are
decided in constraints.txt alone; tests/test_lock.py holds that both agree.
"""

from __future__ import annotations

import json
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
    """Ask pip what it would install, and write that down."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = "--dry-run --no-deps --ignore-installed --quiet"
        files = ["--report", str(report), "--requirement", str(PINS)]
        command = [sys.executable, "-m", "pip", "install", *options.split(), *files]
        subprocess.run(command, check=True)
        chosen = json.loads(report.read_text(encoding="utf-8"))["install"]
    LOCK.write_text(lock(chosen), encoding="utf-8")
    print(f"{LOCK.name}: {len(chosen)} packages")


def lock(chosen: list[dict[str, dict[str, dict[str, dict[str, str]]]]]) -> str:
    """The lock file's text for the `install` part of pip's report."""
    lines = []
    for entry in chosen:
        metadata = entry["metadata"]
        digest = entry["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{metadata['name']}=={metadata['version']} --hash=sha256:{digest}\n")
    return HEAD + "".join(sorted(lines, key=str.lower))


if __name__ == "__main__":
    main()
