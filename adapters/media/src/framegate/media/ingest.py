"""Fetch, check, decode and store the inputs of a request, before its job is accepted."""

import asyncio
import shutil
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from framegate.core.characters import Portrait
from framegate.core.concurrency import in_thread
from framegate.core.disk_full import translate_disk_full
from framegate.core.errors import InvalidMedia, NotFound
from framegate.core.ports import (
    ArtifactStore,
    Base64Source,
    BytesSource,
    CollageSource,
    FileSource,
    UrlSource,
)
from framegate.core.types import MediaKind, MediaRef
from framegate.media.data_uris import decode_base64
from framegate.media.images.collage import make_collage
from framegate.media.images.decode import PngImage, decode_image
from framegate.media.images.masks import normalize_mask
from framegate.media.network.fetch import UrlFetcher
from framegate.media.portraits import make_portrait
from framegate.media.video.encode import encode_png
from framegate.media.video.frames import frame_at
from framegate.media.video.probe import probe_video

_DECODERS = 2
"""How many inputs are decoded at a time: each may need a few hundred megabytes."""

_COLLAGE_FILES = 2
"""The images of a collage may have this many times the bytes of one file."""


class MediaIngest:
    """Implement the port `MediaIngest`. An input file may have ``max_bytes``, however it arrives."""

    def __init__(self, fetcher: UrlFetcher, artifacts: ArtifactStore, *, max_bytes: int) -> None:
        self._fetcher = fetcher
        self._artifacts = artifacts
        self._max_bytes = max_bytes
        self._decoding = asyncio.Semaphore(_DECODERS)

    async def ingest(self, source: FileSource, kind: MediaKind) -> MediaRef:
        """Fetch, check and store an input.

        Raises:
            InvalidMedia: It can't be fetched or decoded, or exceeds a limit.
        """
        data = await self._read(source, kind)
        store = self._store_image if kind == MediaKind.IMAGE else self._store_video
        async with self._decoding:
            return await in_thread(lambda: store(data), self.discard)

    async def ingest_collage(self, collage: CollageSource) -> tuple[MediaRef, MediaRef | None]:
        """Fetch and check images, and store them as one, with a mask of its size if there is one.

        Raises:
            InvalidMedia: A file can't be fetched or decoded, or they exceed a limit; ``param`` is "mask" if
                it is that.
        """
        images: list[bytes] = []
        for source in collage.images:
            images.append(await self._read(source, MediaKind.IMAGE))
            if sum(map(len, images)) > _COLLAGE_FILES * self._max_bytes:
                raise InvalidMedia(
                    f"The images have more than {_COLLAGE_FILES * self._max_bytes / 2**20:g} MiB together."
                )
        mask = await self._read_mask(collage.mask) if collage.mask else None
        async with self._decoding:
            return await in_thread(lambda: self._store_collage(images, mask), self._discard_collage)

    async def _read_mask(self, source: FileSource) -> bytes:
        try:
            return await self._read(source, "mask")
        except InvalidMedia as error:
            error.param = "mask"
            raise

    async def ingest_mask(
        self, source: FileSource, image: MediaRef, *, ignore_alpha: bool = False
    ) -> MediaRef:
        """Fetch and check the mask of a stored image, and store it in that image's size.

        Its transparent part is redrawn, or with ``ignore_alpha`` its white one; see `normalize_mask`.

        Raises:
            InvalidMedia: It can't be fetched or decoded, exceeds a limit, or marks nothing to edit.
        """
        data = await self._read(source, "mask")
        async with self._decoding:
            return await in_thread(lambda: self._store_mask(data, image, ignore_alpha), self.discard)

    async def _read(self, source: FileSource, noun: str) -> bytes:
        match source:
            case UrlSource(url):
                data = await self._fetcher.fetch(url)
            case Base64Source(text):
                data = await asyncio.to_thread(decode_base64, text, max_bytes=self._max_bytes)
            case BytesSource(data):
                pass
        if not data:
            raise InvalidMedia(f"The {noun} is empty.")
        if len(data) > self._max_bytes:
            raise InvalidMedia(
                f"The {noun} has {len(data) / 2**20:.1f} MiB; "
                f"at most {self._max_bytes / 2**20:g} MiB are accepted."
            )
        return data

    async def ingest_frame(self, video: MediaRef, seconds: float) -> MediaRef:
        """Store the frame at ``seconds`` of a stored video as an input image of its own.

        Raises:
            NotFound: The video was removed.
        """
        async with self._decoding:
            return await in_thread(lambda: self._store_frame(video, seconds), self.discard)

    async def create_portrait(self, video: MediaRef, *, start: float, end: float) -> Portrait:
        """Find whom (or what) the seconds ``start`` to ``end`` of a stored video show, and store images.

        Raises:
            NotFound: The video was removed.
            InvalidMedia: The interval lies outside the video.
        """
        async with self._decoding:
            return await in_thread(lambda: self._store_portrait(video, start, end), self._discard_portrait)

    def discard(self, ref: MediaRef) -> None:
        """Remove an input that no job came to use. May block."""
        self._artifacts.delete(ref.key)

    def _discard_portrait(self, portrait: Portrait) -> None:
        for key in (portrait.avatar, portrait.reference.key):
            self._artifacts.delete(key)

    def _store_image(self, data: bytes) -> MediaRef:
        return self._store_png(decode_image(data))

    def _store_mask(self, data: bytes, image: MediaRef, ignore_alpha: bool) -> MediaRef:
        return self._store_png(normalize_mask(data, image.width, image.height, ignore_alpha=ignore_alpha))

    def _store_collage(self, images: Sequence[bytes], mask: bytes | None) -> tuple[MediaRef, MediaRef | None]:
        collage = make_collage(images, mask)
        image = self._store_png(collage.image)
        try:
            return image, self._store_png(collage.mask) if collage.mask else None
        except BaseException:
            self.discard(image)
            raise

    def _discard_collage(self, refs: tuple[MediaRef, MediaRef | None]) -> None:
        for ref in filter(None, refs):
            self.discard(ref)

    def _store_png(self, image: PngImage) -> MediaRef:
        with self._scratch() as (name, folder):
            path = folder / "image.png"
            path.write_bytes(image.data)
            key = f"inputs/{name}.png"
            self._artifacts.put(path, key)
        return MediaRef(MediaKind.IMAGE, key, image.width, image.height)

    def _store_video(self, data: bytes) -> MediaRef:
        with self._scratch() as (name, folder):
            path = folder / "video"
            path.write_bytes(data)
            info = probe_video(path)
            key = f"inputs/{name}"
            self._artifacts.put(path, key)
        return MediaRef(MediaKind.VIDEO, key, info.width, info.height, info.num_frames, info.fps)

    def _store_frame(self, video: MediaRef, seconds: float) -> MediaRef:
        with self._scratch() as (name, folder):
            frame = frame_at(self._stored(video), seconds)
            path = folder / "image.png"
            encode_png(frame, path)
            key = f"inputs/{name}.png"
            self._artifacts.put(path, key)
        height, width, _ = frame.shape
        return MediaRef(MediaKind.IMAGE, key, width, height)

    def _store_portrait(self, video: MediaRef, start: float, end: float) -> Portrait:
        length = video.num_frames / video.fps
        with self._scratch() as (name, folder):
            files = make_portrait(self._stored(video), folder, start=start, end=end, length=length)
            reference = MediaRef(
                MediaKind.IMAGE, f"characters/{name}/reference.png", files.width, files.height
            )
            portrait = Portrait(f"characters/{name}/avatar.png", reference)
            try:
                self._artifacts.put(files.avatar, portrait.avatar)
                self._artifacts.put(files.reference, reference.key)
            except BaseException:
                self._discard_portrait(portrait)
                raise
        return portrait

    def _stored(self, video: MediaRef) -> Path:
        path = self._artifacts.path(video.key)
        if path is None:
            raise NotFound("The video was removed.")
        return path

    @contextmanager
    def _scratch(self) -> Generator[tuple[str, Path]]:
        """Yield a new unique name and a scratch folder, which is removed at the end of the block."""
        name = uuid.uuid4().hex
        with translate_disk_full():
            folder = self._artifacts.workdir(f"input-{name}")
            try:
                yield name, folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
