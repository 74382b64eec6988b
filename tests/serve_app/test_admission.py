"""Beyond a bound, requests are refused at once; slow bodies do not count, and health answers."""

import asyncio

from serve_app.admission import BEST_SPEED_SHARE, WAIT_S, Admission, Occupancy


async def ask(app, path, body=None):
    """Status, headers and body of the answer; `body` is awaited before the request's is whole."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        if body is not None:
            await body.wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    await app({"type": "http", "path": path, "method": "POST", "headers": []}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_what_is_over_the_bound_gets_a_503_that_says_when_to_retry():
    go = asyncio.Event()

    async def slow(scope, receive, send):
        await receive()
        if scope["path"].startswith("/v1/classify"):
            await go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    async def scenario():
        app = Admission(slow, Occupancy(2))
        on_their_way = [
            asyncio.create_task(ask(app, "/v1/classify", body=asyncio.Event())) for _ in range(5)
        ]
        await asyncio.sleep(0)
        inside = [asyncio.create_task(ask(app, "/v1/classify")) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await ask(app, "/v1/classify")
        health = await ask(app, "/healthz")
        go.set()
        served = await asyncio.gather(*inside)
        for task in on_their_way:
            task.cancel()
        await asyncio.gather(*on_their_way, return_exceptions=True)
        assert app.occupancy.inside == 0
        return refused, health, served, await ask(app, "/v1/classify")

    refused, health, served, after = asyncio.run(scenario())
    assert refused[0] == 503 and refused[1][b"retry-after"] == b"1"
    assert b'"code":"overloaded"' in refused[2]
    assert health[0] == 200
    assert [answer[0] for answer in served] == [200, 200] and after[0] == 200


def test_the_bound_is_what_is_answered_in_time_at_the_speed_that_was_seen():
    now, go = [0.0], asyncio.Event()

    async def slow(scope, receive, send):
        await receive()
        await go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    async def scenario():
        app = Admission(slow, Occupancy(256, clock=lambda: now[0]))
        bounds = [app.occupancy.bound]
        for seconds in (0.5, 0.05, 5.0):
            go.clear()
            count = min(40, app.occupancy.bound)
            tasks = [asyncio.create_task(ask(app, "/v1/classify")) for _ in range(count)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            now[0] += seconds
            go.set()
            assert {answer[0] for answer in await asyncio.gather(*tasks)} == {200}
            bounds.append(app.occupancy.bound)
        return bounds

    first, after_slow, after_fast, slow_again = asyncio.run(scenario())
    assert first == 256
    # 16 to 40 found inside, half a second each.
    assert 32 * WAIT_S < after_slow < 80 * WAIT_S
    assert after_fast > 2 * after_slow
    assert BEST_SPEED_SHARE / 2 * after_fast < slow_again < after_fast, (
        "what was reached is not forgotten at once"
    )
