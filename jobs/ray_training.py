"""A training run on Ray Train: the driver's half and the worker's half.

The driver only sends the plan and the data. Each worker runs the same `cifar_model.training.fit` as
a run without Ray.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifar_model.dataset import TrainingData
from cifar_model.errors import InputError, TrainingDiverged
from cifar_model.files import clear_asides, write_whole
from cifar_model.kept_memory import kept_memory
from cifar_model.run_plan import RunPlan, Sweep
from jobs import storage
from jobs.connection import Cluster, check_address, is_connected, is_local, ray_cluster
from jobs.interruption import handlers_kept
from jobs.run_folder import DIVERGED
from jobs.stages import Stages
from jobs.streaming import StreamedPictures

if TYPE_CHECKING:
    from cifar_model.training import Placement

MAX_FAILURES = 3  # failures of workers that a run survives, each repeating at most an epoch
RESIZE_CHECK_S = 15.0  # how often an elastic run looks whether lost workers are back
SNAPSHOT = "checkpoint_manager_snapshot.json"  # Ray Train's record of a run's checkpoints


@dataclass(frozen=True)
class WorkerLayout:
    """How many workers, and what each gets; None leaves it to what the cluster has."""

    workers: int
    cpus_each: int | None = None
    gpus_each: float | None = None
    min_workers: int | None = None  # elastic: go on with as few
    workers_given: bool = True  # else `workers` is the most, and a GPU each decides

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
        if self.gpus_each is not None and self.gpus_each < 0:
            raise InputError(f"--gpus-per-worker {self.gpus_each:g}: expected 0 or more")
        if self.gpus_each is not None and 0 < self.gpus_each < 1 < self.workers:
            raise InputError(
                f"--gpus-per-worker {self.gpus_each:g} with --workers {self.workers}: workers of a "
                "run can't share a GPU (NCCL); expected --workers 1, or whole GPUs"
            )
        if self.workers:
            check_address()

    def on(self, nodes: Sequence[Mapping[str, float]]) -> WorkerLayout:
        """With as many workers as there are GPUs, where fewer and nobody asked for a number."""
        gpus = int(_total(nodes, "GPU"))
        if self.workers_given or self.gpus_each is not None or not gpus:
            return self
        return replace(self, workers=max(self.min_workers or 1, min(self.workers, gpus)))

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


@dataclass(frozen=True)
class WorkerTask:
    """What each worker is told."""

    plan: RunPlan
    data: Any  # ObjectRef of a TrainingData: one copy a node, shared by its workers
    run_folder: Path
    threads: int
    command_started: float
    sweep: Sweep | None = None  # of a range test, instead of a run
    uri: str | None = None  # of the run, where the run folder is each node's copy of it
    streams: bool = False  # images are read by Ray Data's tasks, beside the workers

    @property
    def reserved_cpus(self) -> float:
        """Cores that Ray sets aside for the worker; half of them where reads need some too."""
        return self.threads / 2 if self.streams else self.threads


def fit_on_ray(
    plan: RunPlan,
    data: TrainingData,
    folder: Path,
    layout: WorkerLayout,
    stages: Stages,
    uri: str | None = None,
) -> None:
    """Train on Ray workers, from the run's last whole checkpoint on if it has one.

    folder: STORAGE/NAME of the run, reachable from every worker.
    uri: of the run on object storage; then `folder` is this machine's copy.
    TrainingDiverged if the loss became no number.
    """
    with started_ray(layout, stages) as (layout, cpus, gpus):
        import ray

        from jobs.failure_notes import FailureNotes

        streams = isinstance(data.train, StreamedPictures)
        task = WorkerTask(
            plan, ray.put(data), folder, cpus, stages.started, uri=uri, streams=streams
        )
        fit_workers(task, layout, gpus, [FailureNotes()])


@contextmanager
def connected(stages: Stages) -> Iterator[Cluster]:
    """Ray, saying what is being waited for; inside another such block, the same Ray."""
    if not is_connected():
        stages.say("Starting Ray" if is_local() else "Connecting to the Ray cluster")
    with ray_cluster() as cluster:
        if cluster.dashboard:
            stages.say(f"Ray is up, its dashboard at {cluster.dashboard}")
        yield cluster


@contextmanager
def started_ray(layout: WorkerLayout, stages: Stages) -> Iterator[tuple[WorkerLayout, int, float]]:
    """Ray, with the layout on its nodes, and what each worker gets: cores and GPUs."""
    with connected(stages) as cluster:
        layout = layout.on(cluster.nodes)
        cpus, gpus = layout.resources(cluster.nodes)
        if shortage := layout.shortage(cluster.nodes, cpus, gpus):
            stages.say(f"{shortage}. Waiting for the cluster to grow")
        stages.say(
            f"Starting {layout.workers} worker(s), {cpus} core(s) and {gpus:g} GPU(s) each; "
            "first they import PyTorch and Lightning"
        )
        yield layout, cpus, gpus


def fit_workers(
    task: WorkerTask, layout: WorkerLayout, gpus: float, callbacks: Sequence[Any] = ()
) -> None:
    """Run a training task on Ray workers.

    callbacks: Ray Train's, on the driver's side.
    TrainingDiverged if the loss became no number; InputError, one line, if workers failed for good.
    """
    diverged = task.run_folder / DIVERGED
    # Ray Train would refuse to start on a record that is half-written, or at odds with the files.
    for name in (DIVERGED, SNAPSHOT):
        (task.run_folder / name).unlink(missing_ok=True)
        if task.uri:
            storage.delete(storage.join(task.uri, name))
    with readable_failure(
        "training", "its last checkpoint is kept: when the cause is gone, go on with --resume"
    ):
        torch_trainer(train_worker, task, layout, gpus, callbacks).fit()
    if task.uri:
        storage.pull(task.uri, task.run_folder)
    if diverged.exists():
        raise TrainingDiverged(diverged.read_text(encoding="utf-8"))


@contextmanager
def readable_failure(what: str, advice: str) -> Iterator[None]:
    """Around `fit()`: one InputError, a line, if its workers failed for good."""
    from ray.train import TrainingFailedError

    try:
        with handlers_kept():  # Ray Train leaves one that is deaf once its run has ended
            yield
    except TrainingFailedError as error:
        raise InputError(f"{what} failed: {failure_reason(error)}; {advice}") from error


def failure_reason(error: BaseException) -> str:
    """The root of a failed `fit`, in a line: of the first worker that failed, if workers did."""
    failures = getattr(error, "worker_failures", {})
    root = next((failures[rank] for rank in sorted(failures)), error)
    root = getattr(root, "controller_failure", root)
    while cause := (getattr(root, "cause", None) or root.__cause__):
        root = cause
    # What a worker raised arrives as its traceback, the exception on the last line.
    last = ([line for line in str(root).splitlines() if line.strip()] or [""])[-1].strip()
    return last[:300] if ": " in last else f"{type(root).__name__}: {last[:300]}"


def torch_trainer(
    worker: Callable[[dict[str, WorkerTask]], Any],
    task: WorkerTask,
    layout: WorkerLayout,
    gpus: float,
    callbacks: Sequence[Any] = (),
) -> Any:
    """The TorchTrainer that runs a task on workers, its files in the task's run folder."""
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    return TorchTrainer(
        worker,
        train_loop_config={"task": task},
        scaling_config=ScalingConfig(
            num_workers=layout.count,
            elastic_resize_monitor_interval_s=RESIZE_CHECK_S,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": task.reserved_cpus, **({"GPU": gpus} if gpus else {})},
        ),
        run_config=RunConfig(
            name=task.run_folder.name,
            storage_path=storage.parent(task.uri) if task.uri else str(task.run_folder.parent),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            logging_config=LoggingConfig(log_level="WARNING"),
            callbacks=list(callbacks),
            worker_runtime_env=(
                {"env_vars": kept_memory()} if task.plan.tuned_memory and not gpus else None
            ),
        ),
    )


