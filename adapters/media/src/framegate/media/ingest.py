"""Fetch, check, decode and store the inputs of a request, before its job is accepted."""

import uuid
from pathlib import Path

from msgspec.structs import replace

from framegate.core.characters import Portrait
from framegate.core.concurrency import FILE_THREADS, PARSER_THREADS, in_thread, to_its_end
from framegate.core.errors import InvalidMedia, NotFound
from framegate.core.ports import (
    ArtifactStore,
    Base64Source,
    BytesSource,
    CollageSource,
    FileSource,
    UrlSource,
)
from framegate.core.scratch import scratch_folder
from framegate.core.types import MediaKind, MediaRef
from framegate.media.data_uris import decode_base64
from framegate.media.decoding.pool import DecoderPool
from framegate.media.decoding.tasks import (
    DecodeImage,
    ExtractFrame,
    MakeCollage,
    MakePortrait,
    MediaInfo,
    NormalizeMask,
    ProbeVideo,
)
from framegate.media.network.fetch import UrlFetcher

_COLLAGE_FILES = 2
"""The images of a collage may have this many times the bytes of one file."""


class MediaIngest:
    """Implement the port `MediaIngest`. An input file may have ``max_bytes``, however it arrives.

    Files are handed to the decoders, and come back, in a scratch folder of the artifact store.
    """

    def __init__(
        self, fetcher: UrlFetcher, artifacts: ArtifactStore, decoders: DecoderPool, *, max_bytes: int
    ) -> None:
        self._fetcher = fetcher
        self._artifacts = artifacts
        self._decoders = decoders
        self._max_bytes = max_bytes

    async def ingest(self, source: FileSource, kind: MediaKind, *, owner: str) -> MediaRef:
        """Fetch, check and store an input.

        Raises:
            InvalidMedia: It can't be fetched or decoded, or exceeds a limit.
            Busy: Too much is waiting to be decoded; so do the other methods.
        """
        async with scratch_folder(self._artifacts, "input") as folder:
            given, image = folder / "given", folder / "image.png"
            await self._write(source, given, kind, owner)
            if kind == MediaKind.VIDEO:
                info = await self._decoders.run(ProbeVideo(given), owner=owner)
                return await self._store(given, MediaKind.VIDEO, info)
            info = await self._decoders.run(DecodeImage(given, image), owner=owner)
            return await self._store(image, MediaKind.IMAGE, info)

    async def ingest_collage(self, collage: CollageSource, *, owner: str) -> tuple[MediaRef, MediaRef | None]:
        """Fetch and check images, and store them as one, with a mask of its size if there is one.

        Raises:
            InvalidMedia: A file can't be fetched or decoded, or they exceed a limit; ``param`` is "mask" if
                it is that.
        """
        async with scratch_folder(self._artifacts, "input") as folder:
            images = await self._write_images(collage, folder, owner)
            mask = folder / "mask" if collage.mask else None
            if collage.mask and mask:
                await self._write_mask(collage.mask, mask, owner)
            image_target, mask_target = folder / "image.png", folder / "mask.png"
            task = MakeCollage(images, image_target, mask, mask_target)
            info = await self._decoders.run(task, owner=owner)
            image = await self._store(image_target, MediaKind.IMAGE, info)
            try:
                return image, await self._store(mask_target, MediaKind.IMAGE, info) if mask else None
            except BaseException:
                await to_its_end(FILE_THREADS.run(self.discard, image))
                raise

    async def _write_images(self, collage: CollageSource, folder: Path, owner: str) -> tuple[Path, ...]:
        paths: list[Path] = []
        total = 0
        for number, source in enumerate(collage.images):
            paths.append(folder / f"given-{number}")
            total += await self._write(source, paths[-1], MediaKind.IMAGE, owner)
            if total > _COLLAGE_FILES * self._max_bytes:
                raise InvalidMedia(
                    f"The images have more than {_COLLAGE_FILES * self._max_bytes / 2**20:g} MiB together."
                )
        return tuple(paths)

    async def _write_mask(self, source: FileSource, target: Path, owner: str) -> None:
        try:
            await self._write(source, target, "mask", owner)
        except InvalidMedia as error:
            error.param = "mask"
            raise

    async def ingest_mask(
        self, source: FileSource, image: MediaRef, *, owner: str, ignore_alpha: bool = False
    ) -> MediaRef:
        """Fetch and check the mask of a stored image, and store it in that image's size.

        Its transparent part is redrawn, or with ``ignore_alpha`` its white one; see `normalize_mask`.

        Raises:
            InvalidMedia: It can't be fetched or decoded, exceeds a limit, or marks nothing to edit.
        """
        async with scratch_folder(self._artifacts, "input") as folder:
            given, mask = folder / "given", folder / "mask.png"
            await self._write(source, given, "mask", owner)
            task = NormalizeMask(given, mask, image.width, image.height, ignore_alpha)
            return await self._store(mask, MediaKind.IMAGE, await self._decoders.run(task, owner=owner))

    async def _write(self, source: FileSource, target: Path, noun: str, owner: str) -> int:
        """Write the file to ``target``; return its size."""
        match source:
            case UrlSource(url):
                return await self._fetcher.download(url, target, owner=owner)
            case Base64Source(text):
                data = await PARSER_THREADS.run(decode_base64, text, max_bytes=self._max_bytes)
            case BytesSource(data):
                pass
        if not data:
            raise InvalidMedia(f"The {noun} is empty.")
        if len(data) > self._max_bytes:
            raise InvalidMedia(
                f"The {noun} has {len(data) / 2**20:.1f} MiB; "
                f"at most {self._max_bytes / 2**20:g} MiB are accepted."
            )
        return await FILE_THREADS.run(target.write_bytes, data)

    async def ingest_frame(self, video: MediaRef, seconds: float, *, owner: str) -> MediaRef:
        """Store the frame at ``seconds`` of a stored video as an input image of its own.

        Raises:
            NotFound: The video was removed.
        """
        path = await self._path_of(video)
        async with scratch_folder(self._artifacts, "input") as folder:
            image = folder / "image.png"
            info = await self._decoders.run(ExtractFrame(path, image, seconds), owner=owner)
            return await self._store(image, MediaKind.IMAGE, info)

    async def create_portrait(self, video: MediaRef, *, start: float, end: float, owner: str) -> Portrait:
        """Find whom (or what) the seconds ``start`` to ``end`` of a stored video show, and store images.

        Raises:
            NotFound: The video was removed.
            InvalidMedia: The interval lies outside the video.
        """
        path = await self._path_of(video)
        async with scratch_folder(self._artifacts, "input") as folder:
            length = video.num_frames / video.fps
            info = await self._decoders.run(MakePortrait(path, folder, start, end, length), owner=owner)
            return await in_thread(lambda: self._put_portrait(folder, info), self._discard_portrait)

    def discard(self, ref: MediaRef) -> None:
        """Remove an input that no job came to use. May block."""
        self._artifacts.delete(ref.key)

    def _put_portrait(self, folder: Path, info: MediaInfo) -> Portrait:
        keys = f"characters/{uuid.uuid4().hex}"
        reference = MediaRef(MediaKind.IMAGE, f"{keys}/reference.png", info.width, info.height)
        portrait = Portrait(f"{keys}/avatar.png", reference)
        try:
            avatar_size = self._artifacts.put(folder / "avatar.png", portrait.avatar)
            size = self._artifacts.put(folder / "reference.png", reference.key)
        except BaseException:
            self._discard_portrait(portrait)
            raise
        return Portrait(portrait.avatar, replace(reference, size=size), avatar_size)

    def _discard_portrait(self, portrait: Portrait) -> None:
        for key in (portrait.avatar, portrait.reference.key):
            self._artifacts.delete(key)

    async def _store(self, path: Path, kind: MediaKind, info: MediaInfo) -> MediaRef:
        """Store a file of the scratch folder as an input."""
        key = f"inputs/{uuid.uuid4().hex}{'.png' if kind == MediaKind.IMAGE else ''}"

        def put() -> MediaRef:
            size = self._artifacts.put(path, key)
            return MediaRef(kind, key, info.width, info.height, info.num_frames, info.fps, size)

        return await in_thread(put, self.discard)

    async def _path_of(self, video: MediaRef) -> Path:
        path = await FILE_THREADS.run(self._artifacts.path, video.key)
        if path is None:
            raise NotFound("The video was removed.")
        return path
