"""The Ray entry points: each runs as `python -m jobs.NAME` and as a Ray job."""
