"""Faults while training: the run goes on, or is resumed by the same command, with the same result.

Two workers, each with one thread, compute the same numbers each time, so a run that was disturbed
must end with the very weights of one that was not.
"""

import os
import signal
import time

import pytest

from cifar_model.checkpoints import CHECKPOINT, local_checkpoints
from tests.faults.processes import holder_of, kill
from tests.faults.training.fault_commands import (
    EPOCHS,
    SAME,
    TWO_WORKERS,
    difference,
    epochs_in,
    fill,
    report,
    train,
)
from tests.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def test_a_worker_killed_in_mid_epoch_costs_at_most_that_epoch(start, nodes, tmp_path, reference):
    command = start(*train(tmp_path))
    run = tmp_path / "run"
    command.wait_for(lambda: (run / "checkpoint_epoch0001" / CHECKPOINT).exists())
    kill(nodes.workers()[-1])
    killed, done = time.monotonic(), epochs_in(run)
    command.wait_for(lambda: len(command.starts()) == 2)
    seconds = time.monotonic() - killed
    printed = command.end()
    repeated = done - command.starts()[1]
    found = difference(run, reference)
    report("worker killed", epochs_repeated=repeated, difference=found,
           seconds_to_recover=f"{seconds:.1f}")  # fmt: skip
    assert "starting again from the last checkpoint (1 of 3)" in printed
    assert command.starts()[0] == 0 and command.starts()[1] >= 2
    assert repeated <= 1 and found == SAME


def test_a_worker_killed_while_it_writes_a_checkpoint_leaves_no_part_of_it(
    start, nodes, tmp_path, reference
):
    command = start(*train(tmp_path))
    run = tmp_path / "run"

    command.wait_for((run / "checkpoint_epoch0000" / CHECKPOINT).exists)
    pids = nodes.workers()

    def writer():
        for part in run.glob("checkpoint_epoch*/.checkpoint.ckpt.*"):
            if part.parent.name != "checkpoint_epoch0000" and (pid := holder_of(part, pids)):
                os.kill(pid, signal.SIGSTOP)  # else it may be done before it is killed
                if part.exists():
                    return part, pid
                os.kill(pid, signal.SIGCONT)
        return None

    part, pid = command.wait_for(writer, poll=0)
    kill(pid)
    killed = time.monotonic()
    time.sleep(0.5)
    assert part.exists() and not (part.parent / CHECKPOINT).exists(), "it had been written"
    written = part.stat().st_size / (run / "checkpoint_epoch0000" / CHECKPOINT).stat().st_size
    done = epochs_in(run)
    command.wait_for(lambda: len(command.starts()) == 2)
    seconds = time.monotonic() - killed
    command.end()
    [_, again] = command.starts()
    found = difference(run, reference)
    report("worker killed while writing a checkpoint", part_written=f"{written:.0%}",
           epochs_repeated=done - again, difference=found,
           seconds_to_recover=f"{seconds:.1f}")  # fmt: skip
    assert part.parent.name == f"checkpoint_epoch{again:04d}", "it was taken for a checkpoint"
    assert done - again <= 1 and found == SAME
    assert not list(run.rglob(".checkpoint.ckpt.*"))


def test_a_dealer_killed_while_an_epoch_is_read_costs_at_most_that_epoch(
    start, nodes, tmp_path, picture_parquet
):
    what = ["--data", f"parquet:{picture_parquet}", "--recipe", "digits", "--image-size", 16]
    what += ["--precision", "32-true", "--epochs", EPOCHS, *TWO_WORKERS, "--storage", tmp_path]
    start("jobs.train", *what, "--name", "undisturbed").end()
    command = start("jobs.train", *what, "--name", "run", "--stream")
    run = tmp_path / "run"
    command.wait_for((run / "checkpoint_epoch0001" / CHECKPOINT).exists)
    command.wait_for(lambda: nodes.titled("ray::ReadOrderedReads"), poll=0.005)
    for pid in nodes.titled("ray::Dealer"):
        kill(pid)
    done = epochs_in(run)
    command.end()
    again = command.starts()[1:]
    found = difference(run, tmp_path / "undisturbed")
    repeated = max([done - epoch for epoch in again], default=0)
    report("dealer killed", started_again=len(again), epochs_repeated=repeated, difference=found)
    assert len(again) <= 1 and repeated <= 1 and found == SAME
    assert all(epoch >= 2 for epoch in again)


