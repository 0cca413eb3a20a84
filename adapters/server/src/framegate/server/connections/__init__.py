"""Connections: limits on their number, deadlines for what clients send, and strict HTTP."""
