"""Probe, decode, encode and join videos with their audio."""
