"""What goes wrong in a replica, as it reaches those who ask it by handle."""

import asyncio

import numpy as np
import pytest
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import ReplicaUnavailableError

from cifar_model.errors import InputError
from cifar_model.model_folder import BUILT_IN
from serve_app.problems import Problem
from serve_app.serve_handles import ServeHandles, own_errors
from tests.models import add_model

SQUARE = np.zeros((32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of two models, one of them without weights."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("whole", "empty"):
        add_model(folder / name, name)
    (folder / "empty" / "model.safetensors").unlink()
    return folder


@pytest.fixture(scope="module")
def ask(served, models):
    """Calls a method of the backend over a replica of its own."""
    from ray import serve

    from serve_app.catalog import Catalog
    from serve_app.deployments import ModelServer

    deployment = serve.deployment(ModelServer).options(
        name="Own",
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=1,
        max_queued_requests=2,
    )
    bound = deployment.bind(str(BUILT_IN), str(models), 1, "auto", {})
    handle = serve.run(bound, name="own", route_prefix="/own")

    backend = ServeHandles(Catalog(BUILT_IN, models), handle, handle)

    async def many(count):
        calls = (backend.logits(SQUARE[None]) for _ in range(count))
        return await asyncio.gather(*calls, return_exceptions=True)

    # A handle belongs to the event loop that it was first used in; Serve's end wants that open.
    loop = asyncio.new_event_loop()
    yield lambda method, *arguments, **how: loop.run_until_complete(
        many(*arguments) if method == "many" else getattr(backend, method)(*arguments, **how)
    )
    serve.delete("own")


def test_a_model_of_the_folder_answers(ask):
    assert ask("logits", SQUARE[None], model="whole").shape == (1, 10)
    assert ask("ready") and ask("ready", model="whole")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [("empty", 503, "model_unavailable"), ("nobody", 404, "unknown_model")],
)
def test_a_replicas_problem_arrives_as_it_was(ask, name, status, code):
    for method, arguments in (("logits", (SQUARE[None],)), ("explain", (SQUARE, None, "res2"))):
        with pytest.raises(Problem) as problem:
            ask(method, *arguments, model=name)
        assert type(problem.value) is Problem
        assert (problem.value.status, problem.value.code) == (status, code)
        assert str(problem.value) == problem.value.message and "\n" not in str(problem.value)
    assert not ask("ready", model=name)


def test_a_replicas_input_error_arrives_as_it_was(ask):
    with pytest.raises(InputError) as error:
        ask("explain", SQUARE, None, "linear")
    assert type(error.value) is InputError and str(error.value).startswith("layer 'linear'")


def test_more_than_may_wait_is_a_problem_that_says_to_try_again(ask):
    """The replica takes one request at a time, and two may wait."""
    found = ask("many", 12)
    refused = [answer for answer in found if isinstance(answer, Exception)]
    assert refused and len(refused) < len(found)
    for problem in refused:
        assert type(problem) is Problem
        assert (problem.status, problem.code, problem.retry_after_s) == (503, "overloaded", 1)


@pytest.mark.parametrize("error", [ActorDiedError(), ReplicaUnavailableError("a replica")])
def test_a_replica_that_has_gone_is_a_problem_that_says_to_try_again(error):
    with pytest.raises(Problem) as problem, own_errors():
        raise error
    assert (problem.value.status, problem.value.retry_after_s) == (503, 1)
