"""Run a command of this project as a job on a Ray cluster, over HTTP.

    python -m jobs.submit train --data cifar10 --recipe fast --workers 8 --storage s3://bucket/runs
    python -m jobs.submit list | status JOB | logs JOB | stop JOB

RAY_ADDRESS names the job server (http://HOST:8265). What follows `train`, `tune`, `lr_find`,
`evaluate` or `serve` is that command's own. Local files and folders that --model, --models,
--recipe and --lr name travel with the job; data and storage must be where the cluster reaches them.
The exit code is the job's own. Ctrl-C asks whether to stop the job or to leave it running.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cifar_model.errors import INTERRUPTED, InputError, one_line_errors
from cifar_model.given_path import given_path
from cifar_model.recipe import RECIPES
from jobs import job_server
from jobs.package import INPUTS, MAX_BYTES, PACKAGES, PINS, package
from jobs.pins import pins
from jobs.storage import is_uri

COMMANDS = {what: f"jobs.{what}" for what in PACKAGES} | {"serve": "serve_app"}
QUESTIONS = ("status", "logs", "stop")
TRAVELS = ("--model", "--models", "--recipe", "--lr")  # options whose local files go along
# Where the results go: anywhere else they would lie in a folder that goes with the job.
RESULTS = {"train": "--storage", "tune": "--storage", "lr_find": "--out", "evaluate": "--out"}
TO_URIS = ("train",)  # what sends its results to object storage; others write to folders
ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "RAY_TRAIN_ENABLE_STATE_TRACKING": "1"}
# What a server is told by its environment; see serve_app/access.py and slow_bodies.py. No more than
# that: a client's own key, RAY_CIFAR_API_KEY, is not for others to see.
SECRET = "RAY_CIFAR_API_KEYS"
SERVING = (
    f"{SECRET}_FILE",
    "RAY_CIFAR_API_KEY_DIGESTS",
    "RAY_CIFAR_RATE",
    "RAY_CIFAR_BURST",
    "RAY_CIFAR_CLIENT_HEADER",
    "RAY_CIFAR_BODY_SECONDS",
)
DATA = "CIFAR10_DIR"
INSTALL_SECONDS = 1800  # for what is some gigabytes; Ray itself would give up after 600


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options, rest = parse(arguments)
    with one_line_errors("jobs.submit"):
        if options.what in COMMANDS:
            check(options.what, rest)
        elif options.what in QUESTIONS and options.job is None:
            raise InputError(f"{options.what}: which job? python -m jobs.submit list names them")
        elif rest:
            raise InputError(f"{options.what}: unknown {' '.join(rest)}")
        client = job_server.connect(options.address)
        with job_server.readable_errors(client.get_address(), options.job):
            code = answer(client, options, rest)
    sys.exit(code)


def parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Our own options, which come before the command, and all that follows it."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.submit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--address", help="of the job server (default: RAY_ADDRESS)")
    add("--detach", action="store_true", help="don't follow the job; print its id and end")
    add(
        "--install",
        action="store_true",
        help=f"have the nodes install the versions of {PINS} (for images that lack them)",
    )
    add(
        "--limit-mib",
        type=int,
        default=MAX_BYTES // 2**20,
        help=f"refuse a larger package (default: {MAX_BYTES // 2**20})",
    )
    add("what", choices=[*COMMANDS, *QUESTIONS, "list"], help="to run, or to ask")
    add("rest", nargs=argparse.REMAINDER, help="options of that command, or the job's id")
    parser.set_defaults(job=None)
    options = parser.parse_args(arguments)
    return options, options.rest if options.what in COMMANDS else _job_of(options)


def answer(client: Any, options: argparse.Namespace, rest: list[str]) -> int:
    """Do what was asked; returns the exit code."""
    if options.what == "list":
        for job in sorted(client.list_jobs(), key=lambda job: job.start_time or 0):
            if job.submission_id:
                print(_line(job))
        return 0
    if options.what == "status":
        print(_line(client.get_job_info(options.job)))
        return 0
    if options.what == "logs":
        return follow(client, options.job)
    if options.what == "stop":
        return 0 if job_server.stop(client, options.job) else job_server.FAILED
    job = submit(client, options, rest)
    if options.detach:
        print(job)
        return 0
    with job_server.readable_errors(client.get_address(), job):
        return follow(client, job)


def check(what: str, rest: Sequence[str]) -> None:
    """InputError for a command whose result would be lost, or that can't work on a cluster."""
    if any(word in ("-h", "--help") for word in rest):
        raise InputError(f"for the options of {what}: python -m {COMMANDS[what]} --help")
    if what == "serve":
        serving_settings()
    option = RESULTS.get(what)
    place = _option(rest, option) if option else None
    # Without --out a report goes beside its model.
    lost = what != "evaluate" if place is None else not _outlives(place, what)
    if option and lost:
        uris = " or a URI (s3://bucket/runs, gs://bucket/runs)" if what in TO_URIS else ""
        raise InputError(
            f"{option} {place or 'is missing'}: expected a place that outlives the job, "
            f"an absolute path that all nodes share{uris}"
        )
    for name in ("--model", "--models") if what == "serve" else ():
        folder = _option(rest, name)
        if folder and is_uri(folder):
            raise InputError(
                f"{name} {folder}: models are served from folders; copy it here, and it travels "
                "with the job, or to a path that all nodes share"
            )
    model = _option(rest, "--model")
    if what == "evaluate" and model and _is_here(model) and place is None:
        raise InputError(
            "--model is a local folder that would travel with the job and go with it; say with "
            "--out where on shared storage the report goes"
        )


