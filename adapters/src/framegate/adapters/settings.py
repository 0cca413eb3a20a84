"""The config: `framegate.toml`, environment variables, and what they mean."""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct, field

from framegate.core.errors import ConfigError
from framegate.core.options import Duration, EnvSecret, decode_value
from framegate.core.registry import AliasConfig, ModelConfig, PresetConfig

ENV_PREFIX = "FRAMEGATE_"
DEFAULT_FILE = Path("framegate.toml")

_Path: TypeAlias = list[str | int]
PositiveInt = Annotated[int, Meta(ge=1)]
_SECRETIVE = frozenset({"auth", "webhooks"})
_PASSWORD = re.compile(r"//.*@")


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

    def __post_init__(self) -> None:
        if self.url == "embedded":
            return
        from redis import Redis

        try:
            Redis.from_url(self.url)  # reads it, and connects to nothing
        except ValueError:  # what it says may show a password
            raise ValueError("url has no such form as redis://user:password@host:6379/0") from None


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
    presets: dict[str, PresetConfig] = {}
    styles: dict[str, str] = {}
    plugins: dict[str, dict[str, Any]] = {}


def load_settings(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings from ``file`` (else ``FRAMEGATE_CONFIG``, else ``framegate.toml`` if it is there), with
    environment variables over it and ``overrides`` ({"server.port": 9000}) over both.

    ``FRAMEGATE_SERVER__PORT`` sets ``server.port``: two underscores part the levels, case does not matter,
    ``_`` stands for ``-`` in dialects' names and where the file has such a name; lists and tables are
    written as TOML.

    Raises:
        ConfigError: naming file, line and key, or the environment variable. Values are shown, but for
            those below ``auth`` and ``webhooks``.
    """
    environ = os.environ if environ is None else environ
    file, text, tree = _read(file, environ)
    sources: dict[str, str] = {}
    for name, raw in sorted(environ.items()):
        if name.startswith(ENV_PREFIX) and "__" in name:
            keys = name.removeprefix(ENV_PREFIX).lower().split("__")
            if keys[0] == "dialects":
                keys[1] = keys[1].replace("_", "-")
            source = f"environment variable {name}"
            sources[_set(tree, keys, _toml_value(raw), source)] = source
    for dotted, value in (overrides or {}).items():
        sources[_set(tree, dotted.split("."), value, "command line")] = "command line"
    try:
        return _convert(_shape(tree))
    except msgspec.ValidationError as error:
        where, message = _explain(error, tree)
        raise ConfigError(f"{_source(where, file, text, sources)}: {_dotted(where)}: {message}.") from None


def _read(file: Path | None, environ: Mapping[str, str]) -> tuple[Path | None, str, dict[str, Any]]:
    if file is None and (named := environ.get(f"{ENV_PREFIX}CONFIG")):
        file = Path(named)
    if file is None:
        file = DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    if file is None:
        return None, "", {}
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{file}: can't be read: {reason}.") from None
    try:
        return file, text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: {error}") from None


def _toml_value(raw: str) -> Any:
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw


def _set(tree: dict[str, Any], path: list[str], value: Any, source: str) -> str:
    """Set a value by its path, matching existing names without regard to case and ``-``; the dotted key."""
    here: Any = tree
    taken: list[str] = []
    for depth, part in enumerate(path):
        known = {key.lower().replace("-", "_"): key for key in here}
        key = known.get(part.replace("-", "_"), part)
        taken.append(key)
        if depth == len(path) - 1:
            here[key] = value
        elif not isinstance(here.setdefault(key, {}), dict):
            raise ConfigError(f"{source}: {'.'.join(taken)} is a value, not a table.")
        else:
            here = here[key]
    return ".".join(taken)


def _shape(tree: dict[str, Any]) -> dict[str, Any]:
    """Gather the free-form tables ``[dialects.NAME]`` under one key."""
    if not isinstance(tree.get("dialects"), dict):
        return tree
    dialects: dict[str, Any] = tree["dialects"]
    options = {name: value for name, value in dialects.items() if name != "enabled"}
    return {**tree, "dialects": {"enabled": dialects.get("enabled"), "options": options}}


def _convert(tree: dict[str, Any]) -> Settings:
    return msgspec.convert(tree, Settings, dec_hook=decode_value, strict=False)


def _explain(error: msgspec.ValidationError, tree: dict[str, Any]) -> tuple[_Path, str]:
    """Where in the config it went wrong, and why; with the value unless it may be a secret."""
    message, _, where = str(error).partition(" - at `$")
    path: _Path = []
    for name, index in re.findall(r"\.([^.\[`]+)|\[(\d+|\.\.\.)\]", where):
        # For msgspec a table's free names are all [...].
        path.append(name or (_refused_name(_shape(tree), path) if index == "..." else int(index)))
    if path[:2] == ["dialects", "options"]:
        del path[1]
    if unknown := re.search(r"unknown field `([^`]*)`", message):
        return [*path, unknown[1]], "there is no such setting"
    if missing := re.search(r"missing required field `([^`]+)`", message):
        return path, f"the key {missing[1]} is missing"
    message = message.replace(" | null", "").replace("`object`", "a table")
    value = _at(tree, path)
    if path[0] not in _SECRETIVE and isinstance(value, str | int | float):
        shown = _PASSWORD.sub("//…@", json.dumps(value, ensure_ascii=False))
        message = f"{message.partition(', got `')[0]}, got {shown[:200]}"
    return path, message


def _refused_name(tree: dict[str, Any], path: _Path) -> str:
    """The name in the table at ``path`` whose entry is refused: the one that is refused alone."""
    entries: dict[str, Any] = _at(tree, path)
    for name, entry in entries.items():
        alone: dict[Any, Any] = {name: entry}
        for part in reversed(path):
            alone = {part: alone}
        try:
            _convert(alone)
        except msgspec.ValidationError:
            return name
    raise AssertionError(f"every entry of {_dotted(path)} is right")


def _at(tree: Any, path: _Path) -> Any:
    for part in path:
        tree = tree[part]
    return tree


def _dotted(path: _Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _source(path: _Path, file: Path | None, text: str, sources: Mapping[str, str]) -> str:
    """What set the value at ``path``: a variable, the command line, or a line of the file."""
    key = ".".join(map(str, path))
    for name, source in sources.items():
        if f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}."):
            return source
    if file is None:
        return "config"
    line = _line_of(text, key)
    return f"{file}:{line}" if line else str(file)


def _line_of(text: str, key: str) -> int | None:
    """The line that sets ``key`` ("auth.keys.1.name"), or that opens the table it should be in."""
    table: list[str] = []
    arrays: dict[str, int] = {}
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if header := re.match(r"(\[\[?)\s*([^\[\]]+?)\s*\]\]?", stripped):
            table = [part.strip().strip("\"'") for part in header[2].split(".")]
            if header[1] == "[[":
                name = ".".join(table)
                arrays[name] = arrays.get(name, -1) + 1
                table = [*table, str(arrays[name])]
            path = table
        elif assignment := re.match(r"([A-Za-z0-9_.\"' -]+?)\s*=", stripped):
            path = [*table, *(part.strip().strip("\"'") for part in assignment[1].split("."))]
        else:
            continue
        found = ".".join(path)
        if f"{key}.".startswith(f"{found}.") and (best is None or len(found) > best[0]):
            best = (len(found), number)
    return best[1] if best else None
