"""What an API process keeps while it runs, whatever config it serves."""

from collections import OrderedDict

from framegate.server.limits.limiter import RateLimiter


class ProcessState:
    """The state that outlives a reload of the config: nobody gets new requests to spend, or is forgotten.

    ``api_processes`` is how many API processes the server has, this one among them.

    Attributes:
        limiter: The rates of keys and addresses.
        known_logins: Keys that were right, as `LoginThrottle` remembers them.
        start_checked: Whether queue and storage were found to be those of this installation.
        stopping: Whether the process was told to stop.
    """

    def __init__(self, limiter: RateLimiter, *, api_processes: int = 1) -> None:
        self._api_processes = api_processes
        self.limiter = limiter
        self.known_logins: OrderedDict[int, None] = OrderedDict()
        self.start_checked = True
        self.stopping = False

    def part_of(self, limit: int) -> int:
        """Return this process's part of a limit that holds for all API processes together; 0 is no limit."""
        return part_of(limit, self._api_processes)


def part_of(limit: int, api_processes: int) -> int:
    """Return the part of one of the API processes in a limit for all of them; 0 is no limit."""
    return -(-limit // api_processes)
