"""Files and folders appear whole or not at all."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cifar_model.errors import one_line_errors
from cifar_model.files import (
    clear_asides,
    clear_asides_of,
    new_folder,
    scratch_folder,
    write_whole,
)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "file"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_folder_appears_when_it_is_whole(tmp_path):
    with new_folder(tmp_path / "folder") as aside:
        (aside / "file").write_text("content")
        assert not (tmp_path / "folder").exists()
    assert (tmp_path / "folder" / "file").read_text() == "content"


def test_a_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), new_folder(tmp_path / "folder") as aside:
        (aside / "file").write_text("content")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_keeps_the_old_folder(tmp_path):
    with new_folder(tmp_path / "folder") as aside:
        (aside / "file").write_text("old")
    with pytest.raises(RuntimeError), new_folder(tmp_path / "folder", replace=True):
        raise RuntimeError
    assert (tmp_path / "folder" / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("left", ["old", "new"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, PermissionError])
def test_a_replacement_that_ends_between_its_steps_leaves_one_folder_whole(
    tmp_path, monkeypatch, error, left
):
    """Ctrl-C, or a disk that fails, just before or just after the new folder is in its place."""

    def rename(path, target):
        is_new = (path / "file").read_text() == "new"
        if left == "new" or not is_new:
            path.replace(target)
        if is_new:
            raise error

    with new_folder(tmp_path / "folder") as aside:
        (aside / "file").write_text("old")
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(error), new_folder(tmp_path / "folder", replace=True) as aside:
        (aside / "file").write_text("new")
    assert (tmp_path / "folder" / "file").read_text() == left
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_an_existing_folder_is_not_replaced_unasked(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileExistsError), new_folder(tmp_path / "folder"):
        raise AssertionError("must not get here")


def test_what_another_has_written_meanwhile_is_not_replaced_unasked(tmp_path, capsys):
    folder = tmp_path / "folder"
    with pytest.raises(SystemExit), one_line_errors("jobs.x"), new_folder(folder) as aside:
        (aside / "file").write_text("mine")
        with new_folder(folder) as other:
            (other / "file").write_text("the other's")
    assert f"{folder}: is there already; choose another place" in capsys.readouterr().err
    assert (folder / "file").read_text() == "the other's"
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_scratch_folder_goes_with_its_block_or_with_what_clears_up(tmp_path):
    with scratch_folder(tmp_path / "work") as folder:
        (folder / "file").write_text("content")
        clear_asides_of(tmp_path / "wor")
        assert folder.is_dir(), "it is another's"
        clear_asides_of(tmp_path / "work")
        assert not folder.exists()
    with pytest.raises(RuntimeError), scratch_folder(tmp_path / "work"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_replacement_put_aside_is_put_back(tmp_path):
    script = """
import os, sys
from pathlib import Path
from cifar_model.files import new_folder
folder = Path(sys.argv[1]) / "folder"
folder.mkdir()
(folder / "file").write_text("old")
Path.rename = lambda path, target: path.replace(target) and os.kill(os.getpid(), 9)
with new_folder(folder, replace=True) as aside:
    (aside / "file").write_text("new")
"""
    killed = subprocess.run([sys.executable, "-c", script, tmp_path], cwd=Path(__file__).parents[2])
    assert killed.returncode == -9
    assert len(list(tmp_path.iterdir())) == 2 and not (tmp_path / "folder").exists()
    clear_asides(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "file").read_text() == "old"
    shutil.copytree(tmp_path / "folder", tmp_path / ".folder.aside-0a1b2c3d.old")
    clear_asides(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"], "the old one of a replaced one"


def test_what_a_killed_writer_left_is_cleared_and_nothing_else(tmp_path):
    script = """
import os, sys
from pathlib import Path
from cifar_model.files import new_folder, write_whole
folder = Path(sys.argv[1])
(folder / ".env.template").write_text("kept")  # of the user
write_whole(folder / "whole.csv", b"kept")
with new_folder(folder / "model") as aside:
    (aside / "weights").write_text("part")
    os.fsync = lambda handle: os.kill(os.getpid(), 9)
    write_whole(folder / "history.csv", b"part")
"""
    killed = subprocess.run([sys.executable, "-c", script, tmp_path], cwd=Path(__file__).parents[2])
    assert killed.returncode == -9
    assert len(list(tmp_path.iterdir())) == 4
    clear_asides(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".env.template", "whole.csv"}
