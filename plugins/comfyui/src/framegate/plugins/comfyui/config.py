"""The table ``[plugins.comfyui]`` of the config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct, to_builtins

from framegate.core.errors import ConfigError
from framegate.core.options import Duration, EnvSecret, parse_table

WHERE = "plugins.comfyui"


class ServerConfig(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One ComfyUI. ``token`` is sent as a bearer token; ``headers`` and ``query`` go with every request."""

    url: str
    token: EnvSecret | None = None
    headers: dict[str, EnvSecret] = {}
    query: dict[str, EnvSecret] = {}

    @property
    def name(self) -> str:
        """Host and port: what people are told."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def secret_headers(self) -> dict[str, str]:
        """Raises:
        ConfigError: a variable is not set.
        """
        where = f"{WHERE}: the server {self.name}"
        headers = {name: secret.reveal(where) for name, secret in self.headers.items()}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.reveal(where)}"
        return headers

    def secret_query(self) -> dict[str, str]:
        """Raises:
        ConfigError: a variable is not set.
        """
        where = f"{WHERE}: the server {self.name}"
        return {name: secret.reveal(where) for name, secret in self.query.items()}


class ComfyConfig(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``when_down``: what a job does while no server answers. ``connect_timeout`` is how long one may take to
    answer at all, ``run_timeout`` how long a graph may run once ComfyUI has begun it."""

    workflows: Path | None = None
    servers: tuple[ServerConfig, ...] = ()
    when_down: Literal["wait", "fail"] = "wait"
    connect_timeout: Duration = Duration(10)
    run_timeout: Duration = Duration(3600)
    tries: Annotated[int, Meta(ge=1)] = 3

    @property
    def folder(self) -> Path | None:
        """The operator's own workflows."""
        return self.workflows.expanduser().absolute() if self.workflows else None

    def as_options(self) -> dict[str, Any]:
        """For a model's spec, whose options are plain data; secrets stay names of variables."""
        options: dict[str, Any] = to_builtins(self, enc_hook=_plain)
        return options


def read_config(table: Mapping[str, Any]) -> ComfyConfig:
    """Raises:
    ConfigError: naming the key.
    """
    config = parse_table(WHERE, table, ComfyConfig)
    for index, server in enumerate(config.servers):
        parts = urlsplit(server.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError(
                f"{WHERE}.servers[{index}].url: this is no address of a ComfyUI server, such as "
                '"http://127.0.0.1:8188".'
            )
        if parts.username or parts.password:
            raise ConfigError(
                f"{WHERE}.servers[{index}].url: a password does not belong into the file; use "
                'headers = { Authorization = { env = "…" } }.'
            )
    return config


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Duration):
        return float(value)
    raise AssertionError("the config has no other types of its own")
