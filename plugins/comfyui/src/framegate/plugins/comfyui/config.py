"""The table ``[plugins.comfyui]`` of the config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct, to_builtins

from framegate.core.config_errors import ErrorCollector
from framegate.core.errors import ConfigError
from framegate.core.options import Duration, EnvSecret, parse_table

TABLE = "plugins.comfyui"
_KEY = ("plugins", "comfyui")


class ServerConfig(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One ComfyUI server.

    ``token`` is sent as a bearer token; ``headers`` and ``query`` are added to every request.
    """

    url: str
    token: EnvSecret | None = None
    headers: dict[str, EnvSecret] = {}
    query: dict[str, EnvSecret] = {}

    @property
    def name(self) -> str:
        """Host and port: the server's name in messages."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def secret_headers(self) -> dict[str, str]:
        """Read the headers for every request from the environment.

        Raises:
            ConfigError: A variable is not set.
        """
        headers = self._reveal(self.headers)
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self._reveal({'token': self.token})['token']}"
        return headers

    def secret_query(self) -> dict[str, str]:
        """Read the query values for every request from the environment.

        Raises:
            ConfigError: A variable is not set.
        """
        return self._reveal(self.query)

    def _reveal(self, secrets: Mapping[str, EnvSecret]) -> dict[str, str]:
        try:
            return {name: secret.reveal() for name, secret in secrets.items()}
        except ConfigError as error:
            raise ConfigError(f"the server {self.name}: {error.reason}", key=(*_KEY, "servers")) from None


class ComfyConfig(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The whole table.

    ``when_down`` is what a job does while no server responds. ``connect_timeout`` limits how long a server
    may take to respond at all, ``run_timeout`` how long a graph may run once ComfyUI has started it.
    """

    workflows: Path | None = None
    servers: tuple[ServerConfig, ...] = ()
    when_down: Literal["wait", "fail"] = "wait"
    connect_timeout: Duration = Duration(10)
    run_timeout: Duration = Duration(3600)
    tries: Annotated[int, Meta(ge=1)] = 3

    @property
    def folder(self) -> Path | None:
        """The folder of the operator's own workflows."""
        return self.workflows.expanduser().absolute() if self.workflows else None

    def as_options(self) -> dict[str, Any]:
        """Return plain data for a model's options; secrets stay names of variables."""
        options: dict[str, Any] = to_builtins(self, enc_hook=_to_plain)
        return options


def read_config(table: Mapping[str, Any]) -> ComfyConfig:
    """Parse the table.

    Raises:
        ConfigError: A value is wrong; the message names its key.
    """
    config = parse_table(_KEY, table, ComfyConfig)
    found = ErrorCollector()
    for index, server in enumerate(config.servers):
        if complaint := _wrong_url(server.url):
            found.add(complaint, *_KEY, "servers", index, "url")
    found.raise_errors()
    return config


def _wrong_url(url: str) -> str:
    """Return what is wrong with a server's URL; empty if nothing is."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        return (
            "the URL holds a user name or a password, which does not belong in the file; use "
            'headers = { Authorization = { env = "VARIABLE" } }.'
        )
    if parts.query or parts.fragment:
        return (
            "the URL has a query or a fragment; write it without, and use "
            'query = { NAME = { env = "VARIABLE" } }.'
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        # Text before an @ may be a password.
        shown = "this" if "@" in url else repr(url)
        return f'{shown} is not the URL of a ComfyUI server; write one such as "http://127.0.0.1:8188".'
    return ""


def _to_plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Duration):
        return float(value)
    raise AssertionError("the config has no other types of its own")
