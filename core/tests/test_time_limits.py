"""The smallest of the limits that a job has, and the setting that raises it."""

from framegate.core.models import ModelSpec
from framegate.core.registry import ServedModel
from framegate.core.submission import Client
from framegate.core.time_limits import time_limit
from framegate.core.types import Task

DAY = 86_400.0
SPEC = ModelSpec(
    id="wan", summary="A model", backend="nowhere:Backend", tasks=frozenset({Task.TEXT_TO_VIDEO})
)


def limit(
    *, model: float = 0.0, key: float = 0.0, ceiling: float = DAY, expected: float | None = None
) -> tuple[float, str]:
    served = ServedModel("a-name", SPEC, timeout=model)
    return time_limit(served, Client("alice", timeout=key), ceiling=ceiling, expected=expected)


def test_the_smallest_limit_counts() -> None:
    assert limit(model=60) == (60, "models.wan.timeout")
    assert limit(key=60) == (60, "the timeout of the API key 'alice'")
    assert limit(model=60, key=90) == (60, "models.wan.timeout")
    assert limit(model=60, key=30) == (30, "the timeout of the API key 'alice'")
    assert limit(model=2 * DAY) == (0, ""), "that of the workers, which say so themselves"
    assert limit(model=2 * DAY, ceiling=0) == (2 * DAY, "models.wan.timeout")


def test_the_default_follows_from_how_long_the_job_should_run() -> None:
    assert limit() == (0, "")
    assert limit(expected=10) == (1800, "models.wan.timeout")
    assert limit(expected=600) == (6000, "models.wan.timeout")
    assert limit(expected=DAY) == (0, ""), "at most what workers allow"
    assert limit(expected=600, key=7200)[0] == 7200, "what is configured replaces it"
    assert limit(expected=600, ceiling=0) == (0, ""), "the operator wants no limit"