def test_a_killed_driver_is_resumed_by_the_same_command(
    start, nodes, killed, killed_run, reference
):
    _, done = killed
    command = start(*train(killed_run, "--resume"))
    command.end()
    [began] = command.starts()
    found = difference(killed_run / "run", reference)
    report("driver killed", epochs_repeated=done - began, difference=found,
           seconds_to_recover=seconds_to_train(command))  # fmt: skip
    assert began >= 1 and done - began <= 1 and found == SAME


def cut(file):
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size * 2 // 3)


def make_a_hole(file):
    """Overwrite a page; the size and both ends stay as they were."""
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        opened.write(bytes(4096))


def test_a_broken_checkpoint_is_passed_over_for_the_one_before(
    start, nodes, killed, killed_run, reference
):
    run, (_, done) = killed_run / "run", killed
    newest, before = local_checkpoints(run)
    make_a_hole(run / newest / CHECKPOINT)
    # Ray Train's own record, cut off as by a kill while it was being written.
    (run / "checkpoint_manager_snapshot.json").write_text('{"ray_version": "2.60.0", "chec')
    command = start(*train(killed_run, "--resume"))
    printed = command.end()
    assert f"{newest} is broken and not used" in printed and f"Going back to {before}" in printed
    [began] = command.starts()
    found = difference(run, reference)
    report("newest checkpoint broken", epochs_repeated=done - began, difference=found,
           seconds_to_recover=seconds_to_train(command))  # fmt: skip
    assert before == f"checkpoint_epoch{began - 1:04d}"
    assert found == SAME


def test_a_run_without_a_whole_checkpoint_is_refused_at_once(start, killed_run):
    for name in local_checkpoints(killed_run / "run"):
        cut(killed_run / "run" / name / CHECKPOINT)
    before = (killed_run / "run" / "history.csv").read_text()
    printed = start(*train(killed_run, "--resume")).end(code=2)
    assert "none of the run's checkpoints is whole" in printed.splitlines()[-1]
    assert (killed_run / "run" / "history.csv").read_text() == before


def test_a_full_disk_ends_the_run_in_one_line_and_leaves_the_last_checkpoint(
    start, nodes, full_soon, reference
):
    command = start(*train(full_soon))
    run = full_soon / "run"
    first = run / "checkpoint_epoch0000" / CHECKPOINT
    command.wait_for(first.exists)
    # The next checkpoint can be begun, and not ended.
    ballast = fill(full_soon, leave=first.stat().st_size // 4)
    full = time.monotonic()
    printed = command.end(code=2)
    seconds = time.monotonic() - full
    last = printed.splitlines()[-1]
    assert "No space left on device" in last and "go on with --resume" in last
    assert local_checkpoints(run)
    assert not list(run.rglob(".checkpoint.ckpt.*"))
    done = max(command.epochs()) + 1
    ballast.unlink()
    until(lambda: not nodes.workers(), 60)
    again = start(*train(full_soon, "--resume"))
    again.end()
    [began] = again.starts()
    found = difference(run, reference)
    report("disk full", seconds_to_give_up=f"{seconds:.1f}", attempts=len(command.starts()),
           epochs_repeated=done - began, difference=found,
           seconds_to_recover=seconds_to_train(again))  # fmt: skip
    assert began >= 1 and done - began <= 1 and found == SAME


def seconds_to_train(command):
    """Seconds from a command's start to its first step, as it printed them."""
    return command.text().split("First step done ")[1].split(" s ")[0]
