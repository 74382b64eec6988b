"""Every image is seen exactly once an epoch, by any number of workers."""

import numpy as np
import pytest

from cifar_model.batch_plan import BatchPlan
from cifar_model.batches import BatchDataset, EpochSteps
from cifar_model.dataset import LabelledImages
from cifar_model.errors import InputError


def plans(count, batch_size, world_size):
    return [BatchPlan(count, batch_size, rank, world_size, 5) for rank in range(world_size)]


def dealt(plan, epoch):
    """What one worker gets, step by step."""
    return [
        plan.global_batch(epoch, step)[plan.rank :: plan.world_size] for step in range(plan.steps)
    ]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize(("count", "batch_size"), [(100, 32), (97, 32), (64, 32), (7, 32), (90, 8)])
def test_each_image_once_and_equally_many_steps(count, batch_size, world_size):
    shares = [dealt(plan, epoch=2) for plan in plans(count, batch_size, world_size)]
    assert len({len(share) for share in shares}) == 1
    assert sorted(np.concatenate([np.concatenate(share) for share in shares])) == [*range(count)]
    for step in zip(*shares, strict=True):
        sizes = [len(part) for part in step]
        assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1


def test_global_batches_are_the_same_for_any_number_of_workers():
    for step in range(3):
        one = plans(97, 32, 1)[0].global_batch(1, step)
        four = plans(97, 32, 4)[0].global_batch(1, step)
        assert (one == four).all()


def test_each_epoch_has_an_order_of_its_own_and_the_same_again():
    plan = BatchPlan(50, 10, shuffle_seed=1)
    assert (plan.order(0) != plan.order(1)).any()
    assert (plan.order(1) == plan.order(1)).all()
    assert (BatchPlan(50, 10).order(3) == np.arange(50)).all()


@pytest.mark.parametrize(("count", "batch_size"), [(3, 32), (100, 7)])
def test_fewer_images_than_workers_are_refused(count, batch_size):
    with pytest.raises(InputError, match="4 workers"):
        BatchPlan(count, batch_size, world_size=4)


def test_a_batch_holds_its_images_labels_and_indices():
    images = np.arange(20, dtype=np.uint8).repeat(16 * 16 * 3).reshape(20, 16, 16, 3)
    data = LabelledImages(images, np.arange(20, dtype=np.int64) % 3)
    batch = BatchDataset(data, BatchPlan(20, 8, 1, 2, shuffle_seed=0))[0, 1]
    assert batch.images.shape == (4, 16, 16, 3)
    assert batch.images[:, 0, 0, 0].tolist() == batch.indices_B.tolist()
    assert (batch.labels_B == batch.indices_B % 3).all()
    assert (batch.global_indices_G[1::2] == batch.indices_B).all()


def test_steps_carry_the_epoch_that_was_set():
    steps = EpochSteps(2)
    assert list(steps) == [(0, 0), (0, 1)]
    steps.set_epoch(4)
    assert list(steps) == [(4, 0), (4, 1)]
