"""The ids that clients may choose for tasks. Pure."""

_RESERVED = frozenset({"queue", "all", "running", ".", ".."})


def check_task_id(task_id: str) -> None:
    """Check that a client's id can be part of a path.

    Raises:
        ValueError: It can't.
    """
    if not task_id.isprintable() or "/" in task_id or not task_id.strip():
        raise ValueError("Input should be printable and contain no slash")
    if task_id in _RESERVED:
        raise ValueError("This id is part of the API's own paths; choose another one")
