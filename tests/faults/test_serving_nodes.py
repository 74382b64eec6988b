"""A node of a cluster goes while it serves under steady load; the others go on."""

import time

import pytest

from serve_app.settings import SERVE_SETTINGS
from tests.faults.namespaces import HEAD, TOKEN, address, namespaces, processes, ray_nodes, within
from tests.faults.processes import called, kill
from tests.faults.server import REPLICA, Server, serves
from tests.faults.steady_load import SteadyLoad, check_after_a_kill, show
from tests.waiting import seconds_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(580)]
CORES = [0, 6, 6]  # the head only directs; either of the others has room for all replicas
RATE = 30.0  # requests a second


@pytest.fixture
def server(tmp_path):
    with namespaces(len(CORES)), ray_nodes(CORES, tmp_path, **SERVE_SETTINGS):
        environment = {**SERVE_SETTINGS, **TOKEN, "RAY_ADDRESS": HEAD}
        server = Server(
            "--host", "0.0.0.0", "--replicas", "2", "--cores", "1",
            environment=environment, within=within(0), host=address(0),
        )  # fmt: skip
        yield server
        server.stop()


def replicas(node, kind):
    """How many replicas of a kind take requests on a node, which is given by its processes."""
    return sum(map(serves, called(node, REPLICA.format(kind))))


def whole():
    """Whether all replicas are back, on the node that is left."""
    left = processes(1)
    return all(replicas(left, kind) == 2 for kind in ("classify", "explain", "infer"))


def test_a_killed_node_costs_no_request_that_is_retried(server, picture):
    for node, there in enumerate((0, 1, 1)):
        assert replicas(processes(node), "classify") == there, "they are spread over the nodes"
    with SteadyLoad(server.port, *picture, rate=RATE, host=server.host) as steady:
        time.sleep(2)
        node = processes(2)
        pages = replicas(node, "page")
        for pid in node:
            kill(pid)
        seconds = seconds_until(lambda: whole() and server.ready(), 120)
        time.sleep(3)
    show("node killed", steady.outcome, processes=len(node), pages=pages,
         whole_again_s=round(seconds, 1))  # fmt: skip
    check_after_a_kill(steady.outcome)
