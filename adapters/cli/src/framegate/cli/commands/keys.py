"""``framegate keys``."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from framegate.cli.app_context import AppContext, open_services
from framegate.cli.options import config_options, context_from, json_option
from framegate.cli.output import format_time, print_json, print_line, print_table
from framegate.core.errors import InvalidRequest
from framegate.core.key_service import IssuedKey, KeyInfo, KeyService
from framegate.core.keys import KeyGrants, KeyName, KeyScope, Moment
from framegate.core.options import Duration, decode_value
from framegate.core.validation import parse_violation

Answer = TypeVar("Answer")
Command = TypeVar("Command", bound=Callable[..., Any])

_OWN_OPTIONS = frozenset({"scopes", "dialects", "models", "expires_at", "timeout"})
_SETTABLE = tuple(name for name in KeyGrants.__struct_fields__ if name not in _OWN_OPTIONS)
_ONCE = "This is shown only now; only its digest is kept."


def _read_duration(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(decode_value(Duration, float(text) if text.isdecimal() else text))
    except ValueError as error:
        raise click.BadParameter(f"{error}; got {text!r}") from None


def _read_moment(_context: click.Context, _option: click.Parameter, text: str | None) -> datetime | None:
    try:
        return msgspec.convert(text, Moment | None)
    except msgspec.ValidationError:
        raise click.BadParameter(
            f"write a time with its zone, such as 2030-01-31T12:00:00Z; got {text!r}"
        ) from None


def _expiry_options(at: str, within: str) -> Callable[[Command], Command]:
    """Add the two ways of giving a time, which arrive as ``at`` and ``within``."""

    def add(command: Command) -> Command:
        command = click.option(
            within, "within", callback=_read_duration, help='As long from now, such as "30d".'
        )(command)
        return click.option(at, "at", callback=_read_moment, help="At a time such as 2030-01-31T12:00:00Z.")(
            command
        )

    return add


@click.group()
def keys() -> None:
    """Create, list, rotate, expire and revoke API keys. Changes are effective at once on all hosts."""


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in KeyScope]),
    help="What it may do (default: submit and read).",
)
@click.option("--dialect", "dialects", multiple=True, help="A dialect that it may call (default: all).")
@click.option("--model", "models", multiple=True, help="A model or alias that it may use (default: all).")
@click.option("--timeout", callback=_read_duration, help='How long one of its jobs may run, such as "15m".')
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="NAME=VALUE",
    help=f"One of {', '.join(_SETTABLE)}, as under [[auth.keys]].",
)
@_expiry_options("--expires-at", "--expires-in")
@json_option
@config_options
def create(
    name: str,
    scopes: tuple[str, ...],
    dialects: tuple[str, ...],
    models: tuple[str, ...],
    timeout: float | None,
    values: tuple[str, ...],
    at: datetime | None,
    within: float | None,
    as_json: bool,
    config_file: Path | None,
    data_dir: Path | None,
) -> None:
    """Create a key, and print its secret."""
    given: dict[str, Any] = {"name": name, "dialects": dialects, "models": models}
    if scopes:
        given["scopes"] = scopes
    if timeout is not None:
        given["timeout"] = timeout
    grants = _convert({**given, **_parse_values(values), "expires_at": _moment(at, within)})
    issued = _call_service(config_file, data_dir, lambda service: service.create(name, grants))
    _print_issued(issued, as_json)


@keys.command("list")
@json_option
@config_options
def list_keys(as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """List all keys, those of the config first."""
    found = _call_service(config_file, data_dir, lambda service: service.list())
    if as_json:
        print_json(found)
        return
    print_table(
        ("NAME", "FROM", "SCOPES", "SECRETS", "CREATED", "LAST USED", "EXPIRES"),
        [
            (
                key.name,
                key.source,
                ", ".join(key.scopes),
                len(key.secrets) if key.source == "stored" else "",
                _shown(key.created_at),
                _shown(key.last_used_at),
                "expired" if key.expired else _shown(key.expires_at),
            )
            for key in found
        ],
        empty="No keys.",
    )


@keys.command()
@click.argument("name")
@json_option
@config_options
def show(name: str, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Show everything about one key but its secrets."""
    found = _call_service(config_file, data_dir, lambda service: service.get(name))
    _print_key(found, as_json)