def submit(client: Any, options: argparse.Namespace, rest: Sequence[str]) -> str:
    """Pack, show the package, send it, and start the job; returns its id."""
    words, inputs = _take_along(rest)
    built_in = options.what in ("serve", "evaluate") and _option(rest, "--model") is None
    limit = options.limit_mib * 2**20
    with package(options.what, inputs, built_in_models=built_in, limit=limit) as packed:
        print(packed.summary(), flush=True)
        entrypoint = shlex.join(["python", "-m", COMMANDS[options.what], *words])
        environment = runtime_env(packed.folder, install=options.install)
        environment["env_vars"] |= (
            serving_settings() if options.what == "serve" else data_settings()
        )
        metadata = {"command": options.what, "name": _option(rest, "--name") or ""}
        job = job_server.submit(client, entrypoint, environment, metadata)
    print(f"Submitted {job}: {entrypoint}", flush=True)
    return job


def runtime_env(folder: Path, *, install: bool) -> dict[str, Any]:
    """Ray's runtime environment for a package; with `install`, what our commands need, pinned."""
    environment: dict[str, Any] = {
        "working_dir": str(folder),
        "env_vars": {**ENVIRONMENT, **job_server.STOP_ENVIRONMENT},
    }
    if install:
        environment["pip"] = {"packages": pins(), "pip_check": False}
        environment["config"] = {"setup_timeout_seconds": INSTALL_SECONDS}
    return environment


def serving_settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the environment here says of a server; InputError if keys are among it."""
    if SECRET in environment:
        raise InputError(
            f"{SECRET}: Ray's dashboard shows a job's environment to everyone; put the keys into a "
            f"file on the head node and name it in {SECRET}_FILE"
        )
    return {name: environment[name] for name in SERVING if name in environment}


def data_settings() -> dict[str, str]:
    """Where CIFAR-10 lies on all nodes, if the environment here names an absolute path."""
    named = os.environ.get(DATA, "")
    return {DATA: named} if Path(named).is_absolute() else {}


def follow(client: Any, job: str) -> int:
    """Follow a job; Ctrl-C stops it or leaves it running, as the user says."""
    try:
        return job_server.follow(client, job)
    except KeyboardInterrupt:
        if _wants_stop(job):
            job_server.stop(client, job)
            return job_server.wait(client, job)
        print(f"Job {job} goes on: python -m jobs.submit logs {job}", flush=True)
        return INTERRUPTED


def _wants_stop(job: str) -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        word = input(f"\nStop {job} (its last checkpoint is kept), or leave it running? [s/L] ")
    except (KeyboardInterrupt, EOFError):
        return False
    return word.strip().lower().startswith("s")


def _take_along(rest: Sequence[str]) -> tuple[list[str], list[Path]]:
    """The command's words with local inputs renamed to where they travel, and those inputs."""
    words, inputs = list(rest), []
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name not in TRAVELS or (not equals and place + 1 >= len(words)):
            continue
        given = value if equals else words[place + 1]
        if not _is_here(given) or (name == "--recipe" and given in RECIPES):
            continue
        path = given_path(given).resolve()
        inputs.append(path)
        there = f"{INPUTS}/{path.name}"
        if equals:
            words[place] = f"{name}={there}"
        else:
            words[place + 1] = there
    if len({path.name for path in inputs}) < len(inputs):
        raise InputError("two inputs have the same name; rename one, since they travel together")
    return words, inputs


def _option(words: Sequence[str], name: str) -> str | None:
    for place, word in enumerate(words):
        if word == name and place + 1 < len(words):
            return words[place + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def _is_here(given: str) -> bool:
    """Whether something on this machine is named, which travels."""
    return not is_uri(given) and given_path(given).exists()


def _outlives(place: str, what: str) -> bool:
    return what in TO_URIS if is_uri(place) else Path(place).is_absolute()


def _job_of(options: argparse.Namespace) -> list[str]:
    """The job's id moved into `options.job`; what is left over."""
    named = options.what in QUESTIONS and bool(options.rest)
    options.job = options.rest[0] if named else None
    return options.rest[1:] if named else options.rest


def _line(job: Any) -> str:
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime((job.start_time or 0) / 1000))
    return f"{job.submission_id}  {job.status.value:9}  {began}  {job.entrypoint}"


if __name__ == "__main__":
    main()
