"""Data larger than memory: how fast an epoch is read, beside the decoder alone, and in what memory.

Nothing is trained: the driver asks for the epoch's batches as a lone worker would, and drops them.
Memory is counted of this command and of the Ray it starts, and not of a cluster at RAY_ADDRESS.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import numpy as np

from cifar_model.batch_plan import BatchPlan
from cifar_model.cores import usable_cores
from cifar_model.listing import Listing, picture_decoder, read_pictures
from cifar_model.sources import list_source
from jobs.connection import connected
from jobs.load.process_tree import cpu_seconds, memory_mib
from jobs.stages import Stages
from jobs.streaming import measure, streamed

DECODED_ALONE_SECONDS = 3.0
LOOK_SECONDS = 0.5  # between two looks at the memory

MIB = 2**20


@dataclass
class Peak:
    """The most memory, in MiB, that this process and those it started took together so far."""

    mib: float


@contextmanager
def watched_memory() -> Iterator[Peak]:
    """The peak of what is done inside."""
    peak, over = Peak(memory_now()), Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            peak.mib = max(peak.mib, memory_now())

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def memory_now() -> float:
    """Memory of this process and those it started, in MiB."""
    return memory_mib(cpu_seconds(os.getpid()))


def bench_stream(spec: str, image_size: int, batch_size: int) -> dict[str, float]:
    """Measure, print a table, and return the figures: seconds, images/s and MiB.

    InputError for data that can't be streamed, and for the first picture that can't be decoded.
    """
    stages = Stages(time.time())
    stages.say(f"Listing {spec}")
    began = time.perf_counter()
    listing = list_source(spec, image_size=image_size).train
    listed = time.perf_counter() - began
    plan = BatchPlan(len(listing), batch_size, shuffle_seed=0)
    stages.say("Decoding on one core, without Ray")
    alone = decoded_alone(listing, image_size)
    with connected(stages):
        idle = memory_now()
        stages.say(f"Reading all {len(listing):,} training images for their mean and spread")
        with watched_memory() as measuring:
            began = time.perf_counter()
            measure(listing, image_size)
            measured = time.perf_counter() - began
        with watched_memory() as reading:
            stages.say("Reading an epoch")
            began = time.perf_counter()
            pictures = streamed(listing, image_size)
            pictures.share(plan, 0, 0)
            first = time.perf_counter() - began
            for step in range(1, plan.steps):
                pictures.share(plan, 0, step)
            epoch = time.perf_counter() - began
    pace = len(listing) / epoch
    figures = {
        "images": float(len(listing)),
        "stored_mib": stored_bytes(listing) / MIB,
        "decoded_mib": len(listing) * image_size**2 * 3 / MIB,
        "list_s": listed,
        "decode_one_core_img_s": alone,
        "measure_img_s": len(listing) / measured,
        "first_batch_s": first,
        "epoch_img_s": pace,
        "share_of_decoding": pace / (alone * usable_cores()),
        "idle_mib": idle,
        "measuring_mib": measuring.mib,
        "epoch_mib": reading.mib,
    }
    print(table(figures))
    return figures


def stored_bytes(listing: Listing) -> int:
    """The size of the files that hold these pictures."""
    used = {listing.chunks[chunk].path for chunk in np.unique(listing.chunk_N)}
    return sum(Path(path).stat().st_size for path in used)


def decoded_alone(listing: Listing, image_size: int) -> float:
    """Images a second of one core that reads and decodes chunk after chunk, for some seconds."""
    decode, chunks, done = picture_decoder(image_size), listing.by_chunk(), 0
    began = time.perf_counter()
    while True:
        for indices in chunks:
            chunk = listing.chunks[listing.chunk_N[indices[0]]]
            for _ in read_pictures(chunk, listing.row_N[indices], decode):
                done += 1
                if (passed := time.perf_counter() - began) > DECODED_ALONE_SECONDS:
                    return done / passed


def table(figures: dict[str, float]) -> str:
    """The figures as people read them."""
    of = figures.__getitem__
    return "\n".join(
        [
            "",
            f"images                       {of('images'):12,.0f}",
            f"  stored                     {of('stored_mib'):12,.0f} MiB",
            f"  decoded                    {of('decoded_mib'):12,.0f} MiB",
            f"listed in                    {of('list_s'):12.1f} s",
            f"one core decodes             {of('decode_one_core_img_s'):12,.0f} images/s",
            f"read for mean and spread at  {of('measure_img_s'):12,.0f} images/s",
            f"an epoch's first batch after {of('first_batch_s'):12.1f} s",
            f"an epoch at                  {of('epoch_img_s'):12,.0f} images/s",
            f"  of what the cores decode   {of('share_of_decoding'):12.0%}",
            f"memory, all processes: idle  {of('idle_mib'):12,.0f} MiB",
            f"  at most, for the mean      {of('measuring_mib'):12,.0f} MiB",
            f"  at most, in the epoch      {of('epoch_mib'):12,.0f} MiB",
        ]
    )