@keys.command()
@click.argument("name")
@click.option(
    "--grace",
    callback=_read_duration,
    default="0",
    show_default=True,
    help='How long the older secrets still work, such as "24h".',
)
@json_option
@config_options
def rotate(name: str, grace: float, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Give a key a new secret, and print it."""
    issued = _call_service(config_file, data_dir, lambda service: service.rotate(name, grace=grace))
    _print_issued(issued, as_json)


@keys.command()
@click.argument("name")
@json_option
@config_options
def revoke(name: str, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Remove a key. Its jobs stay until retention removes them."""
    _call_service(config_file, data_dir, lambda service: service.revoke(name))
    if as_json:
        print_json({"revoked": name})
    else:
        print_line(f"{name} is revoked.")


@keys.command()
@click.argument("name")
@_expiry_options("--at", "--in")
@click.option("--never", is_flag=True, help="Let it not expire.")
@json_option
@config_options
def expire(
    name: str,
    at: datetime | None,
    within: float | None,
    never: bool,
    as_json: bool,
    config_file: Path | None,
    data_dir: Path | None,
) -> None:
    """Set from when on a key is refused."""
    moment = _moment(at, within)
    if (moment is None) != never:
        raise click.UsageError("Give one of --at, --in and --never.")
    key = _call_service(config_file, data_dir, lambda service: service.expire(name, moment))
    if as_json:
        print_json(key)
    elif key.expired:
        print_line(f"{name} has expired.")
    else:
        print_line(f"{name} expires {f'at {_shown(moment)}' if moment else 'never'}.")


def _call_service(
    config_file: Path | None, data_dir: Path | None, operation: Callable[[KeyService], Awaitable[Answer]]
) -> Answer:
    context = context_from(config_file, data_dir)

    async def call() -> Answer:
        async with open_services(context) as services:
            return await operation(services.core.keys)

    with _running_queue(context):
        return asyncio.run(call())


@contextmanager
def _running_queue(context: AppContext) -> Generator[None]:
    """Run the embedded queue for as long as the command lasts, unless a server does.

    So a server that listens on other addresses than loopback can have its first key before its first start.
    """
    from framegate.storage import embedded

    folder = context.settings.server.data_path
    if not context.embedded or embedded.is_running(folder):
        yield
        return
    lock = embedded.DataFolderLock(folder)
    try:
        valkey = embedded.EmbeddedValkey(folder)
        valkey.start()
        try:
            yield
        finally:
            valkey.stop()
    finally:
        lock.release()


def _parse_values(texts: Sequence[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in _SETTABLE:
            raise click.BadParameter(
                f"write NAME=VALUE with one of {', '.join(_SETTABLE)}; got {text!r}", param_hint="--set"
            )
        values[name] = value
    return values


class _NamedGrants(KeyGrants, frozen=True, kw_only=True):
    name: KeyName


def _convert(values: dict[str, Any]) -> KeyGrants:
    try:
        return msgspec.convert(values, _NamedGrants, strict=False)
    except msgspec.ValidationError as error:
        violation = parse_violation(str(error))
        if violation.location == ".name":
            raise InvalidRequest(
                f"name: {values['name'][:100]!r} can't be a key's name; use 1 to 64 letters, digits and . _ -"
            ) from None
        raise InvalidRequest(f"{violation.location.removeprefix('.')}: {violation.message}.") from None


def _moment(at: datetime | None, within: float | None) -> datetime | None:
    if at is not None and within is not None:
        raise click.UsageError("Give a time or a duration, not both.")
    if within is not None:
        return (datetime.now(UTC) + timedelta(seconds=within)).replace(microsecond=0)
    return at


def _shown(moment: datetime | None) -> str:
    try:
        return format_time(moment.timestamp() if moment else None)
    except (OverflowError, ValueError):  # at this place it is before the year 1, or after 9999
        return str(moment)


def _print_issued(issued: IssuedKey, as_json: bool) -> None:
    if as_json:
        print_json(issued)
        return
    print_line(issued.secret)
    print_line(_ONCE, error=True)


def _print_key(key: KeyInfo, as_json: bool) -> None:
    if as_json:
        print_json(key)
        return
    secrets = (
        f"created {_shown(secret.created_at)}"
        + (f", ends {_shown(secret.expires_at)}" if secret.expires_at else "")
        for secret in key.secrets
    )
    limits = {name: getattr(key, name) for name in _SETTABLE}
    grants = {name: "default" if value is None else value for name, value in limits.items()}
    print_table(
        ("FIELD", "VALUE"),
        [
            ("name", key.name),
            ("from", key.source),
            ("scopes", ", ".join(key.scopes)),
            ("dialects", ", ".join(key.dialects) or "all"),
            ("models", ", ".join(key.models) or "all"),
            *grants.items(),
            ("timeout", f"{key.timeout:g} s" if key.timeout else "the model's"),
            *(("secret", secret) for secret in secrets),
            ("created", _shown(key.created_at)),
            ("last used", _shown(key.last_used_at)),
            ("expires", "expired" if key.expired else _shown(key.expires_at) or "never"),
        ],
        empty="",
    )
