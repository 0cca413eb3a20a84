"""Files: where they are kept, and how those of clients become inputs."""

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeAlias

from msgspec import Struct

from framegate.core.characters import Portrait
from framegate.core.types import MediaKind, MediaRef, Variant


class ArtifactStore(Protocol):
    """Files by key ("results/abc.mp4"). A file is stored whole or not at all.

    Every method may block, and raises `Unavailable` when the store can't be reached.
    """

    def check(self) -> None:
        """Check that files can be written and read.

        Raises:
            Unavailable: They can't.
        """
        ...

    def probe(self) -> None:
        """Check as cheaply as possible that the store can be reached and has room.

        What it raises names no paths: clients may read it.

        Raises:
            Unavailable, StorageFull: It can't be used now.
        """
        ...

    def put(self, source: Path, key: str, *, sync: bool = True) -> int:
        """Move the finished file ``source`` to ``key``; return its size in bytes.

        It is durable then, unless ``sync`` is false: it is so, and surely whole, after `syncing`. That is for
        keys that nothing refers to before.
        """
        ...

    def syncing(self, keys: Collection[str]) -> AbstractContextManager[None]:
        """Make files durable, while the block runs, that were put with a false ``sync``."""
        ...

    def path(self, key: str) -> Path | None:
        """Return a local path from which the file can be read, or None if there is no such file."""
        ...

    def fetch(self, key: str, folder: Path) -> Path | None:
        """Return a local path at which the file stays readable for as long as the caller needs it.

        A file that has to be downloaded is put into ``folder``, which the caller removes. None if there is no
        such file.
        """
        ...

    def link(self, key: str, *, method: str, seconds: float) -> str | None:
        """Return a URL at which anybody may ``method`` (GET or HEAD) the file for that long.

        None if the store does not serve files itself.

        Raises:
            NotFound: The store serves files, and there is no such file.
        """
        ...

    def copy(self, key: str, new_key: str) -> None:
        """Copy the file ``key`` to ``new_key``; removing one leaves the other.

        Raises:
            NotFound: There is no such file.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the file if it is there."""
        ...

    def delete_many(self, keys: Collection[str]) -> Mapping[str, str]:
        """Remove those of the files that are there, in as few calls of the store as possible.

        Return those that the store refuses to remove, each with the reason.
        """
        ...

    def workdir(self, name: str) -> Path:
        """Create a private scratch folder on this host, whose files `put` accepts. The caller removes it."""
        ...

    def keys_older_than(self, seconds: float) -> Iterator[str]:
        """Yield the keys of all files that were last written that long ago, by the clock of the store.

        Files may come and go meanwhile. The keys are not all held in memory.
        """
        ...

    def clean_up(self, *, unused_for: float = math.inf) -> None:
        """Remove what killed processes left on this host, and copies unused for that many seconds.

        Ages are those by the clock of the file system that holds them.
        """
        ...


class UrlSource(Struct, frozen=True):
    """An http or https URL."""

    url: str


class Base64Source(Struct, frozen=True):
    """Raw base64, or a data URI."""

    text: str


class BytesSource(Struct, frozen=True):
    """The file's own bytes."""

    data: bytes


FileSource: TypeAlias = UrlSource | Base64Source | BytesSource
"""A file as a client gives it."""


class CollageSource(Struct, frozen=True):
    """Several images that become one, side by side from left to right, and the mask of the first."""

    images: tuple[FileSource, ...]
    mask: FileSource | None = None


class StoredSource(Struct, frozen=True):
    """A file that is stored already: another job's input or result. It is copied."""

    ref: MediaRef


MediaSource: TypeAlias = FileSource | CollageSource | StoredSource
"""An input as a client gives it."""


class MediaIngest(Protocol):
    """Turn media as clients give them into stored inputs.

    ``owner`` is the client (`Client.identity`) in whose share of the server the media are decoded. If a call
    is cancelled, the work ends and nothing remains stored.
    """

    async def ingest(self, source: FileSource, kind: MediaKind, *, owner: str) -> MediaRef:
        """Fetch, check and store an input.

        Raises:
            InvalidMedia: It can't be fetched or read; the message says why.
            Busy: Too much is waiting to be decoded; so do the other methods.
        """
        ...

    async def ingest_collage(self, collage: CollageSource, *, owner: str) -> tuple[MediaRef, MediaRef | None]:
        """Fetch and check images, and store them as one, with a mask of its size if there is one.

        Raises:
            InvalidMedia: A file can't be fetched or read; ``param`` is "mask" if it is that.
        """
        ...

    async def ingest_mask(
        self, source: FileSource, image: MediaRef, *, owner: str, ignore_alpha: bool = False
    ) -> MediaRef:
        """Fetch and check the mask of a stored image, and store it in that image's size: white on black.

        Clients may give it in any size, and mark the area to repaint as white or as transparent; with
        ``ignore_alpha`` as white only.

        Raises:
            InvalidMedia: It can't be fetched or read, or marks nothing.
        """
        ...

    async def ingest_frame(self, video: MediaRef, seconds: float, *, owner: str) -> MediaRef:
        """Store the frame that a stored video shows at that time as an input image of its own.

        Raises:
            NotFound: The video was removed.
        """
        ...

    async def create_portrait(self, video: MediaRef, *, start: float, end: float, owner: str) -> Portrait:
        """Find who (or what) a stored video shows between two times, and store their images.

        Raises:
            InvalidMedia: The interval lies outside the video.
        """
        ...

    def discard(self, ref: MediaRef) -> None:
        """Remove an input that no job uses. May block."""
        ...


class VariantMaker(Protocol):
    """Make images from results."""

    async def make_variant(
        self, source: Path, target: Path, variant: Variant, *, quality: int, owner: str
    ) -> None:
        """Write a variant of the result ``source`` to ``target``; ``quality`` (0–100) is JPEG's and WebP's.

        Raises:
            InvalidMedia: The result can't be decoded.
            Busy: Too much is waiting to be decoded.
        """
        ...
