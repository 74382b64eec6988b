"""Work that is done one piece at a time, and holds up no other."""

import asyncio
import threading

import pytest
from PIL import Image

from serve_app.decoding import Framed, decode
from serve_app.problems import Problem
from serve_app.slow_lane import SlowLane
from tests.faults.bad_pictures import encoded

SMALL = encoded(Image.new("1", (40, 40)), "PNG")


def test_the_slow_lane_is_one_thread_and_refuses_what_is_too_much():
    go, threads = threading.Event(), set()

    def work():
        go.wait(10)
        threads.add(threading.current_thread().name)
        return 1

    async def scenario():
        lane = SlowLane(3)
        inside = [asyncio.create_task(lane(work)) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(Problem) as refused:
            await lane(work)
        # Other threads have nothing to wait for.
        (small,) = await decode([SMALL], 32)
        go.set()
        answers = await asyncio.gather(*inside)
        return refused.value, answers, await lane(work), small

    refused, answers, after, small = asyncio.run(scenario())
    assert (refused.status, refused.code) == (503, "overloaded")
    assert answers == [1, 1, 1] and after == 1 and len(threads) == 1
    assert isinstance(small, Framed)
