"""What Ray Train does about a failed worker, said on the terminal."""

from __future__ import annotations

from typing import Any

from ray.exceptions import RayActorError
from ray.train import UserCallback, WorkerGroupError

from jobs.ray_training import MAX_FAILURES, failure_reason


class FailureNotes(UserCallback):
    """Prints a line for each failure of workers; runs in Ray Train's controller."""

    def __init__(self) -> None:
        self.failures = 0

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Say why, and what follows."""
        taken_back = any(map(_is_preempted, worker_exceptions.values()))
        self.failures += not taken_back
        ranks = ", ".join(str(rank) for rank in sorted(worker_exceptions))
        # Of a process that died Ray says so, and then what else it might be.
        reason = failure_reason(WorkerGroupError("", worker_exceptions)).partition(". ")[0]
        if taken_back:
            # Ray does not count these.
            follows = "its machine was taken back; starting again from the last checkpoint"
        elif self.failures > MAX_FAILURES:
            follows = "giving up"
        else:
            follows = f"starting again from the last checkpoint ({self.failures} of {MAX_FAILURES})"
        print(f"Worker {ranks} failed: {reason}; {follows}", flush=True)


def _is_preempted(error: Exception) -> bool:
    """Whether a worker ended because its spot machine was reclaimed."""
    error = getattr(error, "health_check_failure", error)  # what Ray Train wraps a death in
    return isinstance(error, RayActorError) and bool(error.preempted)
