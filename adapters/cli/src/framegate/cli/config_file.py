"""The config, read from `framegate.toml`, environment variables and overrides into `Settings`."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from framegate.cli.config_origins import Origins
from framegate.core.config_errors import ErrorCollector
from framegate.core.errors import ConfigError
from framegate.core.settings import EMBEDDED_QUEUE, Settings
from framegate.core.tables import convert_table

ENV_PREFIX = "FRAMEGATE_"
DEFAULT_FILE = Path("framegate.toml")

_FREE_FORM = {"dialects": ("enabled", "options"), "plugins": ("disabled", "tables")}
"""Tables that hold one setting, and beside it a free-form table for each dialect or plugin."""
_LINE = re.compile(r"at line (\d+)")


class Config(Struct, frozen=True):
    """The settings as far as they are right, what is wrong with the others, and what set them all."""

    settings: Settings
    origins: Origins
    errors: tuple[ConfigError, ...] = ()


def load_settings(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the settings as `read_config` does.

    Raises:
        ConfigError: A setting is wrong; `ConfigErrors` if several are.
    """
    return require_valid(read_config(file, environ, overrides)).settings


def require_valid(config: Config) -> Config:
    """Return ``config``, if nothing in it is wrong by itself.

    Raises:
        ConfigError: A setting is; `ConfigErrors` if several are.
    """
    found = ErrorCollector()
    found.errors += config.errors
    found.raise_errors()
    return config


def read_config(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    text: str | None = None,
) -> Config:
    """Read the config; ``text`` is what the file had when it was read before, where that is to hold still.

    The file is ``file``, else the one that ``FRAMEGATE_CONFIG`` names, else ``framegate.toml`` if it exists.
    Environment variables override it, and ``overrides`` ({"server.port": 9000}) override both.

    ``FRAMEGATE_SERVER__PORT`` sets ``server.port``: two underscores separate the levels, case doesn't matter,
    and ``_`` stands for ``-`` in dialects' names and wherever the file has such a name. Lists and tables are
    written as TOML.

    An error names file, line and key, or the environment variable. It shows the value, unless that may be a
    secret.

    Raises:
        ConfigError: The file can't be read, or is not TOML.
    """
    environ = os.environ if environ is None else environ
    file, text, tree = _read(file, environ, text)
    found = ErrorCollector()
    sources: dict[str, str] = {}
    for name, raw in sorted(environ.items()):
        if name.startswith(ENV_PREFIX) and "__" in name:
            keys = name.removeprefix(ENV_PREFIX).lower().split("__")
            if keys[0] == "dialects":
                keys[1] = keys[1].replace("_", "-")
            source = f"environment variable {name}"
            with found.catching():
                sources[_set(tree, keys, _toml_value(raw), source)] = source
    for dotted_key, value in (overrides or {}).items():
        with found.catching():
            sources[_set(tree, dotted_key.split("."), value, "command line")] = "command line"
    origins = Origins(file, text, tree, sources)
    settings, errors = convert_table(_shape(tree), Settings, strict=False)
    assert settings is not None, "every setting has a default"
    found.errors += [origins.locate(_unshape(error)) for error in errors]
    with found.catching(), origins.locating():
        _ = settings.server.data_path
    with found.catching(), origins.locating():
        _ = settings.audit.path
    if settings.queue.url != EMBEDDED_QUEUE:
        from framegate.storage.endpoints import read_url

        with found.catching(), origins.locating():
            read_url(settings.queue.url)
    return Config(settings, origins, tuple(found.errors))


def _read(
    file: Path | None, environ: Mapping[str, str], text: str | None
) -> tuple[Path | None, str, dict[str, Any]]:
    if file is None and (named := environ.get(f"{ENV_PREFIX}CONFIG")):
        file = Path(named)
    if file is None:
        file = DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    if text is None:
        if file is None:
            return None, "", {}
        try:
            text = file.read_text(encoding="utf-8-sig")  # some editors begin files with a byte order mark
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(f"can't be read: {reason}.", where=str(file)) from None
    try:
        return file, text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = _LINE.search(str(error))
        raise ConfigError(
            f"this is not TOML: {error}.", where=f"{file}:{line[1] if line else text.count(chr(10)) + 1}"
        ) from None


def _toml_value(raw: str) -> Any:
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw


def _set(tree: dict[str, Any], path: list[str], value: Any, source: str) -> str:
    """Set a value by its path and return the dotted key; existing names match without case and ``-``."""
    here: Any = tree
    taken: list[str] = []
    for depth, part in enumerate(path):
        known = {key.lower().replace("-", "_"): key for key in here}
        key = known.get(part.replace("-", "_"), part)
        taken.append(key)
        if depth == len(path) - 1:
            here[key] = value
        elif not isinstance(here.setdefault(key, {}), dict):
            raise ConfigError(f"{'.'.join(taken)} is a value, not a table.", where=source)
        else:
            here = here[key]
    return ".".join(taken)


def _shape(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the tree with the free-form tables ``[dialects.NAME]`` gathered under one key, as plugins'."""
    shaped = dict(tree)
    for name, (setting, tables) in _FREE_FORM.items():
        if isinstance(tree.get(name), dict):
            table: dict[str, Any] = tree[name]
            others = {key: value for key, value in table.items() if key != setting}
            shaped[name] = {tables: others} | ({setting: table[setting]} if setting in table else {})
    return shaped


def _unshape(error: ConfigError) -> ConfigError:
    """Return an error of a tree that `_shape` has shaped as one of the config as it is written."""
    _, tables = _FREE_FORM.get(str(error.key[0]), ("", ""))
    key = error.key
    return ConfigError(error.reason, key=key if key[1:2] != (tables,) else (key[0], *key[2:]))
