"""What was changed about a request to fit it to its model, as responses show it."""

from collections.abc import Mapping

from msgspec import Struct

from framegate.core.jobs import Job


class FieldChange(Struct, frozen=True):
    """A value that the model can't take: what was ``asked``, what was ``used`` instead, and ``why``."""

    field: str
    asked: float | str
    used: float | str
    why: str


def field_changes(job: Job, names: Mapping[str, str] | None = None) -> list[FieldChange]:
    """Return what was changed about a job's request.

    ``names`` are a dialect's names of the core's request fields, where they differ.
    """
    if not job.changes:
        return []
    return [
        FieldChange((names or {}).get(change.field, change.field), change.requested, change.used, change.why)
        for change in job.changes
    ]
