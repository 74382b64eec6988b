"""A broken checkpoint is never taken for a good one."""

import random
from io import BytesIO

import pytest
import torch

from cifar_model.checkpoint_io import WholeFileIO
from cifar_model.checkpoints import (
    CHECKPOINT,
    flaw,
    folder_name,
    local_checkpoints,
    newest_whole_here,
    prune,
)
from cifar_model.errors import InputError


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a checkpoint of 400 kB."""
    path = tmp_path_factory.mktemp("good") / CHECKPOINT
    torch.manual_seed(0)
    WholeFileIO().save_checkpoint({"state_dict": {"w": torch.randn(100, 1000)}, "epoch": 1}, path)
    return path.read_bytes()


def place(run, epoch, content):
    path = run / folder_name(epoch) / CHECKPOINT
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_any_flipped_bit_that_reaches_a_value_is_seen_though_torch_load_takes_it(tmp_path, good):
    rng = random.Random(0)
    for _ in range(50):
        bad = bytearray(good)
        # The values are all of the file but a few hundred bytes at either end.
        bad[rng.randrange(2_000, len(good) - 2_000)] ^= 1 << rng.randrange(8)
        path = tmp_path / CHECKPOINT
        path.write_bytes(bad)
        assert flaw(path) is not None
        torch.load(path, weights_only=True)


def test_any_flipped_bit_of_the_directory_is_seen_or_does_no_harm(tmp_path):
    path = tmp_path / CHECKPOINT
    values = torch.arange(8)
    WholeFileIO().save_checkpoint({"w": values}, path)
    small = path.read_bytes()
    harmless = 0
    for at in range(small.index(b"PK\1\2"), len(small)):
        for bit in range(8):
            bad = bytearray(small)
            bad[at] ^= 1 << bit
            path.write_bytes(bad)
            if flaw(path) is None:
                harmless += 1
                assert torch.equal(torch.load(BytesIO(bad), weights_only=True)["w"], values)
    assert harmless < 200, "fields that nobody reads"


def test_a_checkpoint_of_an_earlier_version_is_whole_without_a_checksum_at_its_end(tmp_path):
    torch.save({"w": torch.arange(8)}, tmp_path / CHECKPOINT)
    assert flaw(tmp_path / CHECKPOINT) is None


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.999])
def test_a_cut_off_file_is_broken(tmp_path, good, part):
    path = tmp_path / CHECKPOINT
    path.write_bytes(good[: int(part * len(good))])
    assert "bytes" in flaw(path)
    path.write_bytes(good)
    assert flaw(path) is None


def test_holes_and_other_kinds_of_file_are_broken(tmp_path, good):
    path = tmp_path / CHECKPOINT
    middle = len(good) // 2
    path.write_bytes(good[:middle] + bytes(4096) + good[middle + 4096 :])
    assert "checksum" in flaw(path)
    path.write_bytes(bytes(len(good)))
    assert flaw(path) is not None
    path.unlink()
    assert flaw(path) is not None


def test_the_newest_whole_one_is_chosen_and_the_broken_one_named(tmp_path, good):
    said = []
    assert newest_whole_here(tmp_path, said.append) is None
    older = place(tmp_path, 9, good)
    place(tmp_path, 10, good[:-1])
    (tmp_path / folder_name(11)).mkdir()  # killed before its file was in place
    assert newest_whole_here(tmp_path, said.append) == (9, older)
    assert "checkpoint_epoch0010 is broken" in said[0]
    assert said[1] == "Going back to checkpoint_epoch0009"


def test_a_run_whose_checkpoints_are_all_broken_does_not_silently_start_anew(tmp_path, good):
    place(tmp_path, 0, b"")
    assert newest_whole_here(tmp_path, lambda line: None) is None, "one epoch may be done again"
    place(tmp_path, 1, b"")
    with pytest.raises(InputError, match="none of the run's checkpoints is whole"):
        newest_whole_here(tmp_path, lambda line: None)


def test_the_two_newest_are_kept_whatever_else_is_there(tmp_path, good):
    for epoch in (9, 10, 11, 12):
        place(tmp_path, epoch, good)
    (tmp_path / folder_name(13)).mkdir()
    (tmp_path / "checkpoints-of-mine").mkdir()
    prune(tmp_path)
    assert local_checkpoints(tmp_path) == [folder_name(12), folder_name(11)]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {folder_name(e) for e in (11, 12, 13)} | {"checkpoints-of-mine"}
