"""Fuzzing of everything that reads a client's bytes; see `tests.fuzzing.__main__`."""
