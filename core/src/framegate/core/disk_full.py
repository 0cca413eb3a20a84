"""What a full disk is called by those who may read it."""

import errno
from collections.abc import Generator
from contextlib import contextmanager

from framegate.core.errors import StorageFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def translate_disk_full() -> Generator[None]:
    """Raises:
    StorageFull: instead of the OSError of a disk, or a quota on it, that has no room left.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("The server's storage is full; try again later.") from error
        raise
