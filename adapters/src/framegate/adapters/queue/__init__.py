"""Dramatiq, and the worker process that runs jobs."""
