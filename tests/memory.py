"""How much memory a piece of work takes."""

import tracemalloc


def peak_bytes(work):
    """The most that Python and NumPy held for it at a time."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
