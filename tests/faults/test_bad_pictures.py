"""Every bad or odd picture of the corpus, through the decoder alone."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from serve_app.images import MAX_BYTES, decode_image
from serve_app.problems import Problem
from tests.faults.bad_pictures import Case, Refused, cases

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("case", cases().values(), ids=lambda case: case.name)
def test_it_gets_its_error_or_its_picture(case: Case):
    start = time.thread_time()
    if isinstance(case.expected, Refused):
        with pytest.raises(Problem) as problem:
            decode_image(case.data)
        assert (problem.value.status, problem.value.code) == (
            case.expected.status,
            case.expected.code,
        ), problem.value.message
        assert 10 < len(problem.value.message) < 300
    else:
        picture = decode_image(case.data)
        assert picture.dtype == np.uint8 and picture.shape == case.expected.picture.shape
        off = np.abs(picture.astype(int) - case.expected.picture).max()
        assert off <= case.expected.tolerance
    assert time.thread_time() - start < 1  # of computing; a busy machine takes longer to do it


def test_the_corpus_is_large_enough_and_fits_into_a_request():
    found = cases().values()
    assert sum(isinstance(case.expected, Refused) for case in found) >= 40
    assert all(len(case.data) <= MAX_BYTES + 1 for case in found)


PROGRAM = """
import pathlib, sys
from serve_app.images import decode_image
from serve_app.problems import Problem

def peak():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

files = sorted(pathlib.Path(sys.argv[1]).iterdir())
decode_image(pathlib.Path(sys.argv[2]).read_bytes())
before = peak()
for path in files * 3:
    try:
        decode_image(path.read_bytes())
    except Problem:
        pass
print(peak() - before)
"""


def test_decoding_all_of_them_takes_little_memory(tmp_path):
    """In a process of its own: what it takes at most, over what it takes for a small picture."""
    files = tmp_path / "files"
    files.mkdir()
    for number, case in enumerate(cases().values()):
        (files / str(number)).write_bytes(case.data)
    small = tmp_path / "small"
    small.write_bytes(cases()["1x1"].data)
    command = [sys.executable, "-c", PROGRAM, str(files), str(small)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    grown = int(run.stdout) / 1024
    print(f"\npeak memory while decoding {len(cases())} bad pictures 3 times: +{grown:.0f} MiB")
    # The largest files have 10 MiB, and are there twice: as they came, and what is left of them.
    assert grown < 64
