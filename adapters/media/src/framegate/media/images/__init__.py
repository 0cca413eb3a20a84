"""Decode, mask and re-encode still images."""
