"""Serve the API dialects over HTTP."""
