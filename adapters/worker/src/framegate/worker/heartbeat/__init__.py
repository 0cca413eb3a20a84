"""Keep a worker's lease while its model runs, from a process of its own."""
