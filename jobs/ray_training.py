"""A training run on Ray Train: the driver's half and the worker's half.

The driver imports no PyTorch: it only sends the plan and the data. Each worker runs the same
`cifar_model.training.fit` as a run without Ray.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cifar_model.dataset import TrainingData
from cifar_model.errors import InputError
from cifar_model.run_plan import RunPlan
from jobs.connection import is_local, ray_cluster
from jobs.stages import Stages

CHECKPOINT = "checkpoint.ckpt"  # RayTrainReportCallback.CHECKPOINT_NAME
MAX_FAILURES = 3  # failures of workers that a run survives, each repeating at most an epoch
KEPT_CHECKPOINTS = 2


@dataclass(frozen=True)
class WorkerLayout:
    """How many workers, and what each gets; None leaves it to what the cluster has."""

    workers: int
    cpus_each: int | None = None
    gpus_each: float | None = None

    def resources(self, cluster: dict[str, float]) -> tuple[int, float]:
        """Cores and GPUs of each worker on a cluster with these resources in all."""
        cpus = self.cpus_each or max(1, int(cluster.get("CPU", 1)) // self.workers)
        gpus = self.gpus_each
        if gpus is None:
            gpus = 1.0 if cluster.get("GPU") else 0.0
        for kind, each in (("CPU", cpus), ("GPU", gpus)):
            wanted, there = self.workers * each, cluster.get(kind, 0)
            # A cluster may grow until they fit; a Ray started for this command never does.
            if wanted > there and is_local():
                raise InputError(
                    f"--workers {self.workers} with {each:g} {kind}(s) each need {wanted:g}, this "
                    f"machine has {there:g}; use fewer, or set RAY_ADDRESS to a larger cluster"
                )
        return cpus, gpus


@dataclass(frozen=True)
class WorkerTask:
    """What each worker is told."""

    plan: RunPlan
    data: Any  # ObjectRef of a TrainingData: one decoded copy a node, shared by its workers
    run_folder: Path
    threads: int
    command_started: float


def fit_on_ray(
    plan: RunPlan, data: TrainingData, folder: Path, layout: WorkerLayout, stages: Stages
) -> Path:
    """Train on Ray workers, from the run's last checkpoint on if it has one.

    folder: STORAGE/NAME of the run, reachable from every worker. Returns its last checkpoint.
    """
    stages.say("Starting Ray" if is_local() else "Connecting to the Ray cluster")
    with ray_cluster() as cluster:
        import ray
        from ray.train import (
            CheckpointConfig,
            FailureConfig,
            LoggingConfig,
            RunConfig,
            ScalingConfig,
        )
        from ray.train.torch import TorchTrainer

        if cluster.dashboard:
            stages.say(f"Ray is up, its dashboard at {cluster.dashboard}")
        cpus, gpus = layout.resources(cluster.resources)
        task = WorkerTask(plan, ray.put(data), folder, cpus, stages.started)
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={"task": task},
            scaling_config=ScalingConfig(
                num_workers=layout.workers,
                use_gpu=gpus > 0,
                resources_per_worker={"CPU": cpus, **({"GPU": gpus} if gpus else {})},
            ),
            run_config=RunConfig(
                name=folder.name,
                storage_path=str(folder.parent),
                failure_config=FailureConfig(max_failures=MAX_FAILURES),
                checkpoint_config=CheckpointConfig(num_to_keep=KEPT_CHECKPOINTS),
                logging_config=LoggingConfig(log_level="WARNING"),
            ),
        )
        stages.say(
            f"Starting {layout.workers} worker(s), {cpus} core(s) and {gpus:g} GPU(s) each; "
            "first they import PyTorch and Lightning"
        )
        result = trainer.fit()
        assert result.checkpoint is not None
        return Path(result.checkpoint.path) / CHECKPOINT


def train_worker(config: dict[str, WorkerTask]) -> None:
    """One Ray Train worker: train, and report metrics and a checkpoint after each epoch."""
    import ray.train
    from ray.train.lightning import (
        RayDDPStrategy,
        RayLightningEnvironment,
        RayTrainReportCallback,
        prepare_trainer,
    )

    from cifar_model.training import Placement, build_trainer, fit, quiet_lightning

    quiet_lightning()
    # Some of Ray Train's loggers are out of reach of its own log level.
    logging.disable(logging.INFO)
    task = config["task"]
    placement = Placement(
        strategy=RayDDPStrategy(gradient_as_bucket_view=True),
        plugins=[RayLightningEnvironment()],
        callbacks=[RayTrainReportCallback()],
        devices="auto",
        command_started=task.command_started,
    )
    trainer = prepare_trainer(build_trainer(task.plan, task.run_folder, placement))
    data = ray.get(task.data)
    latest = ray.train.get_checkpoint()
    if latest is None:
        fit(task.plan, data, trainer, threads=task.threads)
        return
    with latest.as_directory() as folder:
        fit(task.plan, data, trainer, threads=task.threads, checkpoint=Path(folder) / CHECKPOINT)
