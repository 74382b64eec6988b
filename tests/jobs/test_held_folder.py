"""One command at a time in a folder, and what killed ones left there cleared away."""

import pytest

from jobs.held_folder import held

LEFT = ".model.aside-0a1b2c3d"


@pytest.mark.parametrize(("below", "kept"), [(False, True), (True, False)])
def test_what_lies_in_folders_below_is_cleared_only_where_they_belong_to_the_command(
    tmp_path, below, kept
):
    """Where they do not, another command may be writing there."""
    (tmp_path / "run").mkdir()
    here, other = tmp_path / LEFT, tmp_path / "run" / LEFT
    here.touch()
    other.touch()
    with held(tmp_path, below=below):
        assert not here.exists() and other.exists() == kept
