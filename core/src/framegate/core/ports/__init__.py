"""What the services need from outside, as protocols that adapters implement."""

from framegate.core.ports.characters import NO_CHARACTER_LIMITS, CharacterLimits, CharacterStore
from framegate.core.ports.jobs import (
    IdempotencyKey,
    JobFilter,
    JobStore,
    Limits,
    ModelPace,
    Page,
    QueueCounts,
    ScannedJobs,
    WorkerInfo,
    WorkerPresence,
)
from framegate.core.ports.keys import KeyStore, Rate, RateLease, RateStore, SecretStore
from framegate.core.ports.media import (
    ArtifactStore,
    Base64Source,
    BytesSource,
    CollageSource,
    FileSource,
    MediaIngest,
    MediaSource,
    StoredSource,
    UrlSource,
    VariantMaker,
)
from framegate.core.ports.operations import HeldBack, LoadedState, ModelLoad, ModelRequest, OperationStore
from framegate.core.ports.usage import UsageStore

__all__ = [
    "NO_CHARACTER_LIMITS",
    "ArtifactStore",
    "Base64Source",
    "BytesSource",
    "CharacterLimits",
    "CharacterStore",
    "CollageSource",
    "FileSource",
    "HeldBack",
    "IdempotencyKey",
    "JobFilter",
    "JobStore",
    "KeyStore",
    "Limits",
    "LoadedState",
    "MediaIngest",
    "MediaSource",
    "ModelLoad",
    "ModelPace",
    "ModelRequest",
    "OperationStore",
    "Page",
    "QueueCounts",
    "Rate",
    "RateLease",
    "RateStore",
    "ScannedJobs",
    "SecretStore",
    "StoredSource",
    "UrlSource",
    "UsageStore",
    "VariantMaker",
    "WorkerInfo",
    "WorkerPresence",
]
