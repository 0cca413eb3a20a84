"""The config, read from `framegate.toml`, environment variables and overrides into `Settings`."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from framegate.core.errors import ConfigError
from framegate.core.options import decode_value
from framegate.core.settings import EMBEDDED_QUEUE, Settings
from framegate.core.validation import ViolationKind, parse_violation

ENV_PREFIX = "FRAMEGATE_"
DEFAULT_FILE = Path("framegate.toml")

_Path: TypeAlias = list[str | int]
_SECRET_TABLES = frozenset({"auth", "webhooks"})
_SECRET_NAME = re.compile("key|password|secret|token")
_PASSWORD = re.compile(r"//.*@")


def load_settings(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the settings.

    The file is ``file``, else the one that ``FRAMEGATE_CONFIG`` names, else ``framegate.toml`` if it exists.
    Environment variables override it, and ``overrides`` ({"server.port": 9000}) override both.

    ``FRAMEGATE_SERVER__PORT`` sets ``server.port``: two underscores separate the levels, case doesn't matter,
    and ``_`` stands for ``-`` in dialects' names and wherever the file has such a name. Lists and tables are
    written as TOML.

    Raises:
        ConfigError: A setting is wrong; the message names file, line and key, or the environment variable.
            It shows the value, unless that may be a secret: below ``auth`` or ``webhooks``, or by its name.
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
        settings = _convert(_shape(tree))
    except msgspec.ValidationError as error:
        where, message = _explain(error, tree)
        raise ConfigError(f"{_source(where, file, text, sources)}: {_dotted(where)}: {message}.") from None
    if settings.queue.url != EMBEDDED_QUEUE:
        from framegate.storage.endpoints import read_url

        try:
            read_url(settings.queue.url)
        except ConfigError as error:
            source = _source(["queue", "url"], file, text, sources)
            raise ConfigError(f"{source}: {error.message}") from None
    return settings


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
            raise ConfigError(f"{source}: {'.'.join(taken)} is a value, not a table.")
        else:
            here = here[key]
    return ".".join(taken)


def _shape(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the tree with the free-form tables ``[dialects.NAME]`` gathered under one key."""
    if not isinstance(tree.get("dialects"), dict):
        return tree
    dialects: dict[str, Any] = tree["dialects"]
    options = {name: value for name, value in dialects.items() if name != "enabled"}
    return {**tree, "dialects": {"enabled": dialects.get("enabled"), "options": options}}


def _convert(tree: dict[str, Any]) -> Settings:
    return msgspec.convert(tree, Settings, dec_hook=decode_value, strict=False)


def _explain(error: msgspec.ValidationError, tree: dict[str, Any]) -> tuple[_Path, str]:
    """Return where in the config it went wrong, and why, with the value unless that may be a secret."""
    violation = parse_violation(str(error))
    path: _Path = []
    for step in violation.path:
        path.append(_refused_name(_shape(tree), path) if step is ... else step)
    if path[:2] == ["dialects", "options"]:
        del path[1]
    match violation.kind:
        case ViolationKind.UNKNOWN_FIELD:
            return [*path, violation.field], "unknown setting"
        case ViolationKind.MISSING_FIELD:
            return path, f"the key {violation.field} is missing"
        case _:
            message = violation.message.replace(" | null", "").replace("`object`", "a table")
    value = _at(tree, path)
    secret = path[0] in _SECRET_TABLES or any(_SECRET_NAME.search(str(step)) for step in path)
    if not secret and isinstance(value, str | int | float):
        shown = _PASSWORD.sub("//…@", json.dumps(value, ensure_ascii=False))
        message = f"{message.partition(', got `')[0]}, got {shown[:200]}"
    return path, message


def _refused_name(tree: dict[str, Any], path: _Path) -> str:
    """Return the name in the table at ``path`` whose entry is refused also when it is alone."""
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
    """Return what set the value at ``path``: a variable, the command line, or a line of the file."""
    key = ".".join(map(str, path))
    for name, source in sources.items():
        if f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}."):
            return source
    if file is None:
        return "config"
    line = _line_of(text, key)
    return f"{file}:{line}" if line else str(file)


def _line_of(text: str, key: str) -> int | None:
    """Return the line that sets ``key`` ("auth.keys.1.name"), or that opens the table it should be in."""
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
