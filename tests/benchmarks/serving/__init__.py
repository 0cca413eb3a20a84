"""What serving costs: requests, jobs, streams and files, of real servers over loopback.

`python -m tests.benchmarks.serving` measures; `docs/performance.md` says what and shows the results.
"""
