"""Keep the data folder from other users of the machine."""

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from framegate.core.errors import ConfigError

log = structlog.get_logger(__name__)

OURS = ("cache", "files", "uploads", "valkey", "work")
"""The folders that Framegate makes in it."""
_KEY = ("server", "data_dir")
_OTHERS, _GROUP_AND_OTHERS = 0o007, 0o077


def secure_data_folder(folder: Path) -> None:
    """Create and close the data folder as `close_data_folder` does, and set the umask of this process.

    Raises:
        ConfigError: The folder can't be created.
    """
    os.umask(close_data_folder(folder))


@contextmanager
def unusable_as_config_error(folder: Path) -> Generator[None]:
    """Turn what the system says about a data folder that can't be used into a `ConfigError`."""
    try:
        yield
    except PermissionError:
        raise ConfigError(
            f"the data folder {folder} {_owner(folder)} and is closed to this user. Run the command as the "
            "user who runs the server, or choose another folder with --data-dir.",
            key=_KEY,
        ) from None
    except OSError as error:
        raise ConfigError(f"{folder} can't be used: {error.strerror}.", key=_KEY) from None


def _owner(folder: Path) -> str:
    try:
        return f"belongs to the user {folder.owner()}"
    except (OSError, KeyError):  # a folder above it is closed too, or the user has no name
        return "belongs to another user"


def close_data_folder(folder: Path) -> int:
    """Create the data folder if need be, close it to other users, and return the mode bits that are closed.

    A folder with the setgid bit belongs to its group, whose members may run hosts under several users: what
    the group may do stays as it is, and new files are open to it. Otherwise all is its owner's alone.

    Raises:
        ConfigError: The folder can't be created.
    """
    with unusable_as_config_error(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shared = bool(folder.stat().st_mode & stat.S_ISGID)
        os.scandir(folder).close()
    closed = _OTHERS if shared else _GROUP_AND_OTHERS
    for part in _parts(folder):
        with suppress(FileNotFoundError):
            _close(part, closed)
    return closed


def _parts(folder: Path) -> Iterator[Path]:
    # These may have been named by mistake, and others rely on them.
    general = [Path(folder.anchor)]
    with suppress(RuntimeError):  # the user has no home folder
        general.append(Path.home())
    if not folder.stat().st_mode & stat.S_ISVTX and folder not in general:
        yield folder
    yield from (folder / name for name in OURS)


def _close(folder: Path, closed: int) -> None:
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not mode & closed:
        return
    try:
        folder.chmod(mode & ~closed)
        log.info("data_folder_closed", folder=str(folder), mode=f"{mode & ~closed:o}", before=f"{mode:o}")
    except PermissionError:
        log.warning(
            "data_folder_open",
            folder=str(folder),
            mode=f"{mode:o}",
            remedy="it belongs to another user, who should close it with chmod o-rwx (or go-rwx)",
        )
