"""A streamed run is the run in memory, and no worker reads more than its share."""

import os
from pathlib import Path

import numpy as np
import pytest

from cifar_model.batch_plan import BatchPlan
from cifar_model.dataset import split_for_training
from cifar_model.history import read_history
from cifar_model.sources import list_source, load_source
from jobs import dealer, train
from jobs.streaming import StreamedPictures, stream_for_training, streamed
from tests.faults.processes import kill
from tests.waiting import until


@pytest.mark.parametrize(
    ("kind", "workers"), [pytest.param("folder", 2, marks=pytest.mark.long), ("parquet", 1)]
)
def test_a_streamed_run_is_the_run_in_memory(ray_cluster, request, tmp_path, kind, workers):
    data = f"{kind}:{request.getfixturevalue(f'picture_{kind}')}"
    what = f"--data {data} --recipe digits --batch-size 4 --image-size 16 --epochs 2"
    how = f"--precision 32-true --cpus-per-worker 1 --storage {tmp_path} --workers"
    train.main([*f"{what} {how} {workers} --name streamed --stream".split()])
    # One worker has the losses of a run without Ray.
    train.main([*f"{what} {how} {workers if workers > 1 else 0} --name in-memory".split()])
    histories = [read_history(tmp_path / n / "history.csv") for n in ("streamed", "in-memory")]
    for one, other in zip(*histories, strict=True):
        for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-4), name
    configs = [(tmp_path / n / "model" / "config.json") for n in ("streamed", "in-memory")]
    assert len({path.read_text().split('"normalisation"')[1][:300] for path in configs}) == 1


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_the_streamed_split_and_normalisation_are_those_in_memory(ray_cluster, request, kind):
    data = f"{kind}:{request.getfixturevalue(f'picture_{kind}')}"
    in_memory = split_for_training(load_source(data, image_size=16))
    read_as_needed = stream_for_training(list_source(data), 16)
    assert read_as_needed.normalisation == in_memory.normalisation
    plan = BatchPlan(len(in_memory.val), 4)
    for _ in range(2):
        for step in range(plan.steps):
            images = read_as_needed.val.share(plan, 0, step)
            assert (images == in_memory.val.share(plan, 0, step)).all()
    assert (read_as_needed.val.labels == in_memory.val.labels).all()


def test_a_worker_reads_no_file_but_those_of_its_share(ray_cluster, picture_folder):
    listing = list_source(f"folder:{picture_folder}").train
    images = load_source(f"folder:{picture_folder}", image_size=16).train.images
    plan = BatchPlan(len(listing), 6, rank=1, world_size=3, shuffle_seed=5)
    shares = [plan.share(4, step) for step in range(plan.steps)]
    for index in np.setdiff1d(np.arange(len(listing)), np.concatenate(shares)):
        Path(listing.chunks[listing.chunk_N[index]].path).unlink()
    pictures = StreamedPictures(listing, 16)
    for step, share in enumerate(shares):
        assert (pictures.share(plan, 4, step) == images[share]).all()


def test_each_row_is_dealt_once_to_the_worker_whose_share_it_is_in(
    ray_cluster, picture_parquet, monkeypatch
):
    import ray

    monkeypatch.setattr(dealer, "PIECE_BYTES", 2**10)
    data = f"parquet:{picture_parquet}"
    listing, images = list_source(data).train, load_source(data, image_size=16).train.images
    plan = BatchPlan(len(listing), 8, world_size=2, shuffle_seed=3)
    dealt = dealer.deal(listing, plan, 1)
    everything = []
    for rank, hands in enumerate(dealt):
        mine = BatchPlan(len(listing), 8, rank, 2, 3)
        assert len(hands) > 1
        got = [index for hand in hands for piece in ray.get(hand.pieces) for index in piece]
        assert sorted(got) == sorted(np.concatenate([mine.share(1, s) for s in range(plan.steps)]))
        for hand in hands:
            for columns in dealer.read_hand(hand, 16):
                assert (columns["image"] == images[columns["index"]]).all()
        everything += got
    assert sorted(everything) == list(range(len(listing)))


def test_epochs_of_parquet_stream_in_order_on_each_worker(ray_cluster, picture_parquet):
    data = f"parquet:{picture_parquet}"
    images = load_source(data, image_size=16).train.images
    pictures = streamed(list_source(data).train, 16)
    for epoch in (0, 1):
        for rank in (0, 1):
            plan = BatchPlan(len(images), 8, rank, 2, shuffle_seed=0)
            for step in range(plan.steps):
                share = pictures.share(plan, epoch, step)
                assert (share == images[plan.share(epoch, step)]).all()


def test_a_dealer_that_is_killed_deals_the_next_epoch(ray_cluster, picture_parquet):
    import ray

    data = f"parquet:{picture_parquet}"
    images = load_source(data, image_size=16).train.images
    pictures = streamed(list_source(data).train, 16)
    plan = BatchPlan(len(images), 8, shuffle_seed=0)
    for epoch in (0, 1):
        for step in range(plan.steps):
            share = pictures.share(plan, epoch, step)
            assert (share == images[plan.share(epoch, step)]).all()
        pid = ray.get(pictures.dealer.actor.__ray_call__.remote(lambda dealer: os.getpid()))
        kill(pid)
        # Until it is gone it may still deal, and what it has dealt goes with it.
        until(lambda gone=Path(f"/proc/{pid}"): not gone.exists(), 60)


def refusal(capsys, main, arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_what_cannot_be_streamed_is_refused_in_one_line(ray_cluster, picture_folder, capsys):
    storage = picture_folder.parent / "runs"
    base = ["--stream", "--storage", storage, "--recipe", "digits"]
    line = refusal(capsys, train.main, [*base, "--workers", "0"])
    assert "give --workers 1 or more" in line
    assert "can't be streamed" in refusal(capsys, train.main, [*base, "--data", "digits"])
    listing = list_source(f"folder:{picture_folder}").train
    broken = Path(listing.chunks[listing.chunk_N[7]].path)
    broken.write_bytes(b"not a picture")
    line = refusal(capsys, train.main, [*base, "--data", f"folder:{picture_folder}"])
    assert f"{broken} can't be read as a picture" in line
    assert not storage.exists()
