"""Stores for input and result files."""
