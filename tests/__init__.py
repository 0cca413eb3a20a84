"""Tests that cross distributions; each distribution keeps its own beside it."""
