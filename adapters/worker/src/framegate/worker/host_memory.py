"""Keep a worker from taking all of its host's memory."""

import resource


def limit_host_memory(limit: int) -> None:
    """Let this process, and each one that it starts, allocate ``limit`` bytes; 0 for any number.

    Beyond that an allocation fails, as does the job that needs it, and the process lives on; the system's own
    last resort would kill it, or something else. What is mapped from files, such as weights, doesn't count.
    Only Linux holds to it.
    """
    if limit:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(
            resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
        )
