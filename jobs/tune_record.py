"""A second copy of Tune's record of a search, for when a kill cuts the first one off.

Tune copies its record into the search's folder once a second, over the one before. What is found
broken there on resuming is taken from the copy. The copy may be a second behind: a trial that had
ended since is asked again, finds all its epochs on record, and ends at once.
"""

from __future__ import annotations

import json
import pickletools
import time
from pathlib import Path
from typing import Any

from ray import tune

from cifar_model.files import new_folder, write_whole

COPY = "tune-copy"  # beside Tune's own folder


class KeepCopy(tune.Callback):
    """Copies the record, when it has changed and all of it can be read."""

    def __init__(self, experiment: Path) -> None:
        self.experiment, self.copy = experiment, experiment.with_name(COPY)
        self.looked = self.copied = 0.0

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """At most once a second."""
        if time.time() < self.looked + 1:
            return
        self.looked = time.time()
        files = record(self.experiment)
        newest = max((path.stat().st_mtime for path in files), default=0.0)
        if newest == self.copied:
            return
        contents = {path.name: path.read_bytes() for path in files}
        if any(path.name == "tuner.pkl" for path in files) and all(
            readable(name, content) for name, content in contents.items()
        ):
            with new_folder(self.copy, replace=True) as aside:
                for name, content in contents.items():
                    (aside / name).write_bytes(content)
            self.copied = newest


def mend(experiment: Path) -> bool:
    """Replace a broken record by the copy; False if there is no record to go on from."""
    files = record(experiment)
    broken = [path for path in files if not readable(path.name, path.read_bytes())]
    copies = record(experiment.with_name(COPY))
    if broken and copies:
        for path in files:
            path.unlink()
        for path in copies:
            write_whole(experiment / path.name, path.read_bytes())
        which = ", ".join(path.name for path in broken)
        print(f"The search's record was cut off ({which}); going on from the copy", flush=True)
    elif broken:
        return False
    names = {path.name for path in record(experiment)}
    # A search may have been killed before Tune first wrote down what its trials are doing.
    return "tuner.pkl" in names and any(name.startswith("experiment_state") for name in names)


def record(experiment: Path) -> list[Path]:
    """The files of Tune's record: what lies in its folder itself; trials have folders of theirs."""
    kinds = (".json", ".pkl")
    return sorted(p for p in experiment.glob("[!.]*") if p.suffix in kinds and p.is_file())


def readable(name: str, content: bytes) -> bool:
    """Whether a file of the record is there to its end; nothing in it is run."""
    try:
        if name.endswith(".json"):
            json.loads(content)
        else:
            for _ in pickletools.genops(content):
                pass
    except (ValueError, IndexError):
        return False
    return True
