"""Access to the files of finished (and running) jobs."""

import math
import re
from pathlib import Path

from framegate.core.concurrency import FILE_THREADS, SharedTasks, to_its_end
from framegate.core.errors import ArtifactGone, NotFound
from framegate.core.jobs import Job
from framegate.core.ports import ArtifactStore, JobStore, VariantMaker
from framegate.core.scratch import scratch_folder
from framegate.core.types import Artifact, Variant

LINK_SECONDS = 3600.0
"""How long a link to the store itself is valid, unless results' own links expire sooner."""
RESULT_GONE = "The result was removed: its retention time is over."
FILE_GONE = "The file was removed: its retention time is over."
SOURCE_GONE = "The source video was cleaned up: its retention time is over."
_SHARE_ID = re.compile(r"s_[0-9a-f]{32}")


class ResultAccess:
    """Result files, partial images and variants as local paths or links.

    ``link_seconds`` is for how long links to the store are valid at most.
    """

    def __init__(
        self,
        store: JobStore,
        artifacts: ArtifactStore,
        variants: VariantMaker,
        *,
        link_seconds: float = LINK_SECONDS,
    ) -> None:
        self._link_seconds = link_seconds
        self._store = store
        self._artifacts = artifacts
        self._variants = variants
        self._making: SharedTasks[Path] = SharedTasks()

    async def path(self, artifact: Artifact) -> Path:
        """Return a local file with the result.

        Raises:
            ArtifactGone: It was removed after its retention.
        """
        path = await FILE_THREADS.run(self._artifacts.path, artifact.key)
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
            return await FILE_THREADS.run(
                self._artifacts.link, artifact.key, method=method, seconds=min(seconds, self._link_seconds)
            )
        except NotFound:
            raise ArtifactGone(RESULT_GONE) from None

    async def partial_image(
        self, job: Job, number: int, variant: Variant, *, quality: int = 100
    ) -> bytes | None:
        """Return the job's partial image ``number`` (from 0) in a format, or None if it is not made yet."""
        if number >= job.request.num_partial_images:
            return None
        path: Path | None = None
        for key in (job.partial_image_keys[number], job.earlier_partial_image_keys[number]):
            path = path or await FILE_THREADS.run(self._artifacts.path, key)
        if path is None:
            return None
        try:
            if variant == Variant.PNG:  # as workers store them
                return await FILE_THREADS.run(path.read_bytes)
            async with scratch_folder(self._artifacts, "variant") as folder:
                target = folder / "image"
                await self._variants.make_variant(path, target, variant, quality=quality, owner=job.owner)
                return await FILE_THREADS.run(target.read_bytes)
        except FileNotFoundError:  # its worker has just died
            return None

    async def variant_path(
        self, job: Job, artifact: Artifact, variant: Variant, *, quality: int = 100
    ) -> Path:
        """Return a local file with an image made from a result of ``job``, on first use.

        A job has only one image of each variant, of whatever ``quality`` (0–100) is given first. All who want
        it at that time wait for the same one; its decoding takes the share of the job's owner.

        Raises:
            ArtifactGone: The result was removed after its retention.
            InvalidMedia: The result can't be decoded.
            Busy: Too much is waiting to be decoded.
        """
        source = await self.path(artifact)
        key = artifact.variant_key(variant)
        if path := await FILE_THREADS.run(self._artifacts.path, key):
            return path

        async def make() -> Path:
            # It may have been made since this call looked for it.
            if path := await FILE_THREADS.run(self._artifacts.path, key):
                return path
            async with scratch_folder(self._artifacts, "variant") as folder:
                image = folder / "image"
                await self._variants.make_variant(source, image, variant, quality=quality, owner=job.owner)
                return await to_its_end(FILE_THREADS.run(self._store_variant, artifact, key, image))

        return await self._making.run(key, make)

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
        if await FILE_THREADS.run(self._artifacts.path, job.artifacts[0].key) is None:
            raise ArtifactGone(SOURCE_GONE, param="remix_of")
        return job

    def _store_variant(self, artifact: Artifact, key: str, image: Path) -> Path:
        self._artifacts.put(image, key)
        path = self._artifacts.path(key)
        if path is None or self._artifacts.path(artifact.key) is None:  # retention removed it meanwhile
            self._artifacts.delete(key)
            raise ArtifactGone(RESULT_GONE)
        return path
