"""How long a job may run: the smallest of the limits that its model, its key and the workers have."""

from framegate.core.registry import ServedModel, timeout_setting
from framegate.core.submission import Client

SHORTEST_DEFAULT = 1800.0
"""Seconds that jobs may run by default, however short they are expected to be."""
DEFAULT_FACTOR = 10
"""How many times longer than expected a job may run by default."""


def time_limit(
    served: ServedModel, client: Client, *, ceiling: float, expected: float | None
) -> tuple[float, str]:
    """Return how many seconds a job may run, and the setting that raises that.

    The result is (0, "") if only the workers' own limit applies. ``ceiling`` is that limit (0: they have
    none), ``expected`` how long the job is expected to run, from which follows the default where neither
    model nor key has a limit; without a ceiling, or an expectation, there is no default.
    """
    model_setting = timeout_setting(served.spec.id)
    limits = [(float(served.timeout), model_setting)] if served.timeout else []
    if client.timeout:
        limits.append((float(client.timeout), f"the timeout of the API key {client.name!r}"))
    if not limits and ceiling and expected is not None:
        limits.append((max(SHORTEST_DEFAULT, DEFAULT_FACTOR * expected), model_setting))
    if not limits or (ceiling and ceiling <= min(limits)[0]):
        return 0.0, ""
    return min(limits)
