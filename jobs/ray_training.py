"""A training run on Ray Train: the driver's half and the worker's half.

The driver only sends the plan and the data. Each worker runs the same `cifar_model.training.fit` as
a run without Ray.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifar_model.dataset import TrainingData
from cifar_model.errors import InputError, TrainingDiverged
from cifar_model.files import clear_asides, write_whole
from cifar_model.history import STARTUP
from cifar_model.kept_memory import kept_memory
from cifar_model.run_plan import RunPlan, Sweep
from jobs import storage
from jobs.connection import connected
from jobs.interruption import handlers_kept
from jobs.run_folder import DIVERGED
from jobs.stages import Stages
from jobs.streaming import StreamedPictures
from jobs.worker_layout import WorkerLayout

if TYPE_CHECKING:
    from cifar_model.training import Placement

MAX_FAILURES = 3  # failures of workers that a run survives, each repeating at most an epoch
RESIZE_CHECK_S = 15.0  # how often an elastic run looks whether lost workers are back
SNAPSHOT = "checkpoint_manager_snapshot.json"  # Ray Train's record of a run's checkpoints


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
def started_ray(layout: WorkerLayout, stages: Stages) -> Iterator[tuple[WorkerLayout, int, float]]:
    """Ray, with the layout on its nodes, and what each worker gets: cores and GPUs."""
    with connected(stages) as cluster:
        layout = layout.limited_to_gpus(cluster.nodes)
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
    for name in (STARTUP, DIVERGED, SNAPSHOT):
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
