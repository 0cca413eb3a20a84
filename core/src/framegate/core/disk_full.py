"""A full disk as an error of the core's own."""

import errno
from collections.abc import Generator
from contextlib import contextmanager

from framegate.core.errors import StorageFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def translate_disk_full() -> Generator[None]:
    """Translate the OSError of a full disk, or of an exhausted quota.

    Raises:
        StorageFull: The disk has no room left.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("The server's storage is full; try again later.") from error
        raise
