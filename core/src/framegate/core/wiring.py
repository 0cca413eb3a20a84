"""The services over one set of ports."""

from collections.abc import Collection, Mapping

from msgspec import Struct

from framegate.core.availability import WORKER_GRACE, OwnWorkers, WorkerAvailability
from framegate.core.character_service import CharacterService
from framegate.core.dependencies import Dependencies
from framegate.core.key_service import KeyService
from framegate.core.keys import KeyGrants
from framegate.core.operation_service import OperationService
from framegate.core.ports import (
    ArtifactStore,
    CharacterStore,
    JobStore,
    KeyStore,
    MediaIngest,
    SecretStore,
    VariantMaker,
)
from framegate.core.registry import Registry
from framegate.core.results import LINK_SECONDS, ResultAccess
from framegate.core.service import JobService
from framegate.core.styles import STYLES, Style
from framegate.core.usage_service import UsageService
from framegate.core.webhooks import WebhookPolicy


class CoreServices(Struct, frozen=True):
    """What a dialect and the command line may call."""

    jobs: JobService
    characters: CharacterService
    results: ResultAccess
    secrets: SecretStore
    keys: KeyService
    usage: UsageService
    operations: OperationService
    dependencies: Dependencies


def create_services(
    *,
    registry: Registry,
    store: JobStore,
    artifacts: ArtifactStore,
    media: MediaIngest,
    variants: VariantMaker,
    characters: CharacterStore,
    secrets: SecretStore,
    keys: KeyStore,
    max_queued: int,
    worker_grace: float = WORKER_GRACE,
    own_workers: OwnWorkers | None = None,
    styles: Mapping[str, Style] = STYLES,
    webhooks: WebhookPolicy | None = None,
    link_seconds: float = LINK_SECONDS,
    configured_keys: Mapping[str, KeyGrants] | None = None,
    dialects: Collection[str] = (),
    job_timeout: float = 0.0,
) -> CoreServices:
    """Build the services over these ports.

    See `WorkerAvailability`, `JobService`, `ResultAccess` and `KeyService` for the rest.
    """
    character_service = CharacterService(characters, artifacts, media)
    results = ResultAccess(store, artifacts, variants, link_seconds=link_seconds)
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
        job_timeout=job_timeout,
    )
    key_service = KeyService(keys, registry, configured=configured_keys or {}, dialects=dialects)
    return CoreServices(
        jobs,
        character_service,
        results,
        secrets,
        key_service,
        UsageService(store.usage),
        OperationService(registry, store),
        Dependencies(store, artifacts),
    )
