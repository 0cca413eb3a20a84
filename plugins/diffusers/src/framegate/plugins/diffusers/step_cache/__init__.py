"""Step caches: skip most of the work of steps that hardly differ from the last. None of them is exact."""
