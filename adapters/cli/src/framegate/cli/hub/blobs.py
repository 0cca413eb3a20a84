"""Large files of a hub: fetched in resumable pieces, and checked against the hub's own SHA-256."""

import hashlib
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path

import httpx
from msgspec import Struct
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from framegate.core.errors import FramegateError

PIECE = 2**20
"""Bytes that are read of a file at a time."""
TRIES = 5
"""How often in a row a connection may break before a download is given up."""
SILENT_SECONDS = 60.0
"""How long the hub may send nothing."""


class PullFailed(FramegateError):
    """A model could not be downloaded."""

    code = "pull_failed"


class PullStopped(Exception):
    """The user has stopped the download, or another file of it has failed."""


class Blob(Struct, frozen=True):
    """A file of a repository, by its content: its ``name`` there, bytes, and SHA-256."""

    name: str
    url: str
    size: int
    sha256: str


class BlobFetcher:
    """Fetch blobs into ``folder``, each under its SHA-256, and count their bytes with ``advance``.

    An interrupted download is continued where it ended, also by another process. ``advance`` is also called
    for bytes that are there already; a negative number takes those of a broken file back. It is called by
    many threads, each with files of its own.
    """

    def __init__(
        self,
        folder: Path,
        headers: Mapping[str, str],
        *,
        advance: Callable[[int], None],
        stopping: threading.Event,
    ) -> None:
        self._folder = folder
        self._advance = advance
        self._stopping = stopping
        # Headers with the token are dropped where a redirect leads to another host.
        self._client = httpx.Client(headers=headers, follow_redirects=True, timeout=SILENT_SECONDS)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def missing_bytes(self, blob: Blob) -> int:
        """Return how many bytes of a blob have yet to be downloaded."""
        if (self._folder / blob.sha256).is_file():
            return 0
        partial = self._partial(blob)
        return blob.size - min(partial.stat().st_size if partial.is_file() else 0, blob.size)

    def fetch(self, blob: Blob) -> int:
        """See to it that the blob is there as a whole, and return how many bytes were downloaded.

        Raises:
            PullFailed: The hub doesn't send it, or sends something else.
            PullStopped: The download was stopped.
        """
        whole = self._folder / blob.sha256
        if whole.is_file():
            if self._is_intact(whole, blob):
                return 0
            whole.unlink()
        received = 0
        for is_last in (False, True):
            received += self._download(blob)
            if self._is_intact(self._partial(blob), blob, count=False):
                self._partial(blob).rename(whole)
                return received
            self._partial(blob).unlink()
            self._advance(-blob.size)
            if is_last:
                break
        raise PullFailed(f"{blob.name} arrived damaged twice: its SHA-256 is not the one that the hub names.")

    def _partial(self, blob: Blob) -> Path:
        return self._folder / f"{blob.sha256}.incomplete"

    def _download(self, blob: Blob) -> int:
        """Complete the partial file, and return how many bytes arrived."""
        retrying = Retrying(
            retry=retry_if_exception_type(httpx.TransportError),
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(multiplier=0.2, max=10),
            sleep=self._sleep,
            reraise=True,
        )
        partial = self._partial(blob)
        if partial.is_file():
            self._advance(min(partial.stat().st_size, blob.size))
        before = partial.stat().st_size if partial.is_file() else 0
        try:
            retrying(self._receive, blob, partial)
        except httpx.TransportError as error:
            raise PullFailed(
                f"The connection broke while {blob.name} was downloaded ({type(error).__name__}). "
                "Pull again: it continues where it ended."
            ) from None
        return partial.stat().st_size - before

    def _receive(self, blob: Blob, partial: Path) -> None:
        with partial.open("ab") as file:
            start = file.tell()
            if start >= blob.size:
                return
            with self._client.stream("GET", blob.url, headers={"Range": f"bytes={start}-"}) as response:
                if response.status_code == HTTPStatus.OK and start:  # all of it, from its beginning
                    self._advance(-start)
                    file.truncate(0)
                elif not response.is_success:
                    raise PullFailed(f"{blob.name}: the hub answers {response.status_code}.")
                for piece in response.iter_raw():
                    if self._stopping.is_set():
                        raise PullStopped
                    file.write(piece)
                    self._advance(len(piece))

    def _is_intact(self, path: Path, blob: Blob, *, count: bool = True) -> bool:
        if path.stat().st_size != blob.size:
            return False
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                if self._stopping.is_set():
                    raise PullStopped
                digest.update(piece)
        if digest.hexdigest() != blob.sha256:
            return False
        if count:
            self._advance(blob.size)
        return True

    def _sleep(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise PullStopped
