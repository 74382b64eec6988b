"""Other ways to serve the model, for the benchmark alone: each file runs as a program.

Here, and only here in `jobs`, HTTP frameworks are imported.
"""
