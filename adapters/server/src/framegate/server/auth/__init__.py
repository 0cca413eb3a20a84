"""Decide who may call the server."""
