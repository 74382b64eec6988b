"""Our applications in a Serve that may hold others: which run, as what, and their end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ray import serve

from cifar_model.errors import InputError
from serve_app.app import PAGE, PAGE_DEPLOYMENT, read_serve_config
from serve_app.deployments import Asked

ANSWERS_WITHIN_S = 30.0
UNPACKED = "working_dir_files"  # the folder in which a node keeps what jobs have taken along


def our_applications() -> list[str]:
    """Names of those of config.yaml that this Ray serves, the page's first."""
    names = [entry["name"] for entry in read_serve_config()["applications"]]
    running = serve.status().applications
    return sorted((name for name in names if name in running), key=lambda name: name != PAGE)


def asked_of_them() -> Asked:
    """What they were started with; InputError if they can't say so."""

    async def ask() -> Asked:
        # With Serve's settings for throughput a handle works in an event loop only.
        page = serve.get_deployment_handle(PAGE_DEPLOYMENT, PAGE)
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            return await page.asked.remote()

    loop = asyncio.new_event_loop()  # never closed: the handle goes on listening in it
    try:
        return loop.run_until_complete(ask())
    except (KeyError, TimeoutError) as error:
        raise InputError(
            "the page of the server that runs does not answer, and so does not say what it was "
            "started with; start the server anew"
        ) from error


def check_kept(kept: Mapping[str, Any], here: Path) -> None:
    """InputError for a folder that travelled with another job: not every node has it, or keeps it.

    kept: arguments of the applications that stay as they were.
    here: where this command runs; as a job, in what itself has taken along.
    """
    for name in ("model", "models"):
        parts = Path(kept.get(name) or "").parts
        if UNPACKED not in parts[:-1]:
            continue
        job = Path(*parts[: parts.index(UNPACKED) + 2])
        if not here.is_relative_to(job):
            raise InputError(
                f"--{name} {kept[name]} went along with another job, and new replicas may not find "
                f"it; name --{name} again"
            )


def take_away() -> None:
    """Delete them, once what they have taken in is answered; other applications stay.

    While the proxy still stands: shutting Serve down at once would cut requests off. The page goes
    first, for it is asked wherever no other application is, and would have none to ask; then the
    others together, each of which stays reachable for a while.
    """
    ours = our_applications()
    if PAGE in ours:
        serve.delete(PAGE)
    others = [name for name in ours if name != PAGE]
    with ThreadPoolExecutor() as pool:
        list(pool.map(serve.delete, others))
