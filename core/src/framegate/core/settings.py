"""What the config can say, as data. The command line reads it from ``framegate.toml`` and the environment."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from framegate.core.errors import ConfigError
from framegate.core.options import Duration, EnvSecret
from framegate.core.registry import AliasConfig, CatalogueConfig, ModelConfig

PositiveInt = Annotated[int, Meta(ge=1)]

EMBEDDED_QUEUE = "embedded"
FILE_STORAGE = "file"


class _Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class ServerSettings(_Settings, frozen=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    public_url: str = ""
    data_dir: Path = Path("~/.local/share/framegate")
    max_body: PositiveInt = 100 * 2**20
    shutdown_grace: Duration = Duration(10)

    @property
    def data_path(self) -> Path:
        return self.data_dir.expanduser().resolve()


class DialectsSettings(Struct, frozen=True):
    """``enabled`` None means every installed dialect; ``options`` are the tables ``[dialects.NAME]``."""

    enabled: tuple[str, ...] | None = None
    options: Mapping[str, Mapping[str, Any]] = {}


class KeyConfig(_Settings, frozen=True):
    """``[[auth.keys]]``: the key itself is given as an environment variable or as its SHA-256."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    key: EnvSecret | None = None
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    plan: str = ""
    max_running: Annotated[int, Meta(ge=0)] = 0
    max_queued: Annotated[int, Meta(ge=0)] = 0
    max_active: Annotated[int, Meta(ge=0)] = 0
    priority: int = 0

    def digest(self) -> bytes:
        """The SHA-256 of the key.

        Raises:
            ConfigError: neither or both ways of giving it are used, or the variable is not set.
        """
        if (self.key is None) == (self.sha256 is None):
            raise ConfigError(f"auth.keys {self.name!r}: give either key = {{ env = … }} or sha256 = …")
        if self.sha256 is not None:
            return bytes.fromhex(self.sha256)
        assert self.key is not None
        return hashlib.sha256(self.key.reveal(f"auth.keys {self.name!r}").encode()).digest()


class AuthSettings(_Settings, frozen=True):
    keys: tuple[KeyConfig, ...] = ()


class QueueSettings(_Settings, frozen=True):
    url: Annotated[str, Meta(pattern=r"^(embedded|rediss?://.+|unix://.+)$")] = "embedded"
    max_queued: Annotated[int, Meta(ge=0)] = 10_000


class StorageSettings(_Settings, frozen=True):
    """``url`` is "file" (the data folder) or a bucket; the rest is for a bucket, and what is left out there
    comes from the ``AWS_…`` variables. ``downloads`` "redirect" sends clients to the bucket itself."""

    url: Annotated[str, Meta(pattern=r"^(file|s3://[^/]+(/.*)?)$")] = "file"
    endpoint: Annotated[str, Meta(pattern=r"^(|https?://.+)$")] = ""
    region: str = ""
    access_key_id: EnvSecret | None = None
    secret_access_key: EnvSecret | None = None
    downloads: Literal["proxy", "redirect"] = "proxy"
    cache_bytes: PositiveInt = 10 * 2**30
    retention: Duration = Duration(3600)
    record_retention: Duration = Duration(86400)


class WorkerSettings(_Settings, frozen=True):
    """``memory``: bytes that loaded models may hold together on a worker's device; 0 for what there is."""

    memory: Annotated[int, Meta(ge=0)] = 0


class FetchSettings(_Settings, frozen=True):
    """``allow`` opens networks ("10.0.0.0/8") and hosts ("images.internal") for URLs that clients give."""

    allow: tuple[str, ...] = ()
    max_bytes: PositiveInt = 50 * 2**20
    timeout: Duration = Duration(20)


class WebhookSettings(_Settings, frozen=True):
    """``url`` is told of every video's end; requests may name hosts of ``allowed_hosts`` (none: any host).
    With several secrets each event is signed with all of them."""

    url: str = ""
    secret: EnvSecret | tuple[EnvSecret, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    timeout: Duration = Duration(15)

    @property
    def secrets(self) -> tuple[EnvSecret, ...]:
        return (self.secret,) if isinstance(self.secret, EnvSecret) else self.secret


class Settings(_Settings, frozen=True):
    server: ServerSettings = field(default_factory=ServerSettings)
    dialects: DialectsSettings = field(default_factory=DialectsSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    fetch: FetchSettings = field(default_factory=FetchSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    models: dict[str, ModelConfig] = {}
    aliases: dict[str, AliasConfig] = {}
    presets: dict[str, CatalogueConfig] = {}
    styles: dict[str, str] = {}
    plugins: dict[str, dict[str, Any]] = {}
