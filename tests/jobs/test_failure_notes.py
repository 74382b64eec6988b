"""What is said of workers that fail: how often they may, and which failures do not count."""

from ray.exceptions import RayActorError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from jobs.failure_notes import FailureNotes
from jobs.ray_training import MAX_FAILURES


def of_a_spot_machine() -> Exception:
    """As Ray Train hands it on: the death, in what noticed it."""
    return WorkerHealthCheckFailedError("not well", RayActorError(error_msg="died", preempted=True))


def test_failures_are_counted_and_machines_taken_back_are_not(capsys):
    notes = FailureNotes()
    for _ in range(MAX_FAILURES + 1):
        notes.after_exception(None, {0: of_a_spot_machine(), 1: ValueError("lost its peer")})
    assert capsys.readouterr().out.count("was taken back; starting again") == MAX_FAILURES + 1
    for _ in range(MAX_FAILURES + 1):
        notes.after_exception(None, {1: ValueError("bad")})
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.endswith(f"bad; starting again from the last checkpoint (1 of {MAX_FAILURES})")
    assert last == "Worker 1 failed: ValueError: bad; giving up"
