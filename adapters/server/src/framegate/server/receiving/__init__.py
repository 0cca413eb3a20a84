"""The bodies of requests while they arrive: deadlines, spooling to disk, and limits on bytes in flight."""
