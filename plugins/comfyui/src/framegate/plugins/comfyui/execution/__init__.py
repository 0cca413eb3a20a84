"""Run a workflow for a shot: build its prompt, follow it, and fetch its results."""
