"""What an API process keeps while it runs, whatever config it serves."""

from collections import OrderedDict

from framegate.server.limits.limiter import RateLimiter


class ProcessState:
    """The state that outlives a reload of the config: nobody gets new requests to spend, or is forgotten.

    Attributes:
        limiter: The rates of keys and addresses.
        known_logins: Keys that were right, as `LoginThrottle` remembers them.
        start_checked: Whether queue and storage were found to be those of this installation.
        stopping: Whether the process was told to stop.
    """

    def __init__(self, limiter: RateLimiter) -> None:
        self.limiter = limiter
        self.known_logins: OrderedDict[int, None] = OrderedDict()
        self.start_checked = True
        self.stopping = False
