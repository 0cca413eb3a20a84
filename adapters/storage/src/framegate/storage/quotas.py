"""What to say to an owner who keeps too much."""

from framegate.core.errors import QuotaReached


def stored_quota_reached(stored: int, limit: int) -> QuotaReached:
    """Return the error for an owner who keeps ``stored`` bytes, which may be less than its ``limit``."""
    return QuotaReached(
        f"This key stores {_shown(stored)} of the {_shown(limit)} that it may store; delete jobs or "
        "characters, or wait until the files of finished jobs are removed."
    )


def records_quota_reached(recorded: int, limit: int) -> QuotaReached:
    """Return the error for an owner whose jobs' records have ``recorded`` bytes, of at most ``limit``."""
    return QuotaReached(
        f"The records of this key's jobs take {_shown(recorded)} of the {_shown(limit)} that they may take; "
        "delete jobs, or wait until the records of finished jobs are removed."
    )


def gpu_quota_reached(used: float, limit: int, seconds_left: int) -> QuotaReached:
    """Return the error for an owner whose jobs ran for ``used`` seconds today; it has ``seconds_left``."""
    return QuotaReached(
        f"This key's jobs have run for {used:,.1f} s today, of the {limit:,} s that they may run in a day; "
        "the next day begins at 00:00 UTC.",
        retry_after=seconds_left,
    )


def character_quota_reached(count: int) -> QuotaReached:
    """Return the error for an owner who has ``count`` characters and may have no more."""
    return QuotaReached(f"This key has {count:,} characters, which is its limit; delete one first.")


def _shown(size: int) -> str:
    return f"{size:,} bytes" if size < 2**20 else f"{size / 2**20:,.1f} MiB"
