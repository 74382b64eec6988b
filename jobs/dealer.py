"""The pictures of parquet files, dealt out to the workers and steps that need them.

Parquet is read a row group at a time, and an epoch's order scatters a row group over all steps. So
each row group is read once and its pictures, still encoded, are dealt into hands: each worker has
several, one after another through its epoch. Hands lie in Ray's object store, which spills to disk;
they hold what the epoch reads, once.

With N bytes in all there are about sqrt(N / PIECE_BYTES) tasks that deal, and as many hands: both
then take sqrt(N * PIECE_BYTES) bytes of memory, 450 MB for 100 GB, and no piece that passes from
one to the other is smaller than Ray handles well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
from numpy.typing import NDArray

from cifar_model.batch_plan import BatchPlan
from cifar_model.listing import Chunk, Listing, picture_decoder, read_encoded
from jobs.ordered_reads import READ_CPUS, Columns

PIECE_BYTES = 2**21
IMAGES_AT_ONCE = 64  # that a hand decodes before it passes them on

Piece = dict[int, bytes]  # index in the listing -> encoded picture


class Hand(NamedTuple):
    """Pictures of some steps of a worker, in their order."""

    indices: NDArray[np.int64]
    pieces: list[Any]  # ObjectRef of a Piece each


class Deal(NamedTuple):
    """What a dealing task reads of a chunk, and which hand each picture goes to."""

    chunk: Chunk
    rows: NDArray[np.int64]
    indices: NDArray[np.int64]
    hands: NDArray[np.int64]


class Dealer:
    """An actor that deals an epoch once, for all workers. It reads nothing itself."""

    def __init__(self) -> None:
        self.dealt: tuple[tuple[BatchPlan, int], list[list[Hand]]] | None = None

    def hands(self, listing: Listing, plan: BatchPlan, epoch: int) -> list[Hand]:
        """The hands of a worker in an epoch, in order."""
        key = replace(plan, rank=0), epoch if plan.shuffle_seed is not None else 0
        if self.dealt is None or self.dealt[0] != key:
            self.dealt = None  # the last epoch's hands may go before new ones come
            self.dealt = key, deal(listing, *key)
        return self.dealt[1][plan.rank]


class DealerHandle(NamedTuple):
    """A running Dealer, which lives as long as this, and what it deals from."""

    actor: Any
    listing: Any  # ObjectRef of a Listing: told the actor each time, for it may have started anew


def start_dealer(listing: Listing) -> DealerHandle:
    """A new Dealer; where it is killed, Ray starts it again."""
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Dealer)
    return DealerHandle(actor.remote(), ray.put(listing))


def deal(listing: Listing, plan: BatchPlan, epoch: int) -> list[list[Hand]]:
    """Start dealing an epoch's pictures; the hands of each worker."""
    files = {chunk.path for chunk in listing.chunks}
    pieces = ceil(sqrt(sum(Path(path).stat().st_size for path in files) / PIECE_BYTES))
    each = min(plan.steps, ceil(pieces / plan.world_size))
    indices = [
        np.concatenate([mine.share(epoch, int(step)) for step in steps])
        for mine in (replace(plan, rank=rank) for rank in range(plan.world_size))
        for steps in np.array_split(np.arange(plan.steps), each)
    ]
    hand_N = np.empty(len(listing), np.int64)
    for hand, part in enumerate(indices):
        hand_N[part] = hand
    deals = [
        Deal(listing.chunks[listing.chunk_N[part[0]]], listing.row_N[part], part, hand_N[part])
        for part in listing.by_chunk()
    ]
    task = ray.remote(num_cpus=READ_CPUS, num_returns=len(indices), scheduling_strategy="SPREAD")(
        deal_pieces
    )
    size = ceil(len(deals) / pieces)
    dealt = [
        task.remote(deals[first : first + size], len(indices))
        for first in range(0, len(deals), size)
    ]
    hands = [
        Hand(part, [refs[hand] if len(indices) > 1 else refs for refs in dealt])
        for hand, part in enumerate(indices)
    ]
    return [hands[first : first + each] for first in range(0, len(hands), each)]


def deal_pieces(deals: list[Deal], hands: int) -> list[Piece] | Piece:
    """Read some chunks and sort their pictures by hand. Runs in a Ray task."""
    pieces: list[Piece] = [{} for _ in range(hands)]
    for chunk, rows, indices, hand_of in deals:
        encoded = read_encoded(chunk, rows)
        for index, hand, data in zip(indices.tolist(), hand_of, encoded, strict=True):
            pieces[hand][index] = data
    return pieces if hands > 1 else pieces[0]


def read_hand(hand: Hand, image_size: int) -> Iterator[Columns]:
    """Decode a worker's hand. Runs in a task of Ray Data."""
    decode = picture_decoder(image_size)
    encoded: Piece = {}
    for piece in ray.get(hand.pieces):
        encoded.update(piece)
    for first in range(0, len(hand.indices), IMAGES_AT_ONCE):
        indices = hand.indices[first : first + IMAGES_AT_ONCE]
        images = np.stack([decode(encoded.pop(int(index))) for index in indices])
        yield {"image": images, "index": indices}
