"""Tune's record of a search, whole and of one moment, to go on from after a kill.

Tune copies its record into the search's folder once a second, file by file, over the one before. A
kill can leave a file there cut off, or files of two moments: then a trial is known to the searcher
and not to the rest, and the search waits for it for ever. Here the files are taken together, where
Tune writes them and when it has written them all, into one archive that appears whole.

The archive may be a second behind: a trial that had ended since is asked again, finds all its
epochs on record, and ends at once. The one before it is kept, for when it is damaged.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

from cifar_model.errors import InputError
from cifar_model.files import write_whole

ARCHIVE, BEFORE = "tune.zip", "tune-before.zip"  # beside Tune's own folder
# Tune names its files by when it was started, and goes on from the greatest name.
_STARTED, _LONG_AGO = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d"), "0000-00-00_00-00-00"
TUNER = "tuner.pkl"  # what Tune writes before the first trial, into its own folder alone


class KeepRecord(tune.Callback):
    """Archives the record each time that Tune has written it."""

    def __init__(self) -> None:
        self.kept: set[tuple[str, int, int]] = set()  # names, times and sizes of what is archived

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune writes between two of these calls, at most once a second."""
        if not trials:
            return
        files = record(Path(trials[0].local_experiment_path))
        seen = [(path.name, path.stat()) for path in files]
        found = {(name, stat.st_mtime_ns, stat.st_size) for name, stat in seen}
        if found == self.kept:
            return
        experiment = Path(trials[0].remote_experiment_path)
        contents = {path.name: path.read_bytes() for path in (experiment / TUNER, *files)}
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        archive_path = experiment.with_name(ARCHIVE)
        if archive_path.exists():
            archive_path.replace(experiment.with_name(BEFORE))
        write_whole(archive_path, packed.getbuffer())
        self.kept = found


def put_back(experiment: Path, say: Callable[[str], None] = print) -> bool:
    """Make Tune's record what the archive holds; without one make it none, and return False.

    InputError, with everything as it was, if none of the archives is whole.

    say: told of one that is not.
    """
    contents = _newest_whole(experiment, say)
    for path in record(experiment):
        path.unlink()
    # The last of a kind is the one to go on from, and what Tune writes from now on sorts behind
    # it, also if the clock has gone back since.
    for name in sorted(contents):
        (experiment / _STARTED.sub(_LONG_AGO, name)).write_bytes(contents[name])
    return bool(contents)


def _newest_whole(experiment: Path, say: Callable[[str], None]) -> dict[str, bytes]:
    """Names and contents of the archived files; none if the search was killed before the first."""
    flaws = []
    for path in (experiment.with_name(ARCHIVE), experiment.with_name(BEFORE)):
        if not path.exists():
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                contents = {name: archive.read(name) for name in archive.namelist()}
        except Exception as error:
            # zipfile raises half a dozen kinds for damage to an archive's directory.
            flaws.append(f"{path} is damaged ({error})")
        else:
            for flaw in flaws:
                say(f"{flaw} and not used. Going back to {path.name}")
            return contents
    if flaws:
        raise InputError(f"--resume: {'; '.join(flaws)}; search again under another --name")
    return {}


def record(folder: Path) -> list[Path]:
    """The files of a record: what lies in its folder itself; trials have folders of theirs."""
    kinds = (".json", ".pkl")
    return sorted(p for p in folder.glob("[!.]*") if p.suffix in kinds and p.is_file())
