"""Short seeded runs: their losses are golden, and resuming changes nothing."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from cifar_model import training
from cifar_model.dataset import limit_train, split_for_training
from cifar_model.errors import TrainingDiverged
from cifar_model.history import read_history
from cifar_model.lit_classifier import LitClassifier
from cifar_model.recipe import load_recipe
from cifar_model.run_plan import RunPlan
from cifar_model.sources import load_source
from cifar_model.training import Placement, build_trainer, fit, network_from_checkpoint

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "losses.json").read_text())


def digits(image_size):
    dataset = load_source("digits", image_size=image_size)
    return split_for_training(limit_train(dataset, 240, seed=0))


@pytest.fixture(scope="module")
def data():
    return digits(16)


def plan(recipe="digits", **changes):
    recipe = replace(load_recipe(recipe), **{"epochs": 2, "batch_size": 64, **changes})
    return RunPlan(recipe, num_classes=10, seed=1, precision="32-true")


def run(folder, data, plan, *, checkpoint=None):
    """Fit in this process; returns the history and the trained module."""
    keep = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    trainer = build_trainer(plan, folder, Placement(callbacks=[keep]))
    module = fit(plan, data, trainer, threads=1, checkpoint=checkpoint)
    return read_history(folder / "history.csv"), module


@pytest.mark.parametrize("name", ["digits", "seed", "muon"])
def test_losses_of_a_short_seeded_run_are_golden(tmp_path, name):
    """A change that should not change what is computed must not change these.

    They were measured in float32 on one thread; other hardware rounds otherwise, hence the room.
    """
    chosen = plan("digits", optimizer="muon", peak_lr=0.05) if name == "muon" else plan(name)
    history, _ = run(tmp_path, digits(32), chosen)
    found = [[r.train_loss, r.val_loss] for r in history]
    np.testing.assert_allclose(found, GOLDEN[name], rtol=0.02)


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
def test_a_compiled_network_learns_alike_and_leaves_an_ordinary_checkpoint(tmp_path, data):
    chosen = replace(plan(epochs=1), compile=True)
    eager, _ = run(tmp_path / "eager", data, plan(epochs=1))
    history, module = run(tmp_path, data, chosen)
    assert module.network._compiled_call_impl is not None
    assert history[0].train_loss == pytest.approx(eager[0].train_loss, rel=0.01)
    network = network_from_checkpoint(chosen, tmp_path / "epoch=0.ckpt")
    assert list(network.state_dict()) == list(module.network.state_dict())


@pytest.mark.parametrize(
    ("loaders", "chosen"),
    [
        (0, plan(dropout=0.1, flip="alternating", cutout_probability=0.5)),
        (2, plan("seed", cutout_probability=0.5)),  # albumentations in processes of their own
    ],
)
@pytest.mark.usefixtures("unheard_children")
def test_a_resumed_run_ends_as_an_undisturbed_one(tmp_path, data, monkeypatch, loaders, chosen):
    whole, module = run(tmp_path / "whole", data, chosen)
    monkeypatch.setattr(training, "loader_processes", lambda *_: loaders)
    _, resumed = run(
        tmp_path / "parts", data, chosen, checkpoint=tmp_path / "whole" / "epoch=0.ckpt"
    )
    [again] = read_history(tmp_path / "parts" / "history.csv")
    assert again.epoch == 1
    assert (again.train_loss, again.val_loss) == (whole[1].train_loss, whole[1].val_loss)
    for name, value in module.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_the_log_keeps_only_epochs_before_the_one_resumed_from(tmp_path, data):
    chosen = plan()
    run(tmp_path, data, chosen)
    run(tmp_path, data, chosen, checkpoint=tmp_path / "epoch=0.ckpt")
    assert [r.epoch for r in read_history(tmp_path / "history.csv")] == [0, 1]


def test_a_run_whose_record_is_damaged_goes_on_and_says_so(tmp_path, data, capsys):
    chosen = plan(epochs=3)
    whole, _ = run(tmp_path, data, chosen)
    history = tmp_path / "history.csv"
    content = history.read_bytes()
    history.write_bytes(content[: content.index(b"\n1,") + 10])
    kept, _ = run(tmp_path, data, chosen, checkpoint=tmp_path / "epoch=1.ckpt")
    assert "has no record of epoch 1 (line 3 is '1," in capsys.readouterr().out
    assert [r.epoch for r in kept] == [0, 2] and kept[0] == whole[0]


def test_the_learning_rate_is_a_one_cycle_over_all_steps(tmp_path, data):
    chosen = plan(epochs=4, warmup_fraction=0.5, peak_lr=0.1, anneal="linear")
    history, _ = run(tmp_path, data, chosen)
    rates = [r.lr for r in history]
    assert rates[0] < rates[1] <= 0.1 and rates[1] > rates[2] > rates[3]
    assert rates[3] == pytest.approx(0.1 / chosen.recipe.start_divisor / 1e4, rel=0.01)


@pytest.mark.parametrize(("tuned", "gpu"), [(True, False), (True, True), (False, False)])
def test_on_a_cpu_a_step_finds_the_memory_of_the_last(tmp_path, data, monkeypatch, tuned, gpu):
    kept = []
    monkeypatch.setattr(training, "keep_freed_memory", lambda: kept.append(True))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    one = replace(plan(epochs=1), tuned_memory=tuned)
    trainer = build_trainer(one, tmp_path, Placement())
    monkeypatch.setattr(trainer, "fit", lambda *_, **__: None)
    fit(one, data, trainer, threads=1)
    assert bool(kept) == (tuned and not gpu)


def test_a_step_leaves_nothing_behind(tmp_path, data):
    """Seeding all devices at each step would: PyTorch keeps that for when they are first used."""
    before = len(torch.cuda._queued_calls)
    _, module = run(tmp_path, data, plan("seed", epochs=2))
    assert module.trainer.global_step > 5
    assert len(torch.cuda._queued_calls) - before < 5


def test_metrics_are_those_of_a_recount(tmp_path, data):
    history, module = run(tmp_path, data, plan())
    from cifar_model.normalisation import normalise

    module.eval()
    with torch.no_grad():
        logits = module(normalise(torch.from_numpy(data.val.images), data.normalisation))
    labels = torch.from_numpy(data.val.labels)
    assert history[-1].val_accuracy == pytest.approx(
        (logits.argmax(1) == labels).float().mean().item(), abs=1e-5
    )
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    assert history[-1].val_loss == pytest.approx(loss, rel=1e-4)


def test_a_loss_that_is_no_number_ends_the_run_with_its_reason_and_without_a_checkpoint(
    tmp_path, data
):
    with pytest.raises(TrainingDiverged, match=r"training diverged.*epoch 0.*lower the learning"):
        run(tmp_path, data, plan(weight_decay=1e30))
    assert not list(tmp_path.glob("*.ckpt"))


def test_a_last_step_that_blows_up_shows_in_the_validation_loss(tmp_path, data):
    """The training loss of a step is that before it."""
    few = replace(data, train=data.train.take(np.arange(40)))
    with pytest.raises(TrainingDiverged):
        run(tmp_path, few, plan(weight_decay=1e30, batch_size=64, epochs=1))


def test_checkpoints_hold_plain_values_and_tensors_only(tmp_path, data):
    chosen = plan(epochs=1)
    _, module = run(tmp_path, data, chosen)
    network = network_from_checkpoint(chosen, tmp_path / "epoch=0.ckpt")
    for name, value in module.network.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name


def test_a_booby_trapped_checkpoint_is_not_run(tmp_path, data):
    class Trap:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'sprung')!r}, 'w')",)

    torch.save({"state_dict": Trap()}, tmp_path / "trap.ckpt")
    with pytest.raises(Exception, match=r"weights_only|Unsupported"):
        network_from_checkpoint(plan(), tmp_path / "trap.ckpt")
    with pytest.raises(Exception, match=r"weights_only|Unsupported"):
        run(tmp_path, data, plan(), checkpoint=tmp_path / "trap.ckpt")
    assert not (tmp_path / "sprung").exists()


def test_workers_with_unequal_shares_weigh_every_image_alike(data):
    """The mean of two workers' scaled losses is the loss over the whole global batch."""
    from cifar_model.batch_plan import BatchPlan
    from cifar_model.batches import BatchDataset
    from cifar_model.normalisation import normalise
    from cifar_model.resnet9 import ResNet9

    torch.manual_seed(0)
    module = LitClassifier(ResNet9(10).eval(), plan().recipe, seed=0, steps=1)

    def loss(rank, world_size):
        batch = BatchDataset(data.train, BatchPlan(33, 33, rank, world_size, 0))[0, 0]
        images = normalise(batch.images, data.normalisation)
        return module.training_step(batch._replace(images=images), 0).item()

    assert (loss(0, 2) + loss(1, 2)) / 2 == pytest.approx(loss(0, 1), rel=1e-5)
