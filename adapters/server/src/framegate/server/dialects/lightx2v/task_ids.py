"""The ids of tasks, which clients may choose, and the jobs' ids behind them. Pure."""

import hashlib
import re

from framegate.core.jobs import Job

TASK_ID = "task_id"
"""The label of a job whose id is not that of its task."""

_RESERVED = frozenset({"queue", "all", "running", ".", ".."})
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_HASHED = re.compile(r"~[0-9a-f]{64}")


def check_task_id(task_id: str) -> None:
    """Check that a client's id can be part of a path.

    Raises:
        ValueError: It can't.
    """
    if not task_id.isprintable() or "/" in task_id or not task_id.strip():
        raise ValueError("Input should be printable and contain no slash")
    if task_id in _RESERVED:
        raise ValueError("This id is part of the API's own paths; choose another one")


def job_id_of(task_id: str) -> str:
    """Return the id of a task's job: the same if it is safe as the name of a file, else a digest of it."""
    if _PLAIN.fullmatch(task_id):
        return task_id
    return "~" + hashlib.sha256(task_id.encode(errors="surrogatepass")).hexdigest()


def task_id_of(job: Job) -> str:
    """Return the id by which clients know a job."""
    return job.labels.get(TASK_ID, job.id)


def named_job_id(name: str) -> str:
    """Return the id of the job whose result has this name without its suffix: the task's id, or the job's."""
    return name if _HASHED.fullmatch(name) else job_id_of(name)
