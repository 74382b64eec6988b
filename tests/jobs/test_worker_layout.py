"""What each worker gets of a cluster's nodes, and what is said where they don't fit."""

import os

import pytest

from cifar_model.errors import InputError
from cifar_model.kept_memory import KEPT_MEMORY
from cifar_model.recipe import load_recipe
from cifar_model.run_plan import RunPlan
from jobs.ray_training import WorkerTask, torch_trainer, train_worker
from jobs.worker_layout import WorkerLayout

HEAD, CPU_NODE, GPU_NODE = {}, {"CPU": 4.0}, {"CPU": 8.0, "GPU": 1.0}


@pytest.mark.parametrize(
    ("workers", "nodes", "share"),
    [
        (2, [{"CPU": 8.0}], (4, 0.0)),
        (3, [{"CPU": 8.0}], (2, 0.0)),
        (2, [CPU_NODE] * 3, (4, 0.0)),
        (4, [CPU_NODE] * 3, (2, 0.0)),
        (4, [HEAD, CPU_NODE, {"CPU": 1.0}], (1, 0.0)),
        (2, [HEAD, GPU_NODE, GPU_NODE], (8, 1.0)),
        (2, [CPU_NODE, GPU_NODE, GPU_NODE], (8, 1.0)),
        (4, [{"CPU": 8.0, "GPU": 4.0}], (2, 1.0)),
    ],
)
def test_a_worker_has_the_most_cores_with_which_all_fit_node_by_node(workers, nodes, share):
    layout = WorkerLayout(workers)
    assert layout.resources(nodes) == share
    assert layout.shortage(nodes, *share) is None


def test_shares_of_a_gpu_add_up():
    assert WorkerLayout(10, gpus_each=0.1).resources([{"CPU": 10.0, "GPU": 1.0}]) == (1, 0.1)


def test_workers_of_a_run_cannot_share_a_gpu():
    WorkerLayout(1, gpus_each=0.5).check()
    WorkerLayout(2, gpus_each=0.5, workers_given=False).check()  # one, then
    for layout in (WorkerLayout(2, gpus_each=0.5), WorkerLayout(2, None, 0.5, 2, False)):
        with pytest.raises(InputError, match="can't share a GPU"):
            layout.check()


def test_gpus_are_dealt_out_to_workers_alone():
    with pytest.raises(InputError, match="--workers 0: this process has the GPUs"):
        WorkerLayout(0, gpus_each=0).check()


@pytest.mark.parametrize(
    ("gpus", "tuned", "kept"), [(0.0, True, KEPT_MEMORY), (1.0, True, None), (0.0, False, None)]
)
def test_workers_on_cpus_keep_what_a_step_frees(tmp_path, monkeypatch, gpus, tuned, kept):
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_"))]:
        monkeypatch.delenv(name)
    plan = RunPlan(load_recipe("fast"), 10, tuned_memory=tuned)
    task = WorkerTask(plan, None, tmp_path / "run", 1, 0.0)
    trainer = torch_trainer(train_worker, task, WorkerLayout(2), gpus)
    assert trainer.run_config.worker_runtime_env.get("env_vars") == kept


def test_what_a_machine_has_no_room_for_is_refused_and_a_cluster_may_grow(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(InputError, match=r"1 GPU\(s\), room for 1; use --workers 1"):
        WorkerLayout(2).resources([GPU_NODE])
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    layout = WorkerLayout(2, cpus_each=6)
    assert layout.resources([CPU_NODE] * 3) == (6, 0.0)
    assert "3 node(s) have 12 core(s) and 0 GPU(s) now, room for 0" in layout.shortage(
        [CPU_NODE] * 3, 6, 0.0
    )


@pytest.mark.parametrize(
    ("layout", "nodes", "workers"),
    [
        (WorkerLayout(2, workers_given=False), [GPU_NODE], 1),
        (WorkerLayout(2, workers_given=False), [GPU_NODE] * 3, 2),
        (WorkerLayout(2, workers_given=False), [CPU_NODE], 2),
        (WorkerLayout(2, gpus_each=0, workers_given=False), [GPU_NODE], 2),
        (WorkerLayout(2, gpus_each=1, workers_given=False), [GPU_NODE], 1),
        (WorkerLayout(2, gpus_each=2, workers_given=False), [GPU_NODE] * 2, 1),
        (WorkerLayout(2, gpus_each=0.5, workers_given=False), [GPU_NODE], 1),
        (WorkerLayout(2, gpus_each=0.5, workers_given=False), [HEAD], 1),
        (WorkerLayout(2), [GPU_NODE], 2),
    ],
)
def test_unless_said_there_are_no_more_workers_than_gpus(layout, nodes, workers):
    assert layout.limited_to_gpus(nodes).workers == workers


@pytest.mark.parametrize("gpus", [-1, float("nan"), float("inf")])
def test_a_share_of_gpus_that_is_no_share_is_refused(gpus):
    with pytest.raises(InputError, match="--gpus-per-worker"):
        WorkerLayout(1, gpus_each=gpus).check()
