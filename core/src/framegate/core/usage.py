"""What owners have used on each day: jobs, GPU seconds, bytes."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Self

from msgspec import Struct, field

KEPT_DAYS = 400
"""For how many days usage is kept, today among them."""


class Usage(Struct, frozen=True, kw_only=True):
    """What was used within some time.

    Attributes:
        jobs: How many jobs were submitted.
        succeeded: How many jobs succeeded.
        failed: How many jobs failed.
        cancelled: How many jobs were cancelled.
        gpu_seconds: How long the jobs that ended had been running: from the beginning of their last attempt.
            Attempts that were lost with their workers, or requeued, are not charged to the key.
        input_bytes: The bytes of the inputs of jobs that were submitted.
        result_bytes: The bytes of the results of jobs that succeeded.
    """

    jobs: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    gpu_seconds: float = 0.0
    input_bytes: int = 0
    result_bytes: int = 0

    @property
    def bytes(self) -> int:
        """The bytes of inputs and results."""
        return self.input_bytes + self.result_bytes

    @classmethod
    def sum(cls, parts: "Iterable[Usage]") -> Self:
        """Return the sum of all parts."""
        summed = list(parts)
        names = Usage.__struct_fields__
        total = {name: sum(getattr(part, name) for part in summed) for name in names}
        # Each part is a number of microseconds, and so is the sum.
        return cls(**{**total, "gpu_seconds": round(total["gpu_seconds"], 6)})


class DailyUsage(Usage, frozen=True, kw_only=True):
    """What the jobs of one key have used on a day in UTC.

    ``owner`` is the key's name; empty where no key was needed.
    """

    day: date
    owner: str = field(name="key")


class UsageReport(Struct, frozen=True):
    """What was used, by day (the latest first) and key, and all of it together."""

    items: Sequence[DailyUsage]
    total: Usage
