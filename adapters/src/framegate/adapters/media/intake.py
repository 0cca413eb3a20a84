"""Takes the inputs of a request: fetched, checked, decoded and stored before the job is accepted."""

import asyncio
import shutil
import uuid

from framegate.adapters.media.decode import decode_base64, decode_image
from framegate.adapters.media.describe import probe_video
from framegate.adapters.media.fetch import UrlFetcher
from framegate.core.errors import InvalidMedia
from framegate.core.ports import ArtifactStore, Base64Source, BytesSource, MediaSource, UrlSource
from framegate.core.types import MediaKind, MediaRef

_DECODERS = 2
"""Pictures that are decoded at once: each may need a few hundred megabytes."""


class MediaIntake:
    """The `MediaFetcher` of production. ``max_bytes`` bounds an input file, however it comes."""

    def __init__(self, fetcher: UrlFetcher, artifacts: ArtifactStore, *, max_bytes: int) -> None:
        self._fetcher = fetcher
        self._artifacts = artifacts
        self._max_bytes = max_bytes
        self._decoding = asyncio.Semaphore(_DECODERS)

    async def take(self, source: MediaSource, kind: MediaKind) -> MediaRef:
        match source:
            case UrlSource(url):
                data = await self._fetcher.fetch(url)
            case Base64Source(text):
                data = await asyncio.to_thread(decode_base64, text)
            case BytesSource(data):
                pass
        if not data:
            raise InvalidMedia(f"The {kind} is empty.")
        if len(data) > self._max_bytes:
            raise InvalidMedia(
                f"The {kind} has {len(data) / 2**20:.1f} MiB; "
                f"at most {self._max_bytes / 2**20:g} MiB are taken."
            )
        store = self._store_image if kind == MediaKind.IMAGE else self._store_video
        async with self._decoding:
            return await asyncio.to_thread(store, data)

    def discard(self, ref: MediaRef) -> None:
        self._artifacts.delete(ref.key)

    def _store_image(self, data: bytes) -> MediaRef:
        image = decode_image(data)
        name = uuid.uuid4().hex
        workdir = self._artifacts.workdir(f"input-{name}")
        try:
            path = workdir / "image.png"
            path.write_bytes(image.png)
            key = f"inputs/{name}.png"
            self._artifacts.put(path, key)
        finally:
            shutil.rmtree(workdir, ignore_errors=True)
        return MediaRef(MediaKind.IMAGE, key, image.width, image.height)

    def _store_video(self, data: bytes) -> MediaRef:
        name = uuid.uuid4().hex
        workdir = self._artifacts.workdir(f"input-{name}")
        try:
            path = workdir / "video"
            path.write_bytes(data)
            info = probe_video(path)
            key = f"inputs/{name}"
            self._artifacts.put(path, key)
        finally:
            shutil.rmtree(workdir, ignore_errors=True)
        return MediaRef(MediaKind.VIDEO, key, info.width, info.height, info.num_frames, info.fps)
