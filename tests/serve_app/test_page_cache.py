"""What a killed page left in its folder goes when the next one starts."""

import os
import time
from pathlib import Path

import pytest

from serve_app import page_cache
from serve_app.page_cache import DAY_S, sweep, use_own_cache


def put(path, age_s):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"picture")
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def test_only_what_is_older_than_a_day_goes(tmp_path):
    old = put(tmp_path / "a" / "old.png", DAY_S + 60)
    fresh = put(tmp_path / "b" / "fresh.png", DAY_S - 60)
    sweep(tmp_path)
    assert not old.exists() and fresh.exists()
    sweep(tmp_path / "nowhere")


def test_an_empty_folder_goes_once_it_is_old(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    os.utime(folder, (0, 0))
    sweep(tmp_path)
    assert not folder.exists()


@pytest.mark.parametrize("named", [True, False])
def test_a_folder_that_someone_named_is_left_alone(tmp_path, monkeypatch, named):
    monkeypatch.setattr(page_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    if not named:
        monkeypatch.delenv("GRADIO_TEMP_DIR")
    old = put(tmp_path / f"ray-cifar-page-{os.getuid()}" / "a" / "old.png", DAY_S + 60)
    use_own_cache()
    assert old.exists() is named
    assert (os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)) is named


def test_nobody_else_looks_into_the_folder(tmp_path, monkeypatch):
    """Not by its rights, and not because it was there first."""
    monkeypatch.setattr(page_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that it is put back as it was
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    use_own_cache()
    folder = Path(os.environ.pop("GRADIO_TEMP_DIR"))
    assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    folder.symlink_to(tmp_path / "theirs")
    (tmp_path / "theirs").mkdir()
    use_own_cache()
    other = Path(os.environ["GRADIO_TEMP_DIR"])
    assert other != folder and not other.is_symlink() and other.stat().st_mode & 0o777 == 0o700
