"""Fetch, check, decode, encode and join images, videos and audio."""
