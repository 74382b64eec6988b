"""Functions run as Ray Data read tasks: in parallel, some ahead, their results in order.

Memory is bounded by Ray Data: it starts no more reads while what has been read and not yet used
fills its part of the object store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import ray.data
from numpy.typing import NDArray
from ray.data.block import Block, BlockAccessor, BlockMetadata
from ray.data.datasource import Datasource, ReadTask

READ_CPUS = 0.5  # cores that Ray sets aside for a read
BLOCK_BYTES = 2**24  # what a read hands over in one go, about
AHEAD_BYTES = 2**29  # read and not yet used, in one stream, about

Columns = Mapping[str, NDArray[Any]]
Read = Callable[[], Iterable[Columns]]


class OrderedReads(Datasource):
    """Reads as a source of Ray Data, a task each."""

    def __init__(self, reads: Sequence[Read]) -> None:
        super().__init__()
        self.reads = reads

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown: reads say nothing of their size."""
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """The tasks, in order."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(partial(_blocks, read), unknown) for read in self.reads]


def _blocks(read: Read) -> Iterator[Block]:
    for columns in read():
        yield BlockAccessor.batch_to_block(dict(columns))


def in_order(reads: Sequence[Read]) -> Iterator[Columns]:
    """What the reads give, read after read, in pieces of about BLOCK_BYTES."""
    # It would say that it starts, that it ends and that there is no progress bar, every epoch.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    source = ray.data.read_datasource(
        OrderedReads(reads), num_cpus=READ_CPUS, override_num_blocks=len(reads)
    )
    source.context.target_max_block_size = BLOCK_BYTES
    source.context.enable_progress_bars = False
    options = source.context.execution_options
    options.preserve_order = True
    options.resource_limits = options.resource_limits.copy(object_store_memory=AHEAD_BYTES)
    yield from source.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=2)


def recut(
    pieces: Iterator[Columns], shares: Sequence[NDArray[np.int64]]
) -> Iterator[NDArray[np.uint8]]:
    """The images of each share (a copy), from pieces cut at other places."""
    image, index = np.empty(0, np.uint8), np.empty(0, np.int64)
    for share in shares:
        parts, read = [], 0
        while read < len(share):
            if not len(index):
                piece = next(pieces)
                image, index = piece["image"], piece["index"]
            count = min(len(index), len(share) - read)
            assert (index[:count] == share[read : read + count]).all()
            parts.append(image[:count])
            image, index, read = image[count:], index[count:], read + count
        yield np.concatenate(parts)
    assert next(pieces, None) is None