def train_worker(config: dict[str, WorkerTask]) -> None:
    """One Ray Train worker: train, and report metrics and a checkpoint after each epoch."""
    import ray.train
    from ray.train.lightning import prepare_trainer

    from cifar_model.training import build_trainer, fit
    from jobs.ray_checkpoints import ReportEachEpoch, checkpoint_to_go_on_from

    task = config["task"]
    callbacks: list[Any] = [ReportEachEpoch(task.run_folder, task.uri)]
    first = ray.train.get_context().get_world_rank() == 0
    if task.uri:
        from jobs.epoch_push import PushEachEpoch

        if first:
            storage.pull(task.uri, task.run_folder)
        # Before the checkpoint is reported: the record of an epoch is never behind it.
        callbacks.insert(0, PushEachEpoch(task.run_folder, task.uri))
    elif first:
        clear_asides(task.run_folder)
    placement = ray_placement(task, callbacks)
    trainer = prepare_trainer(build_trainer(task.plan, task.run_folder, placement))
    data = ray.get(task.data)
    try:
        with tempfile.TemporaryDirectory(prefix="checkpoint-") as aside:
            latest = checkpoint_to_go_on_from(task.run_folder, task.uri, Path(aside))
            fit(task.plan, data, trainer, threads=task.threads, checkpoint=latest)
    except TrainingDiverged as error:
        # All workers end in peace: Ray Train would start failed ones again, to diverge again.
        if trainer.is_global_zero:
            write_whole(task.run_folder / DIVERGED, str(error).encode())
            if task.uri:
                storage.push(task.run_folder, task.uri)


def ray_placement(task: WorkerTask, callbacks: Sequence[Any] = ()) -> Placement:
    """How a Ray Train worker takes part in a run."""
    import ray
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    from cifar_model.training import Placement, quiet_lightning

    if not ray.get_runtime_context().get_accelerator_ids().get("GPU"):
        # To a worker that has none Ray shows all GPUs of the node.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    quiet_lightning()
    # Some of Ray Train's loggers are out of reach of its own log level.
    logging.disable(logging.INFO)
    return Placement(
        strategy=RayDDPStrategy(gradient_as_bucket_view=True),
        plugins=[RayLightningEnvironment()],
        callbacks=list(callbacks),
        devices="auto",
        command_started=task.command_started,
    )
