"""A thousand workers and a million records, for `tests.benchmarks.scale`."""
