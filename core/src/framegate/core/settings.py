"""The config's settings and their defaults. The command line reads them from a file and the environment."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct, field

from framegate.core.availability import WORKER_GRACE
from framegate.core.errors import ConfigError
from framegate.core.keys import KeyGrants, KeyName, Limit, digest_of
from framegate.core.options import Duration, DurationOrForever, EnvSecret
from framegate.core.registry import AliasConfig, CatalogueConfig, ModelConfig

PositiveInt = Annotated[int, Meta(ge=1)]
Origin = Annotated[
    str,
    Meta(
        pattern=r"^(null|https?://[A-Za-z0-9._-]+(:[0-9]+)?|https?://\[[0-9A-Fa-f:.]+\](:[0-9]+)?)\Z",
        description='an origin such as "https://app.example.com" (without a path), or "null"',
    ),
]

DocsAccess: TypeAlias = Literal["open", "keys", "off"]
_Digest = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{64}\Z",
        description="a SHA-256 in 64 lower-case hexadecimal digits (printf %s KEY | sha256sum)",
    ),
]
_KEY_FORMS = 'key = { env = "VARIABLE" }, which names the environment variable with the key, or sha256 = "…"'

EMBEDDED_QUEUE = "embedded"
FILE_STORAGE = "file"


def _without_tilde(path: Path, *key: str) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ConfigError(f"{path}: there is no such home folder; write an absolute path.", key=key) from None


class _Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class ServerSettings(_Settings, frozen=True):
    """``[server]``. Sizes are in bytes, times in seconds.

    A client has ``header_timeout`` for the head of a request. It may be silent for ``body_timeout`` while it
    sends a body, which has to come at ``min_body_rate`` bytes per second beyond that time, and may take none
    of a response for ``write_timeout``. ``max_connections`` 0 derives it from the limit on open files,
    ``max_connections_per_address`` 0 allows any number. ``max_body_memory`` is what all large bodies together
    take in memory.

    Requests are served by ``api_processes`` processes. What is limited here holds for all of them together.

    After SIGTERM the server goes on for ``shutdown_delay`` while ``/ready`` says that it is stopping. Then
    running jobs and requests have ``shutdown_grace``.

    ``trusted_proxies`` are addresses and networks ("10.0.0.0/8") whose forwarded headers are believed.
    ``cors_origins`` are the web pages that may call while no keys are configured, besides this machine's own:
    origins ("https://app.example.com"), and "null" for pages that were opened from files. ``docs`` tells who
    may read the pages that describe the server: anybody, clients with a key, or nobody.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    api_processes: Annotated[int, Meta(ge=1, le=64)] = 1
    public_url: str = ""
    data_dir: Path = Path("~/.local/share/framegate")
    cors_origins: tuple[Origin, ...] = ()
    max_body: PositiveInt = 100 * 2**20
    shutdown_delay: Duration = Duration(0)
    shutdown_grace: Duration = Duration(10)
    keep_alive: Duration = Duration(75)
    header_timeout: Duration = Duration(10)
    body_timeout: Duration = Duration(30)
    min_body_rate: Annotated[int, Meta(ge=0)] = 1024
    write_timeout: Duration = Duration(300)
    max_connections: Limit = 0
    max_connections_per_address: Limit = 256
    max_body_memory: PositiveInt = 256 * 2**20
    trusted_proxies: tuple[str, ...] = ()
    docs: DocsAccess = "open"

    @property
    def data_path(self) -> Path:
        """The data folder as an absolute path.

        Raises:
            ConfigError: There is no such path, as without a home folder.
        """
        try:
            return _without_tilde(self.data_dir, "server", "data_dir").resolve()
        except (OSError, RuntimeError, ValueError) as error:  # links in a circle, or a null byte
            raise ConfigError(
                f"{str(self.data_dir)!r} can't be used: {error}.", key=("server", "data_dir")
            ) from None


class DialectsSettings(Struct, frozen=True):
    """``[dialects]``. ``enabled`` None means all installed ones; ``options`` are the tables of each."""

    enabled: tuple[str, ...] | None = None
    options: Mapping[str, Mapping[str, Any]] = {}


class PluginsSettings(Struct, frozen=True):
    """``[plugins]``. ``disabled`` are those to leave out; ``tables`` are those of each plugin."""

    disabled: tuple[str, ...] = ()
    tables: Mapping[str, Mapping[str, Any]] = {}


