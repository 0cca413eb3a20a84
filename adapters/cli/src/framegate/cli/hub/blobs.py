"""Large files of a hub: fetched in resumable pieces, and checked against the hub's own SHA-256."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, BinaryIO

import httpx
from msgspec import Meta, Struct

from framegate.core.errors import FramegateError

PIECE = 2**20
"""Bytes that are read of a file at a time."""
TRIES = 5
"""How often in a row a connection may break without a new byte before a download is given up."""
PAUSES = (0.2, 1.0, 5.0, 10.0)
"""Seconds before the next tries."""
LONGEST_PAUSE = 300.0
"""How long the hub may have us wait."""
SILENT_SECONDS = 60.0
"""How long the hub may send nothing."""


class PullFailed(FramegateError):
    """A model could not be downloaded."""

    code = "pull_failed"


class PullStopped(Exception):
    """The user has stopped the download, or another file of it has failed."""


class _Interrupted(Exception):
    """A download may go on after a pause, of ``seconds`` at least."""

    def __init__(self, why: str, seconds: float = 0.0) -> None:
        super().__init__(why)
        self.seconds = seconds


class Blob(Struct, frozen=True):
    """A file of a repository, by its content: its ``name`` there, bytes, and SHA-256.

    The hub says what these are, and the SHA-256 becomes the name of a file here: convert with
    `msgspec.convert`, which checks them.
    """

    name: str
    url: str
    size: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


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
        """Download what is missing of the blob, check it, and return how many bytes were downloaded.

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
        partial = self._partial(blob)
        before = best = partial.stat().st_size if partial.is_file() else 0
        self._advance(min(before, blob.size))
        failures = 0
        while True:
            try:
                self._receive(blob, partial)
            except _Interrupted as error:
                there = partial.stat().st_size
                failures = 1 if there > best else failures + 1
                best = max(best, there)
                if failures == TRIES:
                    raise PullFailed(
                        f"{blob.name} could not be downloaded as a whole: {error}. "
                        "Pull again: it continues where it ended."
                    ) from None
                self._sleep(max(PAUSES[failures - 1], error.seconds))
            else:
                return partial.stat().st_size - before

    def _receive(self, blob: Blob, partial: Path) -> None:
        """Receive what is missing, and never more than that.

        Raises:
            _Interrupted: Not all of it has come.
        """
        with partial.open("ab") as file:
            left = blob.size - file.tell()
            if left <= 0:
                return
            try:
                for piece in self._pieces(blob, file):
                    left = blob.size - file.tell()
                    file.write(piece[:left])
                    self._advance(min(len(piece), left))
                    if len(piece) >= left:
                        return
            except httpx.TransportError as error:
                raise _Interrupted(f"the connection broke ({type(error).__name__})") from None

    def _pieces(self, blob: Blob, file: BinaryIO) -> Iterator[bytes]:
        """Yield what follows the end of ``file``, which is emptied where the hub sends all from the start."""
        start = file.tell()
        with self._client.stream("GET", blob.url, headers={"Range": f"bytes={start}-"}) as response:
            status = response.status_code
            if status == HTTPStatus.TOO_MANY_REQUESTS or response.is_server_error:
                raise _Interrupted(f"the hub answers {status}", _retry_after(response))
            if not response.is_success:
                raise PullFailed(f"{blob.name}: the hub answers {status}.")
            if status == HTTPStatus.OK and start:
                self._advance(-start)
                file.truncate(0)
            for piece in response.iter_raw():
                if self._stopping.is_set():
                    raise PullStopped
                yield piece

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


def _retry_after(response: httpx.Response) -> float:
    """Return after how many seconds the hub wants to be asked again; 0 if it doesn't say."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), LONGEST_PAUSE) if text.isascii() and text.isdigit() else 0.0
