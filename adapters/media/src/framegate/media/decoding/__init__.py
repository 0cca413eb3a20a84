"""Decode untrusted media in processes that can be killed, with slots shared fairly among clients."""
