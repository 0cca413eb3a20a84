"""Result and input files in an S3 bucket, for hosts that share no folder."""

import datetime
import math
import os
import shutil
import uuid
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from msgspec import Struct
from obstore.exceptions import BaseError, PermissionDeniedError
from obstore.store import S3Store

from framegate.core.errors import ConfigError, NotFound, Unavailable
from framegate.storage.artifacts.file_cache import FileCache, local_name
from framegate.storage.artifacts.walking import file_system_time
from framegate.storage.artifacts.workdirs import clear_abandoned, fresh_folder

if TYPE_CHECKING:
    from obstore.store import S3Config

_SECONDS = datetime.timedelta(seconds=1)
_RETRY_FOR = 30 * _SECONDS
_TIMEOUT = 60 * _SECONDS


class BucketAccess(Struct, frozen=True):
    """How a bucket is reached.

    What is empty comes from the usual ``AWS_…`` variables, or from the role of the machine. ``endpoint`` is
    the URL of an S3 server other than Amazon's.
    """

    endpoint: str = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""


class BucketStore:
    """The `ArtifactStore` in the bucket and below the prefix of ``url`` ("s3://bucket/prefix").

    An object appears when its upload is complete, so nobody sees half of one. ``folder`` holds files that are
    being made and at most ``cache_bytes`` of downloaded copies. With ``redirect`` clients download from the
    bucket itself, by signed URLs.

    Methods raise `Unavailable` when the bucket can't be reached or refuses the access.
    """

    def __init__(
        self, url: str, access: BucketAccess, folder: Path, *, cache_bytes: int, redirect: bool
    ) -> None:
        self._cache = FileCache(folder / "cache", max_bytes=cache_bytes)
        self._work = folder / "work"
        self._redirect = redirect
        config: S3Config = {}
        if access.endpoint:
            config["endpoint"] = access.endpoint
        if access.region:
            config["region"] = access.region
        if access.access_key_id:
            config["access_key_id"] = access.access_key_id
            config["secret_access_key"] = access.secret_access_key
        try:
            self._bucket = S3Store.from_url(
                url,
                config=config,
                client_options={"allow_http": access.endpoint.startswith("http://"), "timeout": _TIMEOUT},
                retry_config={"max_retries": 5, "retry_timeout": _RETRY_FOR},
            )
        except (BaseError, ValueError) as error:
            raise ConfigError(
                f"the bucket {url} can't be used: {_first_line(error)}.", key=("storage", "url")
            ) from None

    def check(self) -> None:
        """Raise `Unavailable` if files can't be written and read."""
        key = f"probes/{uuid.uuid4().hex}"
        with _storage_errors_as_unavailable():
            obstore.put(self._bucket, key, b"")
            obstore.head(self._bucket, key)
            obstore.delete(self._bucket, key)

    def probe(self) -> None:
        """Ask for an object that isn't there, and raise `Unavailable` if nobody answers."""
        with _storage_errors_as_unavailable(), suppress(FileNotFoundError):
            obstore.head(self._bucket, "probes/none")

    def put(self, source: Path, key: str, *, sync: bool = True) -> int:
        """Move the finished file ``source`` to ``key``; return its size in bytes."""
        size = source.stat().st_size
        with _storage_errors_as_unavailable():
            obstore.put(self._bucket, key, source, attributes={"Content-Type": _content_type(key)})
        source.unlink()
        return size

    def syncing(self, keys: Collection[str]) -> AbstractContextManager[None]:
        """Do nothing: an object is durable once it was put."""
        return nullcontext()

    def path(self, key: str) -> Path | None:
        """Return the path of a cached copy, downloading it if needed, or None if there is no such file."""
        with _storage_errors_as_unavailable():
            try:
                found = obstore.head(self._bucket, key)
            except FileNotFoundError:
                self._cache.drop(key)
                return None
        path = self._cache.find(key)
        if path is None:
            scratch = self.workdir(f"download-{uuid.uuid4().hex}")
            try:
                fetched = self.fetch(key, scratch)
                if fetched is None:
                    return None
                path = self._cache.add(key, fetched)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        # With the object's own time every host computes the same ETag.
        with suppress(FileNotFoundError):
            os.utime(path, (file_system_time(path.parent), found["last_modified"].timestamp()))
        return path

    def fetch(self, key: str, folder: Path) -> Path | None:
        """Download the file into ``folder`` and return its path, or None if there is no such file."""
        path = folder / local_name(key)
        if path.is_file():
            return path
        with _storage_errors_as_unavailable():
            try:
                stream = obstore.get(self._bucket, key).stream()
            except FileNotFoundError:
                return None
            part = path.with_name(f"part-{uuid.uuid4().hex}")
            with part.open("wb") as file:
                for chunk in stream:
                    file.write(chunk)
        return part.replace(path)

    def link(self, key: str, *, method: str, seconds: float) -> str | None:
        """Return a signed URL for ``method`` (GET or HEAD), or None without ``redirect``.

        Raises:
            NotFound: There is no such file.
        """
        if not self._redirect:
            return None
        with _storage_errors_as_unavailable():
            try:
                obstore.head(self._bucket, key)
            except FileNotFoundError:
                raise NotFound("There is no such file.") from None
            return obstore.sign(self._bucket, "HEAD" if method == "HEAD" else "GET", key, seconds * _SECONDS)

    def copy(self, key: str, new_key: str) -> None:
        """Copy the file ``key`` to ``new_key`` within the bucket.

        Raises:
            NotFound: There is no such file.
        """
        with _storage_errors_as_unavailable():
            try:
                obstore.copy(self._bucket, key, new_key)
            except FileNotFoundError:
                raise NotFound("There is no such file.") from None

    def delete(self, key: str) -> None:
        """Remove the file, and this host's copy of it, if it is there."""
        self._cache.drop(key)
        with _storage_errors_as_unavailable(), suppress(FileNotFoundError):
            obstore.delete(self._bucket, key)

    def delete_many(self, keys: Collection[str]) -> Mapping[str, str]:
        """Remove those of the files that are there; return those that the bucket keeps, with the reasons.

        The bucket is called once for every thousand.
        """
        for key in keys:
            self._cache.drop(key)
        with _storage_errors_as_unavailable():
            try:
                obstore.delete(self._bucket, list(keys))
            except BaseError as error:
                if not _concerns_one_object(error):
                    raise
                return self._delete_each(keys)
        return {}

    def _delete_each(self, keys: Collection[str]) -> Mapping[str, str]:
        """Do as `delete_many`, to find out which of the files it is that the bucket keeps."""
        kept: dict[str, str] = {}
        for key in keys:
            try:
                obstore.delete(self._bucket, key)
            except FileNotFoundError:
                continue
            except BaseError as error:
                if not _concerns_one_object(error):
                    raise
                kept[key] = "The bucket refuses to remove it."
        return kept

    def workdir(self, name: str) -> Path:
        """Return an empty scratch folder on this host; the caller removes it."""
        return fresh_folder(self._work / name)

    def keys_older_than(self, seconds: float) -> Iterator[str]:
        """Yield the keys of files last written that long ago, by the clock of the bucket."""
        with _storage_errors_as_unavailable():
            moment = self._time() - seconds
            for page in obstore.list(self._bucket, chunk_size=1000):
                for entry in page:
                    if entry["last_modified"].timestamp() < moment:
                        yield entry["path"]

    def _time(self) -> float:
        """Return the time in seconds since the epoch by the clock of the bucket."""
        key = f"probes/{uuid.uuid4().hex}"
        obstore.put(self._bucket, key, b"")
        found = obstore.head(self._bucket, key)
        obstore.delete(self._bucket, key)
        return found["last_modified"].timestamp()

    def clean_up(self, *, unused_for: float = math.inf) -> None:
        """Remove copies unused for that many seconds, and scratch folders of processes that were killed."""
        self._cache.clean_up(unused_for)
        clear_abandoned(self._work)


@contextmanager
def _storage_errors_as_unavailable() -> Generator[None]:
    try:
        yield
    except FileNotFoundError as error:  # a missing object was caught above
        raise Unavailable("The storage has no such bucket.") from error
    except BaseError as error:
        raise Unavailable(_explain(error)) from error


def _explain(error: BaseError) -> str:
    if isinstance(error, obstore.exceptions.PermissionDeniedError | obstore.exceptions.UnauthenticatedError):
        return "The storage refuses this server's access."
    return "The storage can't be reached right now; try again shortly."


def _concerns_one_object(error: BaseError) -> bool:
    """Return whether the bucket refused something with one object, as where that is locked."""
    return isinstance(error, PermissionDeniedError) or "request failed for key" in str(error)


def _content_type(key: str) -> str:
    return guess_type(key)[0] or "application/octet-stream"


def _first_line(error: Any) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
