"""What is answered in place of a result."""

import pickle

from serve_app.problems import Problem


def test_a_refusal_survives_the_way_from_a_replica():
    problem = pickle.loads(pickle.dumps(Problem(503, "overloaded", "wait", retry_after_s=1)))
    assert (problem.status, problem.code, problem.message) == (503, "overloaded", "wait")
    assert problem.retry_after_s == 1
