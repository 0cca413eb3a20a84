"""Whose files these are: a set of jobs in Valkey and its files belong together.

Among the files a mark names the installation that uses them, and Valkey knows the name. So neither a worker
with another folder or bucket takes jobs whose files it does not have, nor do two servers with a folder each
share a queue.
"""

import shutil
import uuid
from typing import cast

import redis
import structlog
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from framegate.core.errors import ConfigError
from framegate.core.ports import ArtifactStore
from framegate.storage import scripts

log = structlog.get_logger(__name__)

MARK = "installation"
"""The key of the mark among the files."""
INSTALLATION_KEY, MARK_KEY = "installation", "files_mark"
"""The keys in Valkey, below the prefix: the name of the set of jobs, and the mark of its files.

They differ where Valkey has lost everything, and its files are those of the jobs that there were before.
"""
_VISIBLE_SECONDS = 5.0
"""How long another host's mark may take to appear, as in a shared folder."""


class Installation:
    """The installation of the jobs below ``prefix``. Every method may block."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client = client
        self._name_key, self._mark_key = prefix + INSTALLATION_KEY, prefix + MARK_KEY
        self._prefix = prefix
        self._presence = client.register_script(scripts.WORKER_PRESENCE)
        self._api_channel = f"{prefix}keys:changed"

    def claim_files(self, artifacts: ArtifactStore, *, place: str, adopt: bool) -> None:
        """Make sure that these are the files of these jobs, and mark them if no process has done so.

        With ``adopt``, files without a mark replace those that are lost, if no other process is alive that
        would use them. ``place`` tells people where they are.

        Raises:
            ConfigError: They are those of another installation, or not the ones that its other hosts use.
            redis.RedisError, Unavailable: Valkey or the storage can't be reached; it may be tried again.
        """
        mark, known = read_mark(artifacts), self._known_mark()
        if known is None:
            known = mark or self._name()
            if self._client.set(self._mark_key, known, nx=True):
                if mark is None:
                    write_mark(artifacts, known)
                return
            known = self._known_mark()  # another process was quicker
        if mark is None:
            mark = _wait_for_mark(artifacts)
        if mark == known:
            return
        if mark is not None or not adopt or self._others_are_alive():
            raise _mismatch(mark, known, place)
        name = self._replace_mark(known)
        if name is None:  # another API host was quicker
            self.claim_files(artifacts, place=place, adopt=adopt)
            return
        write_mark(artifacts, name)
        log.warning("files_lost", place=place, marked=name)

    def check_files(self, artifacts: ArtifactStore, *, place: str) -> None:
        """Raise what `claim_files` would raise for a worker, and change nothing."""
        mark, known = read_mark(artifacts), self._known_mark()
        if known is not None and mark != known:
            raise _mismatch(mark, known, place)

    def _name(self) -> str:
        self._client.set(self._name_key, uuid.uuid4().hex, nx=True)
        return cast("str", self._client.get(self._name_key))

    def _known_mark(self) -> str | None:
        return cast("str | None", self._client.get(self._mark_key))

    def _others_are_alive(self) -> bool:
        """Return whether a worker announces itself, or an API process follows the keys."""
        workers, _ = cast("tuple[list[str], list[str]]", self._presence(keys=[self._prefix]))
        if workers:
            return True
        [(_, subscribers)] = self._client.pubsub_numsub(self._api_channel)
        return bool(subscribers)

    def _replace_mark(self, lost: str | None) -> str | None:
        """Note a new name for jobs and files, so that nobody else goes on with the old files, and return it.

        None if the mark is not ``lost`` any more.
        """
        name = uuid.uuid4().hex
        with self._client.pipeline() as pipeline:
            pipeline.watch(self._mark_key)  # type: ignore[no-untyped-call]  # untyped in redis-py
            if pipeline.get(self._mark_key) != lost:
                return None
            pipeline.multi()
            pipeline.set(self._name_key, name)
            pipeline.set(self._mark_key, name)
            try:
                pipeline.execute()
            except redis.WatchError:
                return None
        return name


def _mismatch(mark: str | None, known: str | None, place: str) -> ConfigError:
    own_queue = "a queue of its own: another queue.url, or another queue.prefix on the same server"
    if mark is None:
        return ConfigError(
            f"{place} isn't the storage that this queue's other hosts use: it has no file "
            f"{MARK!r}. Set server.data_dir to the folder that they share, or storage.url to their bucket; "
            f"or give this host {own_queue}. If the files are lost, stop all hosts for a minute, and start "
            "an API host first.",
            key=("storage", "url"),
        )
    return ConfigError(
        f"{place} holds the files of another installation (its file {MARK!r} says {mark}; that of "
        f"this queue's files says {known}). Use the folder or bucket of this queue's other hosts, or give "
        f"this host {own_queue}.",
        key=("storage", "url"),
    )


def read_mark(artifacts: ArtifactStore) -> str | None:
    """Return the name of the installation that the files belong to, or None if nobody has marked them."""
    folder = artifacts.workdir(f"mark-{uuid.uuid4().hex}")
    try:
        mark = artifacts.fetch(MARK, folder)
        return None if mark is None else mark.read_text()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_mark(artifacts: ArtifactStore, name: str) -> None:
    """Mark the files as those of the installation ``name``."""
    folder = artifacts.workdir(f"mark-{uuid.uuid4().hex}")
    try:
        new = folder / "new"
        new.write_text(name)
        artifacts.put(new, MARK)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for_mark(artifacts: ArtifactStore) -> str | None:
    retrying = Retrying(
        retry=retry_if_result(lambda mark: mark is None),
        wait=wait_fixed(0.25),
        stop=stop_after_delay(_VISIBLE_SECONDS),
        retry_error_callback=lambda _: None,
    )
    return retrying(read_mark, artifacts)
