"""The commands, `python -m jobs.NAME`; `jobs.submit` sends most of them to a cluster."""