class KeyConfig(KeyGrants, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[auth.keys]]``. The secrets are given as environment variables or as their SHA-256.

    With several secrets each of them is accepted, so that clients can switch to a new one at their own pace.
    Limits that are left out are those of `LimitSettings`, for ``max_queued`` a share of the queue.
    """

    name: KeyName
    timeout: Duration = Duration(0)
    key: Annotated[EnvSecret | tuple[EnvSecret, ...], Meta(description=_KEY_FORMS)] = ()
    sha256: _Digest | tuple[_Digest, ...] = ()

    def secrets(self) -> Sequence[str]:
        """Return the secrets that are given as environment variables.

        Raises:
            ConfigError: A variable is not set.
        """
        variables = (self.key,) if isinstance(self.key, EnvSecret) else self.key
        return [variable.reveal("auth", "keys", self.name, "key") for variable in variables]

    def digests(self) -> Sequence[bytes]:
        """Return the SHA-256 of each secret.

        Raises:
            ConfigError: Neither or both ways of giving them are used, or a variable is not set.
        """
        if bool(self.key) == bool(self.sha256):
            raise ConfigError(
                'give either key = { env = "VARIABLE" } or sha256 = "…".', key=("auth", "keys", self.name)
            )
        given = (self.sha256,) if isinstance(self.sha256, str) else self.sha256
        return [*map(digest_of, self.secrets()), *map(bytes.fromhex, given)]


class AuthSettings(_Settings, frozen=True):
    """``[auth]``."""

    keys: tuple[KeyConfig, ...] = ()


class QueueSettings(_Settings, frozen=True):
    """``[queue]``. ``max_queued`` is how many jobs may wait; 0 for any number.

    ``prefix`` begins the names of all keys and channels, so that several installations may share one server.
    ``worker_grace`` is for how many seconds jobs are accepted after the last worker for their model was seen.
    """

    url: Annotated[
        str,
        Meta(
            pattern=r"^(embedded|rediss?://.+|unix://.+|sentinels?://.+)$",
            description='"embedded" or a URL that begins with redis://, rediss://, unix:// or sentinel://',
        ),
    ] = "embedded"
    prefix: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}\Z",
            description='up to 64 letters, digits and any of _ . : - such as "fg:"',
        ),
    ] = "fg:"
    max_queued: Limit = 10_000
    worker_grace: DurationOrForever = DurationOrForever(WORKER_GRACE)


class LimitSettings(_Settings, frozen=True):
    """``[limits]``: of every key that has none of its own, and of every address. 0 means no limit.

    ``queue_share`` is the part of ``queue.max_queued`` that a key without ``max_queued`` may fill.
    ``…request_burst`` is how many of a minute's requests may come within one second. ``max_bytes_in_flight``
    is for all unfinished requests of a key, or of an address where no key is needed. An IPv6 address stands
    for its /64.
    """

    queue_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    requests_per_minute: Limit = 0
    request_burst: Limit = 0
    max_bytes_in_flight: Limit = 512 * 2**20
    max_stored_bytes: Limit = 0
    max_record_bytes: Limit = 256 * 2**20
    max_characters: Limit = 1000
    daily_gpu_seconds: Limit = 0
    address_requests_per_minute: Limit = 0
    address_request_burst: Limit = 0
    address_failed_logins_per_minute: Limit = 100

    def for_keys(self, max_queued: int) -> dict[str, int]:
        """Return the limits of keys that have none of their own; ``max_queued`` jobs may wait in all."""
        return {
            "max_queued": math.ceil(max_queued * self.queue_share),
            "requests_per_minute": self.requests_per_minute,
            "request_burst": self.request_burst,
            "max_bytes_in_flight": self.max_bytes_in_flight,
            "max_stored_bytes": self.max_stored_bytes,
            "max_record_bytes": self.max_record_bytes,
            "max_characters": self.max_characters,
            "daily_gpu_seconds": self.daily_gpu_seconds,
        }


class StorageSettings(_Settings, frozen=True):
    """``[storage]``. ``url`` is "file" (the data folder) or a bucket.

    What is left out for a bucket comes from the ``AWS_…`` variables. ``downloads`` "redirect" sends clients
    to the bucket itself. ``retention`` and ``record_retention`` are seconds for which files and records are
    kept. ``max_bytes`` is how many bytes the files of all jobs may have (0: any number); beyond it those of
    the oldest finished jobs are removed sooner.
    """

    url: Annotated[
        str,
        Meta(
            pattern=r"^(file|s3://[^/]+(/.*)?)$",
            description='"file" (the data folder) or a bucket such as "s3://bucket/prefix"',
        ),
    ] = "file"
    endpoint: Annotated[
        str,
        Meta(pattern=r"^(|https?://.+)$", description='a URL such as "https://s3.internal:9000"'),
    ] = ""
    region: str = ""
    access_key_id: EnvSecret | None = None
    secret_access_key: EnvSecret | None = None
    downloads: Literal["proxy", "redirect"] = "proxy"
    cache_bytes: PositiveInt = 10 * 2**30
    retention: Duration = Duration(3600)
    record_retention: Duration = Duration(86400)
    max_bytes: Limit = 0


VideoEncoderChoice: TypeAlias = Literal["auto", "x264"]


class WorkerSettings(_Settings, frozen=True):
    """``[worker]``. ``memory`` is how many bytes loaded models may use on the device; 0 for all there is.

    ``host_memory`` is how many bytes a worker process may allocate in the host's memory; 0 for no limit.
    ``load_timeout`` and ``job_timeout`` are how many seconds a model may take to load, and a job after that;
    0 for no limit. ``cancel_grace`` is how many seconds a backend has to leave a cancelled or overdue job
    before its process is killed. With ``video_encoder`` "auto" a graphics card encodes videos, if it can.
    ``unload_after`` is after how many seconds without a job a model is unloaded; 0 for never.
    """

    memory: Limit = 0
    host_memory: Limit = 0
    load_timeout: Duration = Duration(1800)
    job_timeout: Duration = Duration(86400)
    cancel_grace: Duration = Duration(10)
    video_encoder: VideoEncoderChoice = "auto"
    unload_after: Duration = Duration(0)


class FetchSettings(_Settings, frozen=True):
    """``[fetch]``. ``allow`` opens networks ("10.0.0.0/8") and hosts ("images.internal") to clients' URLs.

    ``user_agent`` is sent by fetches and webhooks; if empty, Framegate's own with the public URL.
    """

    allow: tuple[str, ...] = ()
    max_bytes: PositiveInt = 50 * 2**20
    timeout: Duration = Duration(20)
    user_agent: Annotated[
        str,
        Meta(
            pattern=r"^([!-~]([ -~]{0,198}[!-~])?)?\Z",
            description="a text of at most 200 printable ASCII characters without spaces around it",
        ),
    ] = ""


def default_decoders() -> int:
    """Return how many decoder processes this machine gets by default: one for each core, from 2 to 8."""
    return max(2, min(os.cpu_count() or 1, 8))


class DecodingSettings(_Settings, frozen=True):
    """``[decoding]``. ``processes`` is how many files are decoded at a time.

    Decoding one file may take ``timeout`` seconds, and its process ``memory`` bytes.
    """

    processes: Annotated[int, Meta(ge=2, le=256)] = field(default_factory=default_decoders)
    timeout: Duration = Duration(30)
    memory: Annotated[int, Meta(ge=512 * 2**20)] = 1536 * 2**20


class WebhookSettings(_Settings, frozen=True):
    """``[webhooks]``. ``url`` is notified when a video ends.

    Requests may name further URLs on ``allowed_hosts`` (any host, if empty). With several secrets each event
    is signed with all of them.
    """

    url: str = ""
    secret: EnvSecret | tuple[EnvSecret, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    timeout: Duration = Duration(15)

    @property
    def secrets(self) -> tuple[EnvSecret, ...]:
        """The secrets, however many were given."""
        return (self.secret,) if isinstance(self.secret, EnvSecret) else self.secret


class LinkSettings(_Settings, frozen=True):
    """``[links]``. ``expiry`` is for how many seconds a link to a result leads there; for ever by default.

    With several secrets links are signed with the first, and those signed with the others remain valid.
    Without any, the API hosts share one that is made at random and kept in the queue.
    """

    expiry: DurationOrForever = DurationOrForever(math.inf)
    secret: EnvSecret | tuple[EnvSecret, ...] = ()

    @property
    def secrets(self) -> tuple[EnvSecret, ...]:
        """The secrets, however many were given."""
        return (self.secret,) if isinstance(self.secret, EnvSecret) else self.secret


class AuditSettings(_Settings, frozen=True):
    """``[audit]``. ``file`` is where the audit log is written; among the other log lines if empty."""

    file: str = ""

    @property
    def path(self) -> Path | None:
        """The file as an absolute path, or None.

        Raises:
            ConfigError: There is no home folder for it.
        """
        return _without_tilde(Path(self.file), "audit", "file").absolute() if self.file else None


class Settings(_Settings, frozen=True):
    """The whole config."""

    server: ServerSettings = field(default_factory=ServerSettings)
    dialects: DialectsSettings = field(default_factory=DialectsSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    fetch: FetchSettings = field(default_factory=FetchSettings)
    decoding: DecodingSettings = field(default_factory=DecodingSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    links: LinkSettings = field(default_factory=LinkSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    models: dict[str, ModelConfig] = {}
    aliases: dict[str, AliasConfig] = {}
    presets: dict[str, CatalogueConfig] = {}
    styles: dict[str, str] = {}
    plugins: PluginsSettings = field(default_factory=PluginsSettings)

    @property
    def key_defaults(self) -> dict[str, int]:
        """The limits of keys that have none of their own."""
        return self.limits.for_keys(self.queue.max_queued)
