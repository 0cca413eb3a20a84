"""A `JobService` over ports in memory, for tests of what the service promises."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from framegate.core.availability import WORKER_GRACE
from framegate.core.dialect import CatalogueName
from framegate.core.jobs import CLIENT_ID_LABEL, Job
from framegate.core.models import Defaults, FrameRule, ModelSpec, SizeRule
from framegate.core.ports import BytesSource, IdempotencyKey, MediaSource, UrlSource, WorkerInfo
from framegate.core.registry import ModelConfig, Registry
from framegate.core.submission import Client, Submission
from framegate.core.testing import (
    InMemoryArtifactStore,
    InMemoryCharacterStore,
    InMemoryJobStore,
    InMemoryKeyStore,
    InMemorySecretStore,
    StaticMediaIngest,
    StaticVariantMaker,
)
from framegate.core.types import Artifact, GenerationRequest, MediaKind, Task
from framegate.core.wiring import create_services

PREVIEW = ModelSpec(
    id="preview",
    summary="",
    backend="nowhere:Nothing",
    tasks=frozenset(Task),
    sizes=SizeRule(multiple_of=16),
    frames=FrameRule(4, 1, 5, 81),
    defaults=Defaults(width=640, height=480, fps=16.0, num_frames=33),
)
BROKEN = UrlSource("https://example.com/broken.png")
PICTURE = BytesSource(b"a picture")
ALICE, BOB = Client("alice"), Client("bob")
CATALOGUE = (
    CatalogueName("api-video", MediaKind.VIDEO, Defaults(width=720, height=1280, fps=24.0, duration=4.0)),
    CatalogueName(
        "api-video-10s",
        MediaKind.VIDEO,
        Defaults(width=720, height=1280, fps=30.0, duration=10.0),
        max_duration=10.0,
    ),
    CatalogueName("api-video-pro", MediaKind.VIDEO, Defaults(), plan="gold"),
    CatalogueName(
        "api-from-image", MediaKind.VIDEO, Defaults(), tasks=frozenset({Task.IMAGE_TO_VIDEO}), max_running=2
    ),
)


class ServiceStand:
    """Serves ``spec`` by its own name and those of `CATALOGUE`; one worker is alive."""

    def __init__(
        self,
        folder: Path,
        *,
        spec: ModelSpec = PREVIEW,
        max_queued: int = 0,
        store: Any = None,
        models: Mapping[str, ModelConfig] | None = None,
        worker_grace: float = WORKER_GRACE,
        variants: StaticVariantMaker | None = None,
    ) -> None:
        self.store: InMemoryJobStore = store or InMemoryJobStore()
        self.store.living.append(WorkerInfo("w1", "here", 1, "cpu", "0", ("preview",), 0.0))
        self.artifacts = InMemoryArtifactStore(folder)
        self.media = StaticMediaIngest(1000, 500, broken=[BROKEN.url], artifacts=self.artifacts)
        self.variants = variants or StaticVariantMaker()
        self.folder = folder
        self.characters = InMemoryCharacterStore()
        self.services = create_services(
            registry=Registry({"preview": spec}, models=models, catalogues={"api": CATALOGUE}),
            store=self.store,
            artifacts=self.artifacts,
            media=self.media,
            variants=self.variants,
            characters=self.characters,
            secrets=InMemorySecretStore(),
            keys=InMemoryKeyStore(),
            max_queued=max_queued,
            worker_grace=worker_grace,
        )

    async def submit(
        self,
        task: Task = Task.TEXT_TO_VIDEO,
        *,
        client: Client = ALICE,
        job_id: str = "",
        client_id: str = "",
        prompt_optional: bool = False,
        mask_ignores_alpha: bool = False,
        remix_of: str = "",
        characters: tuple[str, ...] = (),
        idempotency: IdempotencyKey | None = None,
        collection: str = "",
        model: str = "preview",
        prompt: str = "a boat",
        **values: Any,
    ) -> Job:
        request: GenerationRequest[MediaSource] = GenerationRequest(
            model=model, task=task, prompt=prompt, **values
        )
        return await self.services.jobs.submit(
            Submission(
                dialect="test",
                request=request,
                client=client,
                job_id=job_id,
                prompt_optional=prompt_optional,
                mask_ignores_alpha=mask_ignores_alpha,
                request_id="r1",
                labels={CLIENT_ID_LABEL: client_id} if client_id else {},
                remix_of=remix_of,
                characters=characters,
                idempotency=idempotency,
                collection=collection,
            )
        )

    async def refused(self, error: type[Exception], **values: Any) -> Any:
        """Submit what must be refused and leave nothing behind; the error."""
        before = await self.services.jobs.counts()
        with pytest.raises(error) as caught:
            await self.submit(**values)
        assert await self.services.jobs.counts() == before
        assert len(self.media.discarded) == len(self.media.taken)
        return caught.value

    async def made(self, **values: Any) -> Job:
        """A job that has succeeded: its video is there."""
        job = await self.submit(**values)
        self.store.claim_next("w1")
        key = f"results/{job.id}/1-0.mp4"
        (self.folder / key).parent.mkdir(parents=True)
        (self.folder / key).write_bytes(b"film")
        artifact = Artifact(
            MediaKind.VIDEO, key, "video/mp4", 4, 320, 180, num_frames=33, fps=16.0, duration=33 / 16
        )
        return self.store.succeed(job.id, artifact)

    def files(self) -> set[str]:
        """What is kept, but for results and scratch folders."""
        return {
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and not path.is_relative_to(self.folder / "results")
        }
