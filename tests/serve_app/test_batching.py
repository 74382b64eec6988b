"""Batches form while the model is busy, and everyone gets their own rows back."""

import asyncio
import threading

import numpy as np
import pytest

from cifar_model.engine import Forward
from serve_app.batching import MAX_BATCH, Batcher
from serve_app.problems import Problem


class Recorder:
    """An engine whose answer tells the pictures apart; it can be held back."""

    def __init__(self):
        self.sizes, self.go, self.entered = [], threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, squares):
        self.entered.set()
        self.go.wait()
        self.sizes.append(len(squares))
        if (squares == 255).any():
            raise ValueError("a picture that breaks the model")
        first = squares[:, 0, 0, :1].astype(np.float32)
        return Forward(first, first[..., None, None])


def pictures(*values):
    return np.stack([np.full((8, 8, 3), value, np.uint8) for value in values])


async def ask_behind_a_busy_model(engine, *requests):
    """The answers to requests that all arrive while one is being computed."""
    batcher = Batcher(engine)
    engine.go.clear()
    busy = asyncio.create_task(batcher(pictures(0)))
    assert await asyncio.to_thread(engine.entered.wait, 30)
    waiting = [asyncio.create_task(batcher(request)) for request in requests]
    await asyncio.sleep(0.1)
    engine.go.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    await busy
    batcher.close()
    return answers


def test_a_lone_request_runs_at_once_and_alone():
    engine = Recorder()
    found = asyncio.run(Batcher(engine)(pictures(7)))
    assert engine.sizes == [1]
    assert found.logits_BK.tolist() == [[7]]


def test_what_arrives_while_the_model_is_busy_is_one_batch():
    engine = Recorder()
    answers = asyncio.run(
        ask_behind_a_busy_model(engine, *(pictures(value) for value in range(1, 11)))
    )
    assert engine.sizes == [1, 10]
    assert [answer.logits_BK.tolist() for answer in answers] == [[[v]] for v in range(1, 11)]


def test_a_batch_is_never_larger_than_the_limit():
    engine = Recorder()
    requests = [pictures(*range(20)), pictures(*range(20, 40)), pictures(*range(40, 45))]
    answers = asyncio.run(ask_behind_a_busy_model(engine, *requests))
    assert max(engine.sizes) <= MAX_BATCH and sum(engine.sizes) == 46
    found = np.concatenate([answer.logits_BK for answer in answers])[:, 0]
    assert found.tolist() == list(range(45))


def test_a_request_of_many_pictures_is_split():
    engine = Recorder()
    found = asyncio.run(Batcher(engine)(pictures(*range(70))))
    assert sorted(engine.sizes) == [6, 32, 32]
    assert found.logits_BK[:, 0].tolist() == list(range(70))


def test_an_error_reaches_those_in_the_batch_and_the_next_batch_runs():
    async def scenario():
        batcher = Batcher(Recorder())
        with pytest.raises(ValueError, match="breaks the model"):
            await batcher(pictures(255))
        return await batcher(pictures(3))

    assert asyncio.run(scenario()).logits_BK.tolist() == [[3]]


def test_a_request_that_was_abandoned_is_left_out():
    engine = Recorder()

    async def scenario():
        batcher = Batcher(engine)
        engine.go.clear()
        busy = asyncio.create_task(batcher(pictures(0)))
        assert await asyncio.to_thread(engine.entered.wait, 30)
        abandoned = asyncio.create_task(batcher(pictures(1)))
        kept = asyncio.create_task(batcher(pictures(2)))
        await asyncio.sleep(0.1)
        abandoned.cancel()
        await asyncio.sleep(0.1)
        engine.go.set()
        await busy
        return await kept

    assert asyncio.run(scenario()).logits_BK.tolist() == [[2]]
    assert engine.sizes == [1, 1]


def test_more_pictures_than_may_wait_are_refused_and_those_inside_answered():
    engine = Recorder()

    async def scenario():
        batcher = Batcher(engine, limit=10)
        engine.go.clear()
        inside = [asyncio.create_task(batcher(pictures(v, v))) for v in range(5)]
        await asyncio.sleep(0.1)
        with pytest.raises(Problem) as refused:
            await batcher(pictures(9))
        engine.go.set()
        answers = await asyncio.gather(*inside)
        return refused.value, answers, await batcher(pictures(*range(40)))

    refused, answers, large = asyncio.run(scenario())
    assert (refused.status, refused.code, refused.retry_after_s) == (503, "overloaded", 1)
    assert [len(answer.logits_BK) for answer in answers] == [2] * 5
    # A request that finds nobody inside is let in, whatever its size.
    assert len(large.logits_BK) == 40
