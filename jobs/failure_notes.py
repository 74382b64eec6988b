"""What Ray Train does about a failed worker, said on the terminal."""

from __future__ import annotations

from typing import Any

from ray.train import UserCallback, WorkerGroupError

from jobs.ray_training import MAX_FAILURES, failure_reason


class FailureNotes(UserCallback):
    """Prints a line for each failure of workers; runs in Ray Train's controller."""

    def __init__(self) -> None:
        self.failures = 0

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Say why, and what follows."""
        self.failures += 1
        ranks = ", ".join(str(rank) for rank in sorted(worker_exceptions))
        # Of a process that died Ray says so, and then what else it might be.
        reason = failure_reason(WorkerGroupError("", worker_exceptions)).partition(". ")[0]
        if self.failures > MAX_FAILURES:
            follows = "giving up"
        else:
            follows = f"starting again from the last checkpoint ({self.failures} of {MAX_FAILURES})"
        print(f"Worker {ranks} failed: {reason}; {follows}", flush=True)
