"""jobs.tune, at the start of whose first trial an interruption comes where Python loses it.

python -m tests.faults.training.deaf_search SIGINT --trials 1 …
"""

import os
import signal
import sys
import time

from jobs import tune


class Deaf:
    """What its `__del__` raises, Python can only print."""

    def __del__(self):
        os.kill(os.getpid(), NUMBER)
        time.sleep(0.2)


def search(*what):
    """The search itself; only here Ray may be imported, which has its settings now."""
    from jobs.trial_table import TrialTable

    show = TrialTable.on_trial_start

    def show_and_lose(table, **of_the_trial):
        show(table, **of_the_trial)
        Deaf()

    TrialTable.on_trial_start = show_and_lose
    return search_on_tune(*what)


if __name__ == "__main__":
    NUMBER = signal.Signals[sys.argv[1]]
    search_on_tune, tune.search_on_tune = tune.search_on_tune, search
    tune.main(sys.argv[2:])
