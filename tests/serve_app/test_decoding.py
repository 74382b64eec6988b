"""How many pixels are held decoded at a time, and that nobody waits for others' large pictures."""

import asyncio
import threading

import pytest
from PIL import Image

from serve_app import decoding
from serve_app.containers import MAX_SCANS
from serve_app.decoding import LARGE, Framed, decode, decoded, in_thread
from serve_app.pixel_budget import PixelBudget
from serve_app.problems import Problem
from tests.faults.bad_pictures import encoded, scanned_jpeg

SIDE = 1000


def png(side):
    """A large picture in a few hundred bytes."""
    return encoded(Image.new("1", (side, side)), "PNG")


@pytest.fixture
def budget(monkeypatch):
    """Room for two and a half of the test's large pictures."""
    budget = PixelBudget(limit=2_500_000)
    monkeypatch.setattr(decoding, "BUDGET", budget)
    return budget


def test_only_so_many_pixels_are_held_at_a_time(budget):
    large, held, most = png(SIDE), 0, 0

    async def hold():
        nonlocal held, most
        async with decoded([large], 32, whole=True) as (found,):
            assert found.picture.shape == (SIDE, SIDE, 3)
            held += 1
            most = max(most, held)
            await asyncio.sleep(0.02)
            held -= 1

    async def scenario():
        await asyncio.gather(*(hold() for _ in range(12)))

    asyncio.run(scenario())
    assert most == 2 and budget.inside == 0


def test_a_lone_picture_gets_in_whatever_its_size(budget):
    budget.limit = 10
    (found,) = asyncio.run(decode([png(SIDE)], 32))
    assert (found.height, found.width, found.picture) == (SIDE, SIDE, None)


def test_small_pictures_pass_while_large_ones_wait(budget):
    async def scenario():
        async with decoded([png(SIDE)], 32, whole=True), decoded([png(SIDE)], 32, whole=True):
            waiting = asyncio.create_task(decode([png(SIDE)], 32))
            (small,) = await decode([png(40)], 32)
            assert not waiting.done()
        (late,) = await waiting
        return small, late

    small, late = asyncio.run(scenario())
    assert isinstance(small, Framed) and isinstance(late, Framed)


def test_who_finds_no_room_in_time_is_refused_and_leaves_the_place(budget):
    budget.wait_s = 0.05

    async def scenario():
        async with decoded([png(SIDE)], 32, whole=True), decoded([png(SIDE)], 32, whole=True):
            with pytest.raises(Problem) as refused:
                await decode([png(SIDE)], 32)
        await decode([png(SIDE)], 32)
        return refused.value

    refused = asyncio.run(scenario())
    assert (refused.status, refused.code, refused.retry_after_s) == (503, "overloaded", 1)
    assert budget.inside == 0


def test_who_hangs_up_while_waiting_leaves_the_place(budget):
    async def scenario():
        async with decoded([png(SIDE)], 32, whole=True), decoded([png(SIDE)], 32, whole=True):
            waiting = asyncio.create_task(decode([png(SIDE)], 32))
            await asyncio.sleep(0.05)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await decode([png(SIDE)], 32)

    asyncio.run(scenario())
    assert budget.inside == 0


def test_a_damaged_picture_gives_its_room_back(budget):
    (found,) = asyncio.run(decode([png(SIDE)[:-40]], 32))
    assert isinstance(found, Problem) and found.code == "damaged_image"
    assert budget.inside == 0


def test_the_scans_of_all_pictures_of_a_request_are_bounded_together():
    """Each is gone over as often as a single one of a few megapixels may be."""
    found = asyncio.run(decode([scanned_jpeg(800, 800, MAX_SCANS)] * 8, 32))
    assert [type(part) for part in found] == [Framed] * 3 + [Problem] * 5
    assert {part.code for part in found[3:]} == {"image_too_large"}


def test_a_timeout_inside_the_block_is_the_callers_own(budget):
    async def scenario():
        async with decoded([png(SIDE)], 32, whole=True):
            raise TimeoutError

    with pytest.raises(TimeoutError):
        asyncio.run(scenario())
    assert budget.inside == 0


def test_the_largest_are_worked_on_two_at_a_time_and_keep_no_other_waiting():
    """Those that wait for one of the two threads wait in a queue of their own."""
    inside, most, lock, go_on = 0, 0, threading.Lock(), threading.Event()

    def work():
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        go_on.wait(30)
        with lock:
            inside -= 1

    async def scenario():
        large = [asyncio.create_task(in_thread(LARGE + 1, work)) for _ in range(40)]
        while inside < 2:
            await asyncio.sleep(0.01)
        assert await in_thread(LARGE, lambda: "small") == "small"
        go_on.set()
        await asyncio.gather(*large)

    asyncio.run(scenario())
    assert most == 2


def test_many_pictures_of_a_request_are_as_large_as_one():
    """They are worked on where a single one of their pixels would be."""
    busy, go_on = threading.Barrier(3), threading.Event()

    def work():
        busy.wait(30)
        go_on.wait(30)

    async def scenario():
        large = [asyncio.create_task(in_thread(LARGE + 1, work)) for _ in range(2)]
        await asyncio.to_thread(busy.wait, 30)
        many = asyncio.create_task(decode([png(SIDE)] * (1 + LARGE // SIDE**2), 32))
        assert isinstance((await decode([png(SIDE)], 32))[0], Framed)
        assert not (await asyncio.wait([many], timeout=0.5))[0]
        go_on.set()
        await asyncio.gather(*large)
        return await many

    assert all(isinstance(part, Framed) for part in asyncio.run(scenario()))
