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


@pytest.mark.parametrize("load", [load_source, load_test_set])
@pytest.mark.parametrize("kind", ["digits", "folder"])
def test_a_side_that_is_too_large_for_the_data_is_one_line(picture_folder, load, kind):
    spec = "digits" if kind == "digits" else f"folder:{picture_folder}"
    with pytest.raises(InputError, match="images of 800000x800000 need"):
        load(spec, image_size=800_000)
