"""Runs on object storage: --storage as a URI (s3://bucket/runs, gs://bucket/runs).

A run there has the files that a local run has. Each process works on a local copy of its small
files and sends them up; checkpoints go there by way of Ray Train, from the workers. Credentials
and endpoints come from the environment, as pyarrow reads it (AWS_*, GOOGLE_APPLICATION_CREDENTIALS;
also as s3://bucket/runs?endpoint_override=HOST:PORT&scheme=http).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from cifar_model.checkpoints import CHECKPOINT, KEPT, newest_first
from cifar_model.errors import InputError
from cifar_model.model_config import CONFIG

STAYS_THERE = ("checkpoint_*", "*.tfevents.*")  # what a working copy has no need of


def is_uri(place: str) -> bool:
    """Whether a place is a URI instead of a path."""
    return "://" in place


def join(uri: str, *names: str) -> str:
    """A URI below another; what follows a question mark stays at the end."""
    path, mark, query = uri.partition("?")
    return "/".join([path.rstrip("/"), *names]) + mark + query


def parent(uri: str) -> str:
    """The URI that one is below."""
    path, mark, query = uri.partition("?")
    return path.rstrip("/").rpartition("/")[0] + mark + query


def working_copy(uri: str) -> Path:
    """Where a process keeps its copy of the run at this URI; the same path on every node."""
    digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
    name = uri.partition("?")[0].rstrip("/").rpartition("/")[2]
    return Path(tempfile.gettempdir()) / f"ray-cifar-runs-{os.getuid()}" / digest / name


def pull(uri: str, folder: Path) -> None:
    """Make `folder` a fresh copy of the small files at a URI; empty if there is nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with _readable(uri):
        from pyarrow import fs

        where, root = fs.FileSystem.from_uri(uri)
        for info in where.get_file_info(
            fs.FileSelector(root, recursive=True, allow_not_found=True)
        ):
            relative = Path(info.path).relative_to(root)
            if not info.is_file or _stays(relative):
                continue
            target = folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            with where.open_input_stream(info.path) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)


def push(folder: Path, uri: str) -> None:
    """Send all files of a folder up, replacing those of the same name."""
    with _readable(uri):
        from pyarrow import fs

        where, root = fs.FileSystem.from_uri(uri)
        files = [path for path in folder.rglob("*") if path.is_file()]
        # A model folder is there once its config is, so that goes up last.
        for path in sorted(files, key=lambda path: (path.name == CONFIG, path)):
            target = f"{root}/{path.relative_to(folder).as_posix()}"
            if not isinstance(where, fs.S3FileSystem | fs.GcsFileSystem):
                where.create_dir(target.rpartition("/")[0], recursive=True)
            with path.open("rb") as source, where.open_output_stream(target) as copy:
                shutil.copyfileobj(source, copy)


def delete(uri: str) -> None:
    """Take one file away, if it is there."""
    with _readable(uri):
        from pyarrow import fs

        where, path = fs.FileSystem.from_uri(uri)
        if where.get_file_info(path).is_file:
            where.delete_file(path)


def checkpoints(uri: str) -> list[str]:
    """Names of the folders of a run that hold a checkpoint, newest first."""
    with _readable(uri):
        from pyarrow import fs

        where, root = fs.FileSystem.from_uri(uri)
        names = [Path(info.path).name for info in where.get_file_info(fs.FileSelector(root))]
        files = {f"{root}/{name}/{CHECKPOINT}": name for name in newest_first(names)}
        found = where.get_file_info(list(files))
        return [files[info.path] for info in found if info.is_file]


def fetch_checkpoint(uri: str, name: str, folder: Path) -> Path:
    """A checkpoint of a run, copied below `folder`."""
    target = folder / name / CHECKPOINT
    target.parent.mkdir(parents=True, exist_ok=True)
    with _readable(uri):
        from pyarrow import fs

        where, path = fs.FileSystem.from_uri(join(uri, name, CHECKPOINT))
        with where.open_input_stream(path) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    return target


def prune(uri: str) -> None:
    """Remove the checkpoints of a run that are older than the KEPT newest."""
    names = checkpoints(uri)
    with _readable(uri):
        from pyarrow import fs

        where, root = fs.FileSystem.from_uri(uri)
        for name in names[KEPT:]:
            where.delete_dir(f"{root}/{name}")


def _stays(relative: Path) -> bool:
    return any(fnmatch(part, pattern) for part in relative.parts for pattern in STAYS_THERE)


@contextmanager
def _readable(uri: str) -> Iterator[None]:
    """pyarrow's errors as one `InputError` that says what to look at."""
    from pyarrow import ArrowInvalid

    try:
        yield
    except (OSError, ArrowInvalid) as error:
        raise InputError(
            f"{uri.partition('?')[0]} can't be used: {str(error).splitlines()[0]}; "
            "check the bucket, and AWS_* or GOOGLE_APPLICATION_CREDENTIALS"
        ) from error
