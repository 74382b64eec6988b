"""How many files one upload to the page may hold, and that what is refused leaves none behind."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from gradio import route_utils
from gradio.blocks import Blocks
from gradio.route_utils import GradioMultiPartParser
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

LOG = logging.getLogger(__name__)
MOST_FILES = 8  # the page sends one; Gradio takes a thousand, and holds all of them open
FIELD = "files"

_delete_files = route_utils.delete_files_created_by_app


class FewFiles(GradioMultiPartParser):
    """Gradio's parser of an upload, for at most MOST_FILES files and as many fields.

    Of itself it takes a form that breaks off for a shorter one, and keeps files that it overlooks.
    """

    ended = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        bounds = {"max_files": MOST_FILES, "max_fields": MOST_FILES}
        super().__init__(*arguments, **{**options, **bounds})

    def on_end(self) -> None:
        self.ended = True

    async def parse(self) -> FormData:
        """The form, all of whose files are in its fields FIELD; those that have come so far go with
        any error.

        MultiPartException for a form that breaks off, ValueError for one of other fields or with a
        name that can't be a file's.
        """
        try:
            form = await super().parse()
            if not self.ended:
                raise MultiPartException("The form breaks off before its closing boundary.")
            if FIELD not in form or any(
                isinstance(part, UploadFile) != (name == FIELD) for name, part in form.multi_items()
            ):
                raise ValueError(f"the files of an upload are its fields {FIELD!r}, each of them")
            if any(_means_a_folder(part.filename) for part in form.getlist(FIELD)):
                raise ValueError("a file's name is that of a folder")
            return form
        except BaseException:  # also the end of a caller who hung up
            for file in self._files_to_close_on_error:
                file.close()
                Path(file.name).unlink(missing_ok=True)
            raise


def _means_a_folder(filename: str | None) -> bool:
    """Whether Gradio would refuse the name, when it has found the files before it their places."""
    strip = route_utils.client_utils.strip_invalid_filename_characters
    return bool(strip(Path(filename or "").name) == "..")


def delete_files(blocks: Blocks, age: int | None) -> None:
    """Gradio's hourly deletion of old files, whose first failure would otherwise be its end."""
    try:
        _delete_files(blocks, age)
    except (OSError, RuntimeError) as error:  # one is that a file came while it looked
        LOG.warning("old files of the page are looked at again in an hour: %s", error)


def bound_uploads() -> None:
    """Make both hold for every page of this process."""
    route_utils.GradioMultiPartParser = FewFiles
    route_utils.delete_files_created_by_app = delete_files
