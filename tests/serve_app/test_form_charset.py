"""What a Content-Type may say, and at what length."""

import time

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from serve_app.form_charset import LONGEST, FormCharset, content_type_problem
from serve_app.problems import Problem

CLIENT = TestClient(FormCharset(PlainTextResponse("let in")))
FORM = "multipart/form-data; boundary="


@pytest.mark.parametrize(
    "kind",
    [
        "image/png",
        "application/json; charset=utf-16",
        FORM + "b" * 70,
        FORM + "b; charset=UTF-8",
        "x" * LONGEST,
    ],
)
def test_what_says_no_odd_charset_is_let_in(kind):
    assert CLIENT.post("/", headers={"content-type": kind}).text == "let in"


@pytest.mark.parametrize("charset", ["punycode", "idna", "q" * 900, '"'])
def test_a_form_in_an_odd_charset_is_refused(charset):
    answer = CLIENT.post("/", headers={"content-type": f"{FORM}b; charset={charset}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_form")


@pytest.mark.parametrize("kind", ["x" * (LONGEST + 1), FORM + 'b; a="' + ";" * 400_000])
def test_a_long_one_is_refused_unread(kind):
    start = time.thread_time()
    assert isinstance(problem := content_type_problem(kind), Problem)
    assert (problem.status, problem.code) == (415, "unsupported_media_type")
    assert time.thread_time() - start < 1  # of computing; a busy machine takes longer to do it
    assert CLIENT.post("/", headers={"content-type": kind}).status_code == 415
