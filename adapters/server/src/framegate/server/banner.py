"""What a person at a terminal needs to know when the server has started."""

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

from framegate.cli.app_context import AppContext
from framegate.cli.output import print_line
from framegate.core.errors import Unavailable
from framegate.core.registry import FALLBACK_MODEL
from framegate.core.settings import ServerSettings
from framegate.core.wiring import CoreServices
from framegate.server.listening import url_of


class CountedWorkers(Protocol):
    """The workers that the server starts."""

    @property
    def count(self) -> int:
        """How many there are to be."""
        ...


_MOST_MODELS = 4
_WORKER_SECONDS, _LOOK_SECONDS = 30.0, 0.1


async def show_banner(
    context: AppContext,
    services: CoreServices,
    workers: CountedWorkers,
    *,
    port: int,
    paths: Collection[str],
) -> None:
    """Print the banner as soon as a worker takes jobs, if standard error is a terminal.

    ``port`` is the one that is listened on, ``paths`` are those that are served.
    """
    if not sys.stderr.isatty():
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(_WORKER_SECONDS):
            while workers.count and not await _has_worker(services):  # noqa: ASYNC110  # Valkey knows it
                await asyncio.sleep(_LOOK_SECONDS)
    for line in banner(context, port=port, paths=paths, workers=workers.count):
        print_line(line, error=True)


async def _has_worker(services: CoreServices) -> bool:
    with suppress(Unavailable):
        return bool((await services.jobs.availability.overview()).workers)
    return False


def banner(context: AppContext, *, port: int, paths: Collection[str], workers: int) -> Iterator[str]:
    """Yield the lines of the banner of a server that runs ``workers`` workers; see `show_banner`."""
    url = _url(context.settings.server.host, port)
    yield ""
    yield f"Framegate {version('framegate-server')} is ready at {url}"
    for title, path in (("Page", "/"), ("API docs", "/docs")):
        if path in paths:
            yield _row(title, url + path)
    yield _row("Models", _models(sorted(context.registry.specs)))
    yield _row("Data", _short(context.settings.server.data_path))
    if not workers:
        yield _row("Workers", "none here; start `framegate worker` where jobs are to run")
    yield _row("Try", _command(context))
    yield _row("Stop", "Ctrl-C")
    yield ""


def _row(title: str, text: str) -> str:
    return f"  {title:<9} {text}"


def _url(host: str, port: int) -> str:
    """Return the URL for a browser on this host."""
    with suppress(ValueError):  # a name
        if ip_address(host).is_unspecified:
            host = "localhost"
    return url_of(host, port)


def _models(ids: Sequence[str]) -> str:
    real = [name for name in ids if name != FALLBACK_MODEL]
    if not real:
        return "only preview, which draws without a model (see docs/models.md)"
    more = f" and {len(real) - _MOST_MODELS} more" if len(real) > _MOST_MODELS else ""
    preview = "; preview draws without a model" if FALLBACK_MODEL in ids else ""
    return f"{', '.join(real[:_MOST_MODELS])}{more}{preview}"


def _command(context: AppContext) -> str:
    """Return a command that makes a video with this server, for a shell in this folder."""
    folder = context.settings.server.data_path
    where = () if folder == ServerSettings().data_path else ("--data-dir", str(folder))
    return shlex.join([_program(), "generate", "a paper boat on a pond", "-o", "out.mp4", *where])


def _program() -> str:
    """Return how this folder's shell calls the command line of this environment."""
    program = Path(sys.executable).with_name("framegate")
    found = shutil.which("framegate")
    if found and Path(found) == program:
        return "framegate"
    return os.path.relpath(program) if program.is_relative_to(Path.cwd()) else str(program)


def _short(path: Path) -> str:
    with suppress(RuntimeError, ValueError):  # the user has no home folder, or it is elsewhere
        return f"~/{path.relative_to(Path.home())}"
    return str(path)
