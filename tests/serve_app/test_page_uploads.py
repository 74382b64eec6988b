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
TEXT = b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\nx\r\n'
END = b"--b--\r\n"


def parse(folder, *chunks):
    async def stream():
        for chunk in chunks:
            if chunk is None:
                raise ClientDisconnect
            yield chunk

    parser = FewFiles(Headers(TYPE), stream(), upload_dir=folder, max_file_size=100)
    return asyncio.run(parser.parse())


def test_a_few_files_are_taken(tmp_path):
    form = parse(tmp_path, PART * MOST_FILES, END)
    assert len(form.getlist("files")) == MOST_FILES
    assert len(list(tmp_path.iterdir())) == MOST_FILES


@pytest.mark.parametrize("ends", [[PART * MOST_FILES], [None]])
def test_of_an_upload_that_is_refused_or_broken_off_no_file_is_left(tmp_path, ends):
    with pytest.raises((MultiPartException, ClientDisconnect)):
        parse(tmp_path, PART, *ends)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ([PART], MultiPartException),
        ([PART, PART[:-3]], MultiPartException),
        ([b""], MultiPartException),
        ([PART.replace(b"files", b"other"), END], ValueError),
        ([PART, PART.replace(b"files", b"other"), END], ValueError),
        ([PART, TEXT, END], ValueError),
        ([END], ValueError),
        ([PART, PART.replace(b'"a"', b'".."'), END], ValueError),
        ([PART, PART.replace(b'"a"', b'"b/.<."'), END], ValueError),
    ],
)
def test_a_form_that_is_no_upload_is_refused_and_no_file_of_it_left(tmp_path, form, error):
    with pytest.raises(error):
        parse(tmp_path, *form)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("body", [PART, PART.replace(b"files", b"other") + END])
def test_to_the_page_it_is_a_mistake_of_the_caller(served, body):
    answer = httpx.post(f"{served}/gradio_api/upload", content=body, headers=TYPE)
    assert answer.status_code == 400


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
