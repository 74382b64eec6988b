"""An upload to the page: few files, and none left behind by one that broke off."""

import asyncio
import os

import gradio as gr
import httpx
import pytest
from gradio.route_utils import MultiPartException
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from serve_app.page_uploads import MOST_FILES, FewFiles, delete_files

TYPE = {"content-type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n'


def parse(folder, *chunks):
    async def stream():
        for chunk in chunks:
            if chunk is None:
                raise ClientDisconnect
            yield chunk

    parser = FewFiles(Headers(TYPE), stream(), upload_dir=folder, max_file_size=100)
    return asyncio.run(parser.parse())


def test_a_few_files_are_taken(tmp_path):
    form = parse(tmp_path, PART * MOST_FILES, b"--b--\r\n")
    assert len(form.getlist("files")) == MOST_FILES
    assert len(list(tmp_path.iterdir())) == MOST_FILES


@pytest.mark.parametrize("ends", [[PART * MOST_FILES], [None]])
def test_of_an_upload_that_is_refused_or_broken_off_no_file_is_left(tmp_path, ends):
    with pytest.raises((MultiPartException, ClientDisconnect)):
        parse(tmp_path, PART, *ends)
    assert not list(tmp_path.iterdir())


def test_the_page_takes_no_more(served):
    for count, status in ((MOST_FILES, 200), (MOST_FILES + 1, 400)):
        sent = [("files", (f"{i}.png", b"x")) for i in range(count)]
        assert httpx.post(f"{served}/gradio_api/upload", files=sent).status_code == status


def test_old_files_are_looked_for_again_after_one_came_meanwhile(tmp_path):
    class Growing(os.PathLike):
        """A file at whose sight another one comes."""

        def __fspath__(self):
            blocks.upload_file_set.add(Growing())
            return str(tmp_path / "none")

    with gr.Blocks() as blocks:
        pass
    blocks.upload_file_set.add(Growing())
    assert delete_files(blocks, 0) is None
