"""Access to the files of finished (and running) jobs."""

import asyncio
import math
import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from framegate.core.errors import ArtifactGone, NotFound
from framegate.core.jobs import Job
from framegate.core.ports import ArtifactStore, JobStore
from framegate.core.types import Artifact, Variant

LINK_SECONDS = 3600.0
"""How long a link to the store itself is valid, unless results' own links expire sooner."""
RESULT_GONE = "The result was removed: its retention time is over."
SOURCE_GONE = "The source video was cleaned up: its retention time is over."
CONCURRENT_VARIANTS = 2
"""Each of them decodes a video."""
_SHARE_ID = re.compile(r"s_[0-9a-f]{32}")


class ResultAccess:
    """Result files, partial images and variants as local paths or links.

    ``link_seconds`` is for how long links to the store are valid at most.
    """

    def __init__(
        self, store: JobStore, artifacts: ArtifactStore, *, link_seconds: float = LINK_SECONDS
    ) -> None:
        self._link_seconds = link_seconds
        self._store = store
        self._artifacts = artifacts
        self._making_variants = asyncio.Semaphore(CONCURRENT_VARIANTS)

    async def path(self, artifact: Artifact) -> Path:
        """Return a local file with the result.

        Raises:
            ArtifactGone: It was removed after its retention.
        """
        path = await asyncio.to_thread(self._artifacts.path, artifact.key)
        if path is None:
            raise ArtifactGone(RESULT_GONE)
        return path

    async def link(self, artifact: Artifact, *, method: str, seconds: float = math.inf) -> str | None:
        """Return a URL at which the store itself serves the result, or None if it does not.

        It is valid for ``seconds`` or the access's own ``link_seconds``, whichever is shorter.

        Raises:
            ArtifactGone: It was removed after its retention.
        """
        try:
            return await asyncio.to_thread(
                self._artifacts.link, artifact.key, method=method, seconds=min(seconds, self._link_seconds)
            )
        except NotFound:
            raise ArtifactGone(RESULT_GONE) from None

    async def partial_image_path(self, job: Job, number: int) -> Path | None:
        """Return a local file with the job's partial image ``number`` (from 0), or None if not made yet."""
        if number >= len(job.partial_image_keys):
            return None
        return await asyncio.to_thread(self._artifacts.path, job.partial_image_keys[number])

    async def variant_path(
        self, artifact: Artifact, variant: Variant, make: Callable[[Path, Path], None]
    ) -> Path:
        """Return a local file with an image made from a result, on first use.

        ``make(result, image)`` writes it, in a thread. A job has only one image of each variant.

        Raises:
            ArtifactGone: The result was removed after its retention.
        """
        source = await self.path(artifact)
        key = artifact.variant_key(variant)
        if path := await asyncio.to_thread(self._artifacts.path, key):
            return path
        async with self._making_variants:
            # It may have been made while this call waited.
            if path := await asyncio.to_thread(self._artifacts.path, key):
                return path
            return await asyncio.to_thread(self._make_variant, artifact, key, source, make)

    async def find_shared(self, share_id: str, owner: str | None = None) -> Job:
        """Return the finished job whose video has this share id; only one of ``owner``, if given.

        Raises:
            NotFound: There is none, or its video is not finished.
            ArtifactGone: Its video was removed after its retention.
        """
        job_id = await self._store.find_shared(share_id) if _SHARE_ID.fullmatch(share_id) else None
        job = await self._store.get(job_id) if job_id else None
        if job is None or (owner is not None and job.owner != owner):
            raise NotFound(f"There is no video {share_id[:100]!r} to remix.", param="remix_of")
        if not job.artifacts:
            raise NotFound(
                f"The video {share_id} can't be remixed: its job is {job.state}.", param="remix_of"
            )
        if await asyncio.to_thread(self._artifacts.path, job.artifacts[0].key) is None:
            raise ArtifactGone(SOURCE_GONE, param="remix_of")
        return job

    def _make_variant(
        self, artifact: Artifact, key: str, source: Path, make: Callable[[Path, Path], None]
    ) -> Path:
        folder = self._artifacts.workdir(f"variant-{uuid.uuid4().hex}")
        try:
            make(source, folder / "image")
            self._artifacts.put(folder / "image", key)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        path = self._artifacts.path(key)
        if path is None or self._artifacts.path(artifact.key) is None:  # retention removed it meanwhile
            self._artifacts.delete(key)
            raise ArtifactGone(RESULT_GONE)
        return path
