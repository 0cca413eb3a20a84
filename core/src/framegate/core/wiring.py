"""The services over one set of ports."""

from collections.abc import Mapping

from msgspec import Struct

from framegate.core.availability import WORKER_GRACE, OwnWorkers, WorkerAvailability
from framegate.core.character_service import CharacterService
from framegate.core.ports import ArtifactStore, CharacterStore, JobStore, MediaIngest, SecretStore
from framegate.core.registry import Registry
from framegate.core.results import LINK_SECONDS, ResultAccess
from framegate.core.service import JobService
from framegate.core.styles import STYLES, Style
from framegate.core.webhooks import WebhookPolicy


class CoreServices(Struct, frozen=True):
    """What a dialect and the command line may call."""

    jobs: JobService
    characters: CharacterService
    results: ResultAccess
    secrets: SecretStore


def create_services(
    *,
    registry: Registry,
    store: JobStore,
    artifacts: ArtifactStore,
    media: MediaIngest,
    characters: CharacterStore,
    secrets: SecretStore,
    max_queued: int,
    worker_grace: float = WORKER_GRACE,
    own_workers: OwnWorkers | None = None,
    styles: Mapping[str, Style] = STYLES,
    webhooks: WebhookPolicy | None = None,
    link_seconds: float = LINK_SECONDS,
) -> CoreServices:
    """Build the services over these ports.

    See `WorkerAvailability`, `JobService` and `ResultAccess` for the rest.
    """
    character_service = CharacterService(characters, artifacts, media)
    results = ResultAccess(store, artifacts, link_seconds=link_seconds)
    jobs = JobService(
        registry=registry,
        store=store,
        artifacts=artifacts,
        media=media,
        characters=character_service,
        results=results,
        availability=WorkerAvailability(store, grace=worker_grace, own_workers=own_workers),
        max_queued=max_queued,
        styles=styles,
        webhooks=webhooks,
    )
    return CoreServices(jobs, character_service, results, secrets)
