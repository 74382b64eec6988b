"""How many workers a run has, what each gets, and whether they fit on the nodes that there are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cifar_model.errors import InputError
from jobs.connection import check_address, is_local


@dataclass(frozen=True)
class WorkerLayout:
    """How many workers, and what each gets; None leaves it to what the cluster has."""

    workers: int
    cpus_each: int | None = None
    gpus_each: float | None = None
    min_workers: int | None = None  # elastic: go on with as few
    workers_given: bool = True  # else `workers` is the most, and the GPUs decide

    @property
    def count(self) -> int | tuple[int, int]:
        """The number of workers as Ray Train takes it: fixed, or from and to."""
        return (self.min_workers, self.workers) if self.min_workers else self.workers

    def check(self) -> None:
        """InputError for numbers that can't be, or a RAY_ADDRESS without a Ray for the workers."""
        if self.workers < 0:
            raise InputError(f"--workers {self.workers}: expected 0 or more")
        if self.min_workers is not None and not 1 <= self.min_workers <= self.workers:
            raise InputError(
                f"--min-workers {self.min_workers}: expected 1 to {self.workers}, the --workers"
            )
        if self.cpus_each is not None and self.cpus_each < 1:
            raise InputError(f"--cpus-per-worker {self.cpus_each}: expected 1 or more")
        if self.gpus_each is not None and not 0 <= self.gpus_each < math.inf:
            raise InputError(f"--gpus-per-worker {self.gpus_each:g}: expected 0 or more")
        if self.gpus_each is not None and self.workers == 0:
            raise InputError(
                f"--gpus-per-worker {self.gpus_each:g} with --workers 0: this process has the GPUs "
                "that CUDA_VISIBLE_DEVICES names; set that, or give --workers 1"
            )
        least = self.min_workers or (self.workers if self.workers_given else 1)
        if self._share_a_gpu and least > 1:
            raise InputError(
                f"--gpus-per-worker {self.gpus_each:g} with --workers {self.workers}: workers of a "
                "run can't share a GPU (NCCL); expected --workers 1, or whole GPUs"
            )
        if self.workers:
            check_address()

    def limited_to_gpus(self, nodes: Sequence[Mapping[str, float]]) -> WorkerLayout:
        """With no more workers than the GPUs suffice for, where nobody asked for a number."""
        if self.workers_given:
            return self
        if self._share_a_gpu:
            return replace(self, workers=1)
        gpus = _total(nodes, "GPU")
        each = 1.0 if self.gpus_each is None else self.gpus_each
        if not gpus or not each:
            return self
        return replace(
            self, workers=max(self.min_workers or 1, min(self.workers, int(gpus / each)))
        )

    @property
    def _share_a_gpu(self) -> bool:
        """Whether two workers would be given one GPU, which those of a run can't be."""
        return self.gpus_each is not None and 0 < self.gpus_each < 1

    def resources(self, nodes: Sequence[Mapping[str, float]]) -> tuple[int, float]:
        """Cores and GPUs of each worker on these nodes; all cores that leave room for every worker.

        nodes: resources of each, "CPU", "GPU".
        InputError if they don't fit on a Ray that is started for this command, and so never grows.
        """
        gpus = self.gpus_each
        if gpus is None:
            gpus = 1.0 if _total(nodes, "GPU") else 0.0
        cpus = self.cpus_each
        if cpus is None:
            largest = max((int(node.get("CPU", 0)) for node in nodes), default=0)
            sizes = range(largest, 1, -1)
            cpus = next((size for size in sizes if room(nodes, size, gpus) >= self.workers), 1)
        if is_local() and (shortage := self.shortage(nodes, cpus, gpus)):
            raise InputError(shortage)
        return cpus, gpus

    def shortage(self, nodes: Sequence[Mapping[str, float]], cpus: int, gpus: float) -> str | None:
        """Why the workers can't start on these nodes, in a line; None if they can."""
        fit = room(nodes, cpus, gpus)
        if fit >= (self.min_workers or self.workers):
            return None
        sizes = f"--workers {self.workers} with {cpus} core(s) and {gpus:g} GPU(s) each"
        there = f"{_total(nodes, 'CPU'):g} core(s) and {_total(nodes, 'GPU'):g} GPU(s)"
        if not is_local():
            return f"{sizes}: the cluster's {len(nodes)} node(s) have {there} now, room for {fit}"
        remedy = f"use --workers {fit}" if fit else "give each less"
        return (
            f"{sizes}: this machine has {there}, room for {fit}; {remedy}, or set RAY_ADDRESS to a "
            "larger cluster"
        )


def room(nodes: Sequence[Mapping[str, float]], cpus: int, gpus: float) -> int:
    """How many workers of this size fit, each whole on a node."""
    fit = 0
    for node in nodes:
        by_cpus = int(node.get("CPU", 0)) // cpus
        # Shares such as 0.1 of a GPU are no exact binary fractions.
        by_gpus = int(node.get("GPU", 0) / gpus + 1e-9) if gpus else by_cpus
        fit += min(by_cpus, by_gpus)
    return fit


def _total(nodes: Sequence[Mapping[str, float]], kind: str) -> float:
    return sum(node.get(kind, 0) for node in nodes)
