"""Images that this machine's memory has no room for are refused before any is decoded."""

import pytest

from cifar_model.errors import InputError
from cifar_model.room_for_images import available_memory, check_room
from cifar_model.sources import load_source, load_test_set


def test_there_is_room_for_as_much_as_is_free():
    side = 1024
    count = available_memory() // (3 * side**2)
    check_room(count // 2, side)
    with pytest.raises(
        InputError, match=r"need [\d,.]+ GiB .* are free; use a smaller --image-size"
    ):
        check_room(count * 2, side)


def test_what_is_copied_counts_twice():
    count = available_memory() // (3 * 1024**2)
    check_room(count * 2 // 3, 1024)
    with pytest.raises(InputError, match=f"{count * 2 // 3:,} images of"):
        check_room(count * 2 // 3, 1024, copied=count * 2 // 3)


@pytest.mark.parametrize(
    "files",
    [
        {"memory.max": 2**20, "memory.current": 2**19, "memory.stat": "anon 5\ninactive_file 4096"},
        {
            "memory/memory.limit_in_bytes": 2**20,
            "memory/memory.usage_in_bytes": 2**19,
            "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 4096",
        },
    ],
    ids=["version 2", "version 1"],
)
def test_a_container_has_what_its_limit_leaves(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n")
    assert available_memory(tmp_path) == 2**19 + 4096


def test_without_a_limit_the_machine_counts(tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    for cgroup in (tmp_path, tmp_path / "none"):
        assert available_memory(cgroup) > 2**24


@pytest.mark.parametrize("load", [load_source, load_test_set])
@pytest.mark.parametrize("kind", ["digits", "folder"])
def test_a_side_that_is_too_large_for_the_data_is_one_line(picture_folder, load, kind):
    spec = "digits" if kind == "digits" else f"folder:{picture_folder}"
    with pytest.raises(InputError, match="images of 800000x800000 need"):
        load(spec, image_size=800_000)
