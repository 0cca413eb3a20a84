"""A full disk, as far as this process can tell."""

import resource
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def limit_file_size(size: int) -> Generator[None]:
    """Keep this process's files from growing beyond ``size`` bytes, as a quota would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
