"""Putting HTTP servers under load and measuring what they take; Linux only."""
